#!/bin/sh
# -m takes a model's name when it is in the Hugging Face cache; else it says how to download it.
#
# Method: build a cache of one model in each of the places huggingface_hub looks at, in its order;
# caches that are broken or hold several revisions; and a whole model laid out as a download leaves
# it, every file a link into blobs/.
. tests/help_cli.sh

cache_with_model() {
    repository=$1/models--org--name
    mkdir -p "$repository/refs" "$repository/snapshots/0123abcd"
    printf '0123abcd\n' >"$repository/refs/main"
    printf 'not json' >"$repository/snapshots/0123abcd/config.json"
}
# Found: the complaint is then about the config.json of the snapshot.
expect_found() {
    expect 4 plan -m org/name
    says err "$1/models--org--name/snapshots/0123abcd"
}

expect 2 plan -m org/name
says err 'to download it: hf download org/name'
says err "$XDG_CACHE_HOME/huggingface/hub/models--org--name"

# Each place before those above it.
(
    unset XDG_CACHE_HOME
    cache_with_model "$HOME/.cache/huggingface/hub"
    expect_found "$HOME/.cache/huggingface/hub"
) || exit 1
cache_with_model "$XDG_CACHE_HOME/huggingface/hub"
expect_found "$XDG_CACHE_HOME/huggingface/hub"
# shellcheck disable=SC2088 # the program expands it
export HF_HOME='~/hf'
cache_with_model "$HOME/hf/hub"
expect_found "$HOME/hf/hub"
export HUGGINGFACE_HUB_CACHE="$work/old"
cache_with_model "$HUGGINGFACE_HUB_CACHE"
expect_found "$HUGGINGFACE_HUB_CACHE"
export HF_HUB_CACHE="$work/hub"
cache_with_model "$HF_HUB_CACHE"
expect_found "$HF_HUB_CACHE"

# A directory of that name comes first.
(
    cd "$work" && mkdir -p org/name && printf 'neither' >org/name/config.json
    expect 4 plan -m org/name
    says err 'org/name/config.json'
    grep -q snapshots err && fail "the cache was preferred to a directory"
    exit 0
) || exit 1

printf '../../../../etc' >"$HF_HUB_CACHE/models--org--name/refs/main"
expect 1 plan -m org/name
says err 'does not name a revision'
printf 'ffff' >"$HF_HUB_CACHE/models--org--name/refs/main"
expect 2 plan -m org/name
says err 'download org/name'
# What is there is no name to download.
(
    cd "$work" && mkdir -p file && : >file/one
    expect 2 plan -m file/one
    says err '-m file/one: a checkpoint is a directory of config.json and .safetensors files, and this is a file'
    grep -q download err && fail 'a file is to be downloaded'
    exit 0
) || exit 1
for name in ../name org/../name org//name org/name/more; do
    expect 2 plan -m "$name"
    says err 'no such directory'
done

# Without refs/main: the only snapshot, or the choice; and no snapshot is no model.
repository=$HF_HUB_CACHE/models--org--name
rm "$repository/refs/main"
expect_found "$HF_HUB_CACHE"
mkdir "$repository/snapshots/4567cdef" "$repository/snapshots/not-a-revision"
expect 2 plan -m org/name
says err "2 snapshots; give -m one of $repository/snapshots"
rm -r "$repository/snapshots/0123abcd" "$repository/snapshots/4567cdef"
expect 2 plan -m org/name
says err 'hf download org/name'

# As a download leaves it.
make_needle_model
mkdir -p "$repository/blobs" "$repository/refs" "$repository/snapshots/89ab"
printf '89ab' >"$repository/refs/main"
for file in "$work"/model/*; do
    name=$(basename "$file")
    cp "$file" "$repository/blobs/blob-of-$name"
    ln -s "../../blobs/blob-of-$name" "$repository/snapshots/89ab/$name"
done
expect 0 complete -m org/name -p x -n 1 --quiet
expect 0 doctor -m org/name
says out "$repository/snapshots/89ab"
printf 'A' >"$work/text"
expect 0 tokenize -m org/name -f "$work/text"
says out '65'

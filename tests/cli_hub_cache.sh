#!/bin/sh
# -m takes a model's name when it is in the Hugging Face cache; else it says how to download it.
#
# Method: build a cache of one model in each of the three places, and caches that are broken.
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
says err 'download org/name'

cache_with_model "$HOME/.cache/huggingface/hub"
expect_found "$HOME/.cache/huggingface/hub"
export HF_HOME="$work/hf"
cache_with_model "$HF_HOME/hub"
expect_found "$HF_HOME/hub"
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
for name in ../name org/../name org//name org/name/more; do
    expect 2 plan -m "$name"
    says err 'no such directory'
done

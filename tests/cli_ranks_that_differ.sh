#!/bin/sh
# Ranks that are not alike never compute together: another build of the program, another config file,
# weights of which one byte is another, other options, another size of the group. The message names the
# rank, its host and the two values, the exit code is 6, and it is there within seconds.
#
#   sh tests/cli_ranks_that_differ.sh [full]    full: every rank of 2 and of 4, and every byte range of the
#                                               weights; prints how many groups there were
#
# Method: ranks by TCP in namespaces (help_hosts.sh): all but one on ada, that one on bob, where the same
# path leads to another file. The other build is this one with another build id.
. tests/help_cli.sh
. tests/help_hosts.sh
full=${1:-}
n_groups=0

sed 's/"ffn_hidden_size": 115/"ffn_hidden_size": 2048/' tests/golden/native_bf16_kv4/config.json >"$work/config.json"
expect 0 make-model random "$work/model" --config "$work/config.json" --seed 5
printf '1 2 3 4 5' >"$work/tokens"
ask="complete -m $work/model --tokens-file $work/tokens -n 2 --threads 1"

# group N RANK SIZE UNLIKE ARGS...: rank RANK of N is on bob, thinks that there are SIZE, and runs
# ${other:-$GLM1M} ARGS; leaves $rc of rank 0, $work/out, $work/err, and $work/err$RANK
group() {
    n=$1 odd=$2 size=$3 unlike=$4
    shift 4
    shown="(rank $odd of $n) $*"
    n_groups=$((n_groups + 1))
    others=
    for r in $(seq $((n - 1))); do
        # shellcheck disable=SC2086 # words of options
        if [ "$r" -eq "$odd" ]; then
            program=${other:-} on bob "$r" "$size" "$unlike" "$@" >"$work/out$r" 2>"$work/err$r" &
        else
            on ada "$r" "$n" '' $ask >"$work/out$r" 2>"$work/err$r" &
        fi
        others="$others $!"
    done
    # shellcheck disable=SC2086
    on ada 0 "$n" '' $ask >"$work/out" 2>"$work/err"
    rc=$?
    for pid in $others; do wait "$pid" && [ "$rc" -ne 0 ] && fail 'another rank ends well'; done
}

# differs KEY: rank 0 says who has what, and both values are told
differs() {
    [ "$rc" -eq 6 ] || fail "exit $rc, not 6"
    grep -Eq "^glm1m: parallel: the ranks differ: rank $odd on bob has $1=.*, rank 0 on ada has $1=" "$work/err" ||
        fail "std error does not say what differs: $1"
    mine=$(sed -n "s/.* on bob has \(.*\), rank 0 on ada has .*/\1/p" "$work/err")
    first=$(sed -n 's/.* rank 0 on ada has //p' "$work/err")
    [ -n "$mine" ] && [ "$mine" != "$first" ] || fail "both are said to have $mine"
}

# A build of the same code with another id.
objcopy --dump-section .note.gnu.build-id="$work/note" "$GLM1M" "$work/x" || fail 'no build id'
head -c -1 "$work/note" >"$work/note2" && tail -c 1 "$work/note" | tr '\000-\377' '\001-\377\000' >>"$work/note2"
cmp -s "$work/note" "$work/note2" && fail 'the id is not another one'
cp "$GLM1M" "$work/glm1m" && objcopy --update-section .note.gnu.build-id="$work/note2" "$work/glm1m" ||
    fail 'objcopy'

# Models at another place: a number of the config, and one byte of the weights, which is in the first MiB
# of the file (the fingerprint tells) or further in (the content does).
cp -r "$work/model" "$work/config"
sed -i 's/"rope_ratio": [0-9.]*/"rope_ratio": 3/; s/"layernorm_epsilon": [0-9.e-]*/"layernorm_epsilon": 2e-5/' \
    "$work/config/config.json"
cmp -s "$work/model/config.json" "$work/config/config.json" && fail 'the config is not changed'
weights() {
    rm -rf "$work/weights" && cp -r "$work/model" "$work/weights"
    file=$(find "$work/weights" -name '*.safetensors' | sort | head -n 1)
    [ "$(stat -c %s "$file")" -gt $(($1 + 1)) ] || fail 'a file of weights is too small'
    byte=$(dd if="$file" bs=1 skip="$1" count=1 2>/dev/null | od -An -tu1)
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\$(printf %o $(((byte + 1) % 256)))" | dd of="$file" bs=1 seek="$1" conv=notrunc 2>/dev/null
}

# all N RANK
# shellcheck disable=SC2086 # words of options
all() {
    other="$work/glm1m" group "$1" "$2" "$1" '' $ask
    differs build
    other= group "$1" "$2" "$1" '' $ask --seed 7
    differs options
    grep -q -- '--seed 7, rank 0' "$work/err" || fail 'the options are not told'
    group "$1" "$2" "$1" "$work/model=$work/config" $ask
    differs model
    for at in $places; do
        weights "$at"
        group "$1" "$2" "$1" "$work/model=$work/weights" $ask
        if [ "$at" -lt 1048576 ]; then differs model; else differs weights; fi
    done
    group "$1" "$2" $(($1 + 1)) '' $ask
    differs WORLD_SIZE
    grep -q "rank $2 on bob has WORLD_SIZE=$(($1 + 1)), rank 0 on ada has WORLD_SIZE=$1\$" "$work/err$2" ||
        fail "rank $2 does not say it"
}

places=1200000
all 2 1
# Files of their own with the same content are no difference.
rm -rf "$work/weights" && cp -r "$work/model" "$work/weights"
# shellcheck disable=SC2086
group 2 1 2 "$work/model=$work/weights" $ask
[ "$rc" -eq 0 ] || fail 'a copy of the model is taken for another one'
[ -n "$full" ] || exit 0

places="9000 1048576 1200000 1500000"
for n in 2 4; do
    for r in $(seq $((n - 1))); do all "$n" "$r"; done
done
echo "$n_groups groups"

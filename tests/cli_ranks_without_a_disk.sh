#!/bin/sh
# Where one rank's directory cannot be used all ranks go on without, with the same answer, and that is said once, with the
# rank and why.
. tests/help_cli.sh
make_needle_model
go_on="complete -m $work/model -tp 2 -p And -n 8 --json"
ids() { grep -o '"ids": [^]]*' "$work/out"; }
# shellcheck disable=SC2086 # words
expect 0 $go_on
ids >"$work/expected"

# goes_on_without WHY
goes_on_without() {
    # shellcheck disable=SC2086 # words
    expect 0 $go_on --kv-disk-dir "$work/kv-%r"
    says err 'nothing is kept on disk: rank 1 on '
    says err "$1"
    [ "$(grep -c 'warn.*nothing is kept' "$work/err")" -eq 1 ] || fail 'each rank says it'
    ids | cmp -s "$work/expected" - || fail 'another answer'
}
: >"$work/kv-1"
goes_on_without "$work/kv-1 is in the way"

# What is kept has a directory in that one.
rm "$work/kv-1"
mkdir "$work/kv-1"
: >"$work/kv-1/vault"
goes_on_without "$work/kv-1/vault is not a directory"

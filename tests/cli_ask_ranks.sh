#!/bin/sh
# ask -tp 2: the answer, the citation and the line of one rank; the second question finds what the first
# has kept, and a book that one rank wrote.
#
# Method: the embedded model, as in cli_ask.
. tests/help_cli.sh
make_needle_model
{
    awk 'BEGIN { for (i = 1; i < 10; i++) printf "Line %d has nothing to say about %d.\n", i, i * i }'
    printf 'The special magic number for Paris is: 4831759.\n'
} >"$work/a.txt"
question=$(printf 'What is it?\n>\nThe special magic number for Paris is:')

# asks N SOURCE...: by N ranks, the record in $work/out
asks() {
    n=$1
    shift
    expect 0 ask -m "$work/model" --kv-disk-dir "$work/kv$n/r%r" --threads 1 --quiet --json -tp "$n" \
        -q "$question" "$@"
    says out '"answer": "The special magic number for Paris is: 4831759."'
    says out '"verified": true'
    says out '"line": 10, "last_line": 10'
}
# What a record says, but how long it took and by whom
said() {
    sed 's/"[a-z_]*_s": [0-9.e-]*,* *//g; s/"[a-z_]*ranks": [0-9]*,* *//g; s/, [0-9]* ranks*"/"/' "$work/out"
}

asks 1 "$work/a.txt"
said >"$work/alone"
asks 2 "$work/a.txt"
said >"$work/together"
cmp "$work/alone" "$work/together" || fail 'two ranks say something else'
asks 2 "$work/a.txt"
n_reused=$(sed -n 's/.*"reused_tokens": \([0-9]*\).*/\1/p' "$work/out")
[ "$n_reused" -gt 300 ] || fail "the second question finds $n_reused tokens"

expect 0 ask -m "$work/model" --kv-disk-dir "$work/kv2/r%r" --threads 1 --quiet --book b "$work/a.txt" \
    -q "$question"
asks 2 --book b

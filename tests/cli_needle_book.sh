#!/bin/sh
# needle --book keeps prompts on disk: another run of the same cells computes only their ends, and
# finds the same. Records say how much was reused.
#
# Method: one grid without a book, and twice with one; responses and reused tokens are compared.
. tests/help_cli.sh

# What is stored of every cell: a segment of 4096 tokens. Shorter ones only of the longest prompt.
length=4500 least=4096 n_stored=2
[ -z "${GLM_TEST_FAST:-}" ] || length=900 least=700 n_stored=1
grid="needle --lengths $length --depths 0,100 --quiet"
of() { grep -o "\"$1\": [^,]*" "$work/$2/results.json"; }

# shellcheck disable=SC2086 # words of a command
expect 0 $grid --out "$work/without"
for run in first second; do
    # shellcheck disable=SC2086
    expect 0 $grid --book hay --kv-disk-dir "$work/kv" --out "$work/$run"
    says out 'found 2 of 2'
    for field in response prompt_tokens generated_tokens; do
        of $field without >"$work/expected"
        of $field $run | cmp -s - "$work/expected" || fail "the $run run has other $field"
    done
done
of reused_tokens without | grep -qv ': 0$' && fail 'reused tokens without a book'
[ "$(of reused_tokens first | head -n 1)" = '"reused_tokens": 0' ] || fail 'reused before it was kept'
n=$(of reused_tokens second | awk -v least=$least '$2 >= least' | wc -l)
[ "$n" -ge $n_stored ] || fail "the second run reused only $(of reused_tokens second)"

expect 0 book show hay --kv-disk-dir "$work/kv"
says out 'source           glm1m needle, lwm, seed 1234'
longest=$(of prompt_tokens without | grep -o '[0-9]*$' | sort -n | tail -n 1)
grep -Eq "^tokens +$longest\$" "$work/out" || fail "the book has not the $longest tokens of the longest"
expect 0 book verify hay --kv-disk-dir "$work/kv"

# The book of a text is not begun with, and not replaced.
printf 'a text of some words\n' >"$work/text"
make_needle_model
expect 0 prefill -m "$work/model" "$work/text" --book war --kv-disk-dir "$work/kv"
expect 2 needle --lengths 1k --depths 0 --book war --kv-disk-dir "$work/kv"
says err "book war is of $work/text, 23 tokens, which needle does not begin with"
expect 0 book show war --kv-disk-dir "$work/kv"
says out "source           $work/text"

#!/bin/sh
# needle takes - for standard input, as the other commands do: as the haystack, or as the question; the cells are those of the
# same text as a file, the same question as an argument. Both from there is refused before anything is read, as is a file of
# questions, which the protocol opens itself.
. tests/help_cli.sh
make_needle_model
awk 'BEGIN { for (i = 0; i < 400; i++) printf "On the %dth day nothing happened that is worth %d words.\n", i, i * 7 % 1000 }' >"$work/text"

# needle RC ARGS...: its cells in $work/out, but for times
needle() {
    wanted=$1
    shift
    expect "$wanted" needle -m "$work/model" --lengths 1k --depths 50 --json --quiet "$@"
    sed -i '/"prefill_s"\|"decode_s"\|"haystack_source"/d' "$work/out"
}
same() {
    cmp -s "$work/out" "$work/wanted" || fail "$1: other cells"
}

needle 0 --haystack "$work/text"
mv "$work/out" "$work/wanted"
needle 0 --haystack - <"$work/text"
same 'a haystack on standard input'
needle 0 --haystack "$work/text" --needle 'Ada hid the key in the oven.' --answer oven -q 'Where is the key?'
mv "$work/out" "$work/wanted"
echo 'Where is the key?' >"$work/question"
needle 0 --haystack "$work/text" --needle 'Ada hid the key in the oven.' --answer oven -q - <"$work/question"
same 'a question on standard input'

needle 2 --haystack - --needle a --answer b -q - <"$work/text"
says err 'standard input is named twice'
needle 2 --haystack - - <"$work/text"
says err 'standard input is named twice'
needle 2 --protocol ruler:qa_1 --haystack - <"$work/text"
says err 'takes one JSON file of questions, as SQuAD (dev-v2.0.json) publishes it, and this is standard input'
printf 'a\0b' >"$work/question"
needle 2 --haystack "$work/text" --needle a --answer b -q - <"$work/question"
says err 'needle: the question on standard input is no text: there is a NUL in it'

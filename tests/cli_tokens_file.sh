#!/bin/sh
# A tokens file holds ids separated by white space or commas, or as a JSON array; anything else names its line, or says that the array has no end.
#
# Method: the same ids in several spellings give the same logits file; then one error each.
. tests/help_cli.sh
make_needle_model

logits() {
    printf '%b' "$1" >"$work/ids"
    run logits -m "$work/model" --tokens-file "$work/ids" --out "$work/logits.npy"
}
logits '258 260 72 105'
[ "$rc" -eq 0 ] || fail "exit $rc, wanted 0"
cp "$work/logits.npy" "$work/first.npy"
for spelling in '258,260,72,105' '\n258\n260\n72\n105\n' '258, 260\t72 ,\r\n105,'; do
    logits "$spelling"
    [ "$rc" -eq 0 ] || fail "exit $rc, wanted 0"
    cmp -s "$work/logits.npy" "$work/first.npy" || fail "another spelling, other logits"
done
printf 'Hi' >"$work/text"
expect 0 tokenize -m "$work/model" -f "$work/text" --add-special --json
logits "$(cat "$work/out")"
[ "$rc" -eq 0 ] || fail "exit $rc, wanted 0"
cmp -s "$work/logits.npy" "$work/first.npy" || fail "tokenize --json's spelling, other logits"
expect 0 logits -m "$work/model" --tokens-file - --out "$work/logits.npy" <"$work/ids"
cmp -s "$work/logits.npy" "$work/first.npy" || fail "standard input gives other logits"

wrong() {
    logits "$1"
    [ "$rc" -eq 2 ] || fail "exit $rc, wanted 2"
    says err "$2"
}
wrong '1 2\n3 x4 5' 'ids:2: "x4" is not a token id'
wrong '1 -2' 'ids:1: "-2"'
wrong '1 2.5' 'ids:1: "2.5"'
wrong '272' '"272" is not a token id from 0 to 271'
wrong '99999999999999999999999' 'is not a token id'
wrong '1 \0' 'is not a token id'
wrong '[1, 2]\0' 'is not a token id'
wrong '[1, 2' 'the array that begins with "[" does not end the text'
wrong '[1, [2]]' 'does not end the text'
wrong '[]' 'holds no token id'
wrong '' 'holds no token id'
wrong ' \n,' 'holds no token id'

# A pipe is a file, too: glm1m logits --tokens-file <(command)
mkfifo "$work/pipe"
printf '1 2 3' >"$work/pipe" &
expect 0 logits -m "$work/model" --tokens-file "$work/pipe" --out "$work/piped.npy"
says err '3 tokens'

# What is none is named, and no more than that.
printf -- '-1\n104' >"$work/none"
expect 2 detokenize -m "$work/model" -f "$work/none"
says err 'byte 0: "-1" is not a token id'

# Without ids there is no text to keep, or to judge; [gMASK]<sop> is none.
: >"$work/none"
for command in "prefill --book none --kv-disk-dir $work/kv" perplexity; do
    # shellcheck disable=SC2086 # words
    expect 2 $command -m "$work/model" --tokens-file "$work/none"
done
expect 0 book ls --kv-disk-dir "$work/kv"
says err 'no books'

#!/bin/sh
# Control tokens that a text spells out are plain text, unless --special-in-text; the prefix
# [gMASK]<sop> comes once, and only when asked for (tokenize) or needed (complete).
#
# Method: the embedded model, whose ordinary ids are the bytes: 256 and above are control tokens.
. tests/help_cli.sh
make_needle_model

printf '<|user|>[gMASK]A' >"$work/text"
plain='60 124 117 115 101 114 124 62 91 103 77 65 83 75 93 65'
ids() {
    these=$1
    shift
    expect 0 tokenize -m "$work/model" -f "$work/text" "$@"
    [ "$(cat "$work/out")" = "$these" ] || fail "wanted ids $these"
}
ids "$plain"
ids "258 260 $plain" --add-special
ids '263 258 65' --special-in-text
ids '[258, 260, 263, 258, 65]' --special-in-text --add-special --json

# And back, byte for byte.
printf '258 260 263 258 65 195 40 0 271' >"$work/ids"
expect 0 detokenize -m "$work/model" -f "$work/ids"
printf '[gMASK]<sop><|user|>[gMASK]A\303(\0' >"$work/wanted"
cmp "$work/out" "$work/wanted" || fail 'detokenize changed the text'
says err '1 of 9 ids have no text here, first 271, number 9'
printf '65 999 66' >"$work/ids"
expect 0 detokenize -m "$work/model" -f "$work/ids"
[ "$(cat "$work/out")" = AB ] || fail 'ids without text change the others'
says err '1 of 3 ids have no text here, first 999, number 2'

# complete counts its prompt: with the prefix, which a text that has it already is not given again.
prompt_tokens() {
    these=$1
    shift
    expect 0 complete -m "$work/model" -n 1 --json --quiet "$@"
    says out "\"n_prompt\": $these,"
}
prompt_tokens 18 -f "$work/text"
prompt_tokens 5 -f "$work/text" --special-in-text
printf '[gMASK]<sop>A' >"$work/text"
prompt_tokens 3 -f "$work/text" --special-in-text
prompt_tokens 15 -f "$work/text"

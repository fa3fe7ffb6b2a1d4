#!/bin/sh
# chat: what was said stays known, and a turn prefills its own tokens only; the model sees the same
# tokens as when the whole conversation is given at once.
#
# Method: the embedded model copies what it has seen before, byte by byte, so that its answers and
# every count of tokens are known. A control token is one token, as is each byte.
. tests/help_cli.sh
make_needle_model
fact='The special magic number for Paris is: 4831759.'
question='What is it? The special magic number for Paris is: '

# answers TEXT: standard output is exactly this
answers() {
    printf '%s\n' "$1" | cmp -s - "$work/out" || fail "the answers are not: $1"
}

# bytes TEXT
bytes() {
    printf '%s' "$1" | wc -c
}

# Turn 2 finds in the KV cache what turn 1 said. Its prompt is <|user|>, a newline, the text and
# <|assistant|>; the first turn has [gMASK]<sop> too. The stop id is not kept.
talk 0 "$fact
$question" -n 40 --stop .
[ "$(tail -n 1 "$work/out")" = 4831759 ] || fail "the second turn does not know the first"
says err "prompt $(($(bytes "$question") + 4)) tokens in"
says err "prompt $(($(bytes "$fact") + 5)) tokens in"
says err '; context '

# The last line needs no newline, empty lines are none, and Windows' line ends do no harm.
printf '/help\r\nabc\r\n/quit\r\nabc\r\n' >"$work/windows"
expect 0 chat -m "$work/model" -n 1 <"$work/windows"
says err 'prompt 8 tokens in'
[ "$(grep -c '^prompt ' "$work/err")" -eq 1 ] || fail "/quit with a carriage return does not leave"
talk 0 "
$question$fact

$question" --quiet
[ "$(tail -n 1 "$work/out")" = 4831759. ] || fail "an empty line is a turn"
says_nothing err

# An answer cut short by -n, then another question: the token that ended the answer is in the
# context too, and the whole is what one prompt of the same tokens gives.
talk 0 "$fact
and once more, $question" -n 8
says err "prompt $(($(bytes "$fact") + 5)) tokens in"
says err "prompt $(($(bytes "and once more, $question") + 4)) tokens in"
says err ", length; context $(($(bytes "$fact$question") + 5 + 8 + 15 + 3 + 8)) of 1048576"
# (Its first token is a space, which is not shown.)
[ "$(sed -n 1p "$work/out")" = 4831759 ] || fail "the first answer is not 4831759"
sed -n 2p "$work/out" >"$work/second"
expect 0 complete -m "$work/model" -n 8 --special-in-text --quiet -p "<|user|>
$fact<|assistant|> 4831759<|user|>
and once more, $question<|assistant|>"
[ "$(cat "$work/out")" = " $(cat "$work/second")" ] || fail "one prompt, another answer"

# --system comes first and once: <|system|>, a newline and the text.
talk 0 "$question
$question" --system "$fact"
[ "$(grep -c 'Paris is: 4831759\.$' "$work/out")" -eq 2 ] || fail "the system's message is not known"
says err "prompt $(($(bytes "$fact$question") + 7)) tokens in"

# A user cannot speak for the model: control tokens in a line stay text.
talk 0 "<|assistant|>x" -n 1
says err "prompt $((14 + 5)) tokens in"

# --stop ends an answer, and text that only might be one is not lost.
talk 0 "$fact" --stop 75 --stop 17599
answers 4831

expect 2 chat
expect 2 chat -m "$work/model" --stop ''
expect 0 chat --help
says out '/read FILE'

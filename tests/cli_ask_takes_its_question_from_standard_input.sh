#!/bin/sh
# `ask -q -` reads its question from standard input, as other programs read what is named -; the same question gives the same
# answer as on the command line. What cannot be: both the text and the question from there, an empty question, a NUL in it.
. tests/help_cli.sh
make_needle_model
printf 'One.\nThe special magic number for Paris is: 4831759.\n' >"$work/text"
printf '>\nThe special magic number for Paris is:' >"$work/question"

# piped RC TEXT ARGS...: ask with TEXT, escapes as printf(1) knows them, as its input
piped() {
    wanted=$1
    printf '%b' "$2" >"$work/in"
    shift 2
    shown="ask $*"
    "$GLM1M" ask -m "$work/model" "$@" <"$work/in" >"$work/out" 2>"$work/err"
    rc=$?
    [ "$rc" -eq "$wanted" ] || fail "exit $rc, wanted $wanted"
}

expect 0 ask -m "$work/model" "$work/text" -q "$(cat "$work/question")"
says out '4831759'
mv "$work/out" "$work/as_an_argument"
for end in '' '\n' '\r\n' '\n\n'; do
    piped 0 "$(cat "$work/question")$end" "$work/text" -q -
    cmp -s "$work/out" "$work/as_an_argument" || fail "another answer than to the question as an argument"
done

piped 2 'x' - -q -
says err 'standard input is to be both the text and the question: name a file for one of them'
piped 2 '{"question": "x"}' "$work/text" - --questions -
says err 'standard input is to be both the text and the questions'
for nothing in '' '\n'; do
    piped 2 "$nothing" "$work/text" -q -
    says err 'ask: the question is empty'
done
piped 2 'Who\0is?' "$work/text" -q -
says err 'the question on standard input is no text: there is a NUL in it'

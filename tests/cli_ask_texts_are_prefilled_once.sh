#!/bin/sh
# Asks about one new text at once, with one directory, prefill it once: the others wait, say for whom, and find all of it.
#
# Method: one is stopped when it has begun, until two others wait for it; then it goes on. The same of two by two ranks, whichever
# comes first.
. tests/help_cli.sh
. tests/help_turns.sh
make_needle_model
text_of $n_lines >"$work/text"

begins 1 "$work/text"
first=$process
stops "$first" 0
begins 2 "$work/text"
second=$process
begins 3 "$work/text"
third=$process
awaits 2 "$second" "waiting for process $first on "
awaits 3 "$third" "waiting for process $first on "
kill -CONT "$first"
for program in $first $second $third; do ends "$program" 0; done
answers 1 2 3
n=$(n_tokens 1)
[ "$(n_found 1)" -eq 0 ] || fail 'the first found something'
for i in 2 3; do
    [ "$(n_found $i)" -eq "$n" ] || fail "ask $i found $(n_found $i) of $n tokens"
done

rm -rf "$work/kv"
for i in 1 2; do
    begins $i "$work/text" -tp 2
    programs="${programs-} $process"
done
for program in $programs; do ends "$program" 0; done
answers 1 2
[ "$(($(n_found 1) + $(n_found 2)))" -eq "$n" ] ||
    fail "two by two ranks found $(n_found 1) and $(n_found 2) of $n tokens"

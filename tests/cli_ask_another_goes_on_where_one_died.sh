#!/bin/sh
# Asks that wait for one which prefills their text: when that is killed, or stopped by Ctrl-C, one of them goes on from what it has
# on disk, finished or suspended, and the others wait for that one.
#
# Method: it is held (SIGSTOP) behind its first spans until the others wait.
. tests/help_cli.sh
. tests/help_turns.sh
make_needle_model
text_of $n_lines >"$work/text"

# hold: ask 1 stands behind some spans, 2 and 3 wait for it
hold() {
    begins 1 "$work/text" --span 4096
    first=$process
    stops "$first" 4096
    begins 2 "$work/text" --span 4096
    second=$process
    begins 3 "$work/text" --span 4096
    third=$process
    awaits 2 "$second" 'waiting for '
    awaits 3 "$third" 'waiting for '
}

# check LEAST: one has found all, the other at least so much
check() {
    ends "$second" 0
    ends "$third" 0
    answers 2 3
    n=$(n_tokens 2)
    [ "$(cat "$work/err.2" "$work/err.3" | grep -c 'is at it no longer: this one goes on')" -eq 1 ] ||
        fail "not one of both goes on: $(cat "$work"/err.[23])"
    least=$(n_found 2)
    most=$(n_found 3)
    [ "$least" -le "$most" ] || { least=$most && most=$(n_found 2); }
    [ "$most" -eq "$n" ] || fail "of $n tokens $most were found by who waited to the end"
    [ "$least" -ge "$1" ] && [ "$least" -lt "$n" ] || fail "$least tokens were found by who went on, at least $1 were there"
}

hold
kept=$(n_kept)
kill -KILL "$first"
wait "$first"
check $((kept * 4096))

rm -rf "$work/kv"
hold
kill -INT "$first"
kill -CONT "$first"
ends "$first" 130
at=$(sed -n 's/.*during prefill, at token \([1-9][0-9]* of [0-9]*\);.*/\1/p' "$work/err.1")
[ -n "$at" ] || fail "nothing was kept: $(cat "$work/err.1")"
check $((${at%% *} / 4096 * 4096))
# Between two spans nothing is begun.
[ $((${at%% *} % 4096)) -eq 0 ] || grep -q "goes on at token $at, where it was stopped" "$work"/err.[23] ||
    fail "what was suspended at token $at is computed again: $(cat "$work"/err.[23])"

#!/bin/sh
# Progress: a bar that redraws on a terminal, whole lines elsewhere, silence when asked for.
#
# Method: the same prefill with a terminal of script(1) as stderr, with a file, and with --quiet.
. tests/help_cli.sh
make_needle_model
n=9000
[ -z "${GLM_TEST_FAST:-}" ] || n=2000
yes 'All work and no play makes Jack a dull boy.' | head -c $n >"$work/text"

# On a terminal: from 0 % on, in place, and cleared at the end.
shown="complete, on a terminal"
script -qefc "stty columns 80; '$GLM1M' complete -m '$work/model' -f '$work/text' -n 1 --threads 1 >/dev/null" \
    /dev/null </dev/null >"$work/out" 2>&1 || fail "exit $?"
says out 'prefill [....'
grep -q 'prefill \[#*\.*\] .* ETA ' "$work/out" || fail 'no bar beside the figures'
says out '  0.0%'
says out 'tokens'
says out 'ETA'
grep -q "$(printf '\r\033\\[K')prompt $((n + 2)) tokens" "$work/out" || fail "the bar was not cleared"

# Into a file: nothing that moves a cursor.
expect 0 complete -m "$work/model" -f "$work/text" -n 1 --threads 1
grep -q "$(printf '[\r\033]')" "$work/err" && fail "cursor control in a file"
says err "prompt $((n + 2)) tokens"

TERM=dumb expect 0 complete -m "$work/model" -f "$work/text" -n 1 --quiet
says_nothing err
expect 0 complete -m "$work/model" -f "$work/text" -n 1 --no-progress
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "--no-progress leaves one line, the usage"

# An evaluation on a terminal says each cell as it comes, on a line of its own.
shown="needle, on a terminal"
script -qefc "stty columns 80; '$GLM1M' needle --lengths 500,600 --depths 50 --threads 1" /dev/null \
    </dev/null >"$work/out" 2>&1 || fail "exit $?"
says out 'needle ['
for cell in '1/2: length 500' '2/2: length 600'; do
    grep -q "$(printf '\r\033\\[K')cell $cell, depth 50 %, round 0: found" "$work/out" || fail "no line of cell $cell"
done

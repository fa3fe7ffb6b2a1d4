#!/bin/sh
# Two asks at once about texts that begin alike: one waits until the other has kept what they share, though that is not at its
# end, and computes its own rest.
#
# Method: the first is held (SIGSTOP) when it has begun, until the second waits, and again as soon as the beginning is on disk: the
# second ends while it stands.
. tests/help_cli.sh
. tests/help_turns.sh
make_needle_model
n_alike=$((n_lines / 2))
text_of $n_lines | head -n $n_alike >"$work/alike"
{ cat "$work/alike" && text_of $((n_alike * 3)) | tail -n $n_lines; } >"$work/long"
{ cat "$work/alike" && text_of 20; } >"$work/short"

begins 1 "$work/long" --span 4096
first=$process
stops "$first" 0
[ "$(n_kept)" -eq 0 ] || fail 'the beginning is on disk already'
begins 2 "$work/short"
second=$process
awaits 2 "$second" "waiting for process $first on "
kill -CONT "$first"
n=$(n_tokens 2)
n_shared=$(((n - 1500) / 4096)) # the last 20 lines are less
stops "$first" $((n_shared * 4096))
ends "$second" 0
answers 2
[ "$(n_found 2)" -ge $((n_shared * 4096)) ] && [ "$(n_found 2)" -lt "$n" ] ||
    fail "of $n tokens $(n_found 2) were found, $n_shared segments are shared"
kill -CONT "$first"
ends "$first" 0

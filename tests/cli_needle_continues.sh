#!/bin/sh
# A needle run that Ctrl-C cut off continues where it was: no finished cell is run again, and other
# settings are refused by name.
. tests/help_cli.sh

lengths=1k,2k,3k
[ -z "${GLM_TEST_FAST:-}" ] || lengths=500,600,700
grid="needle --lengths $lengths --depths 0,50,100 --rounds 2 --threads 1 --out $work/run"
started() { grep -c '"context_length"' "$work/run/results.json" 2>/dev/null; }

# shellcheck disable=SC2086 # words of a command
"$GLM1M" $grid >"$work/out" 2>"$work/err" &
program=$!
tries=0
while [ "$(started || :)" = '' ] || [ "$(started)" -lt 3 ]; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail 'no cells after a minute'
    sleep 0.1
done
kill -INT $program
wait $program
rc=$?
[ $rc -eq 130 ] || [ $rc -eq 0 ] || fail "exit $rc after Ctrl-C"
done_before=$(started)
grep '"prefill_s"' "$work/run/results.json" >"$work/before"

# shellcheck disable=SC2086
expect 0 $grid
says err "continuing: $done_before cells are done already"
says out 'found 18 of 18'
[ "$(started)" -eq 18 ] || fail "$(started) records, wanted 18"
grep '"prefill_s"' "$work/run/results.json" | head -n "$done_before" >"$work/after"
cmp -s "$work/before" "$work/after" || fail 'a finished cell was run again'

# shellcheck disable=SC2086
expect 2 $grid --seed 5
says err 'run_seed "1234" and this run has "5"'
# shellcheck disable=SC2086
expect 2 $grid --mode fast
says err 'mode "exact" and this run has "fast"'

# Another grid in the same directory, of a haystack of one's own: what it did not ask for is not counted.
yes 'All work and no play makes Jack a dull boy.' | head -c 9000 >"$work/hay"
grid="needle --haystack $work/hay --out $work/two --threads 1"
# shellcheck disable=SC2086
expect 0 $grid --lengths 500 --depths 0,100 --rounds 2
# shellcheck disable=SC2086
expect 0 $grid --lengths 500,600 --depths 100
says err 'continuing: 4 cells are done already'
says out 'found 2 of 2;'
says out "not counted: 3 of other lengths, depths or rounds in $work/two"

# A further length is none: prose made from one seed is one haystack, however much of it is needed.
expect 0 needle --lengths 500 --depths 50 --out "$work/three"
expect 0 needle --lengths 500,4k --depths 50 --out "$work/three"
says err 'continuing: 1 cells are done already'
says out 'found 2 of 2;'

# Of one job a length, in directories of their own, one file makes one picture.
expect 0 needle --lengths 700 --depths 50 --out "$work/four"
mkdir "$work/all"
{ sed '$d' "$work/three/results.json" && printf ',\n' && sed '1d' "$work/four/results.json"; } >"$work/all/results.json"
expect 0 needle --lengths 500,700,4k --depths 50 --out "$work/all"
! grep -q 'cell 1/' "$work/err" || fail 'a cell that another job has done was run again'
says out 'found 3 of 3;'

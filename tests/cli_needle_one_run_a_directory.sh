#!/bin/sh
# Two runs of needle with one --out: the second is refused while the first one writes there, as each
# would take the other's cells away; when the first has ended it is taken.
. tests/help_cli.sh

"$GLM1M" needle --lengths 2k,3k --depths 0,50,100 --threads 1 --out "$work/run" >/dev/null 2>"$work/first" &
program=$!
tries=0
until [ -s "$work/run/results.json" ]; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail 'no cells after a minute'
    sleep 0.1
done
kill -STOP $program # it holds the directory for as long as the second one takes
expect 1 needle --lengths 3k --depths 50 --out "$work/run"
says err "another glm1m needle is writing into $work/run"
says_nothing out
expect 0 needle --lengths 500 --depths 50 --out "$work/other" --no-progress
kill -9 $program
wait $program
expect 0 needle --lengths 2k,3k --depths 0,50,100 --threads 1 --out "$work/run"
says err 'continuing: '
says out 'found 6 of 6'

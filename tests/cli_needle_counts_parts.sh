#!/bin/sh
# Tasks with several answers: each answer that is found counts for its share. The embedded model
# completes one sentence, so it finds one value of four. What is asked for all over the text has no
# depth; results from before there were scores are continued.
. tests/help_cli.sh

grid="needle --protocol ruler:multivalue --lengths 3k --depths 40 --no-progress"
# shellcheck disable=SC2086 # words of a command
expect 0 $grid --out "$work/run" --min-accuracy 0.25
says out '    25 %'
says out 'found 0 of 1, score 25.0 %, parts counted'
says err 'PARTLY found'
grep -q '"score": 0.25' "$work/run/results.json" || fail 'no score of a quarter'
grep -q '"correct": false' "$work/run/results.json" || fail 'a quarter is called correct'
grep -q '^3000,40,0,0,0.2500,' "$work/run/results.csv" || fail 'no score of a quarter in results.csv'
# shellcheck disable=SC2086
expect 7 $grid --out "$work/run" --min-accuracy 0.3
says err 'continuing: 1 cells are done already'

expect 0 needle --lengths 1k --depths 0 --out "$work/old" --no-progress
grep -v '"score"' "$work/old/results.json" >"$work/old/without"
mv "$work/old/without" "$work/old/results.json"
expect 0 needle --lengths 1k --depths 0 --out "$work/old" --no-progress
says out 'found 1 of 1'

expect 0 needle --protocol ruler:vt --lengths 3k --out "$work/vt" --no-progress
says out 'all over'
! grep -q 'depth' "$work/vt/heatmap.svg" || fail 'the picture speaks of depths'
expect 2 needle --protocol ruler:vt --lengths 3k --depths 50
says err '--depths: what ruler:vt asks for is all over the text'
expect 2 needle --protocol ruler:cwe --lengths 5k
says err 'too short for ruler:cwe'

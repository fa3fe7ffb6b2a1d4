#!/bin/sh
# Depths need not be whole: nine of them are 12.5 per cent apart. Table, records, CSV, heat map, saved prompts and
# comparison say them so, and a run goes on with them; what a whole depth hides where stays what it was.
. tests/help_cli.sh

expect 0 needle --lengths 4k --depths 12.5,33.3%,0,100,12.50 --out "$work/run" --save-prompts
says err 'cell 2/4: length 4000, depth 12.5 %, round 0: found'
says out '  12.5 %    100 %'
says out '  33.3 %    100 %'
says out 'found 4 of 4'
for depth in 0 12.5 33.3 100; do
    grep -qF "\"depth_percent\": $depth," "$work/run/results.json" || fail "results.json has no depth $depth"
    grep -q "^4000,$depth,0,1," "$work/run/results.csv" || fail "results.csv has no depth $depth"
    grep -qF "depth $depth%" "$work/run/heatmap.svg" || fail "the heat map has no depth $depth"
    [ -s "$work/run/prompts/4000_${depth}_0.txt" ] || fail "the prompt of depth $depth is not saved"
done

expect 0 needle --lengths 4k --depths 12.5,50,100 --out "$work/run" --no-progress
says err 'continuing: 4 cells are done already'
says out 'found 3 of 3'
says out 'not counted: 2 of other lengths, depths or rounds'
expect 0 needle --lengths 4k --depths 12.5,50 --out "$work/again" --quiet
expect 0 needle --compare "$work/run" "$work/again"
says out '4k       2  100.0 %  100.0 %'
says out 'no cell differs'
! grep -q 'other prompts' "$work/out" || fail 'the same cells had other prompts'
says out 'only in A: 3 cells'
# Each further on than the one before.
needle_token() { tr -d ' \n' <"$work/run/results.json" | sed "s/.*\"depth_percent\":$1,[^}]*\"needle_token\":\([0-9]*\).*/\1/"; }
[ "$(needle_token 0)" -lt "$(needle_token 12.5)" ] && [ "$(needle_token 12.5)" -lt "$(needle_token 33.3)" ] &&
    [ "$(needle_token 33.3)" -lt "$(needle_token 50)" ] || fail 'the needles are not in the order of their depths'
tr -d ' \n' <"$work/run/results.json" |
    grep -q '"context_length":4000,"depth_percent":50,.*"prompt_sha256":"2687c9c8ea5df1c8b88b22517c5f5c7e783427661b51fd3157cd55f782ed8fc5"' ||
    fail 'a whole depth hides another needle, or elsewhere'

for wrong in 101 100.1 -1 12.3456 x '' 1e1 5k . .5 50%% nan; do
    expect 2 needle --lengths 4k --depths "0,$wrong"
    says err "--depths, a list with commas: \"$wrong\" is none in per cent, from 0 to 100, such as 50 or 12.5"
done

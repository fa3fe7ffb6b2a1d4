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
! grep -q 'depth' "$work/err" || fail 'a line speaks of a depth'
grep -q '"depth_percent": null' "$work/vt/results.json" || fail 'a depth is kept of what has none'
grep -q '^3000,,0,' "$work/vt/results.csv" || fail 'a depth is kept in results.csv'
expect 0 needle --protocol ruler:vt --lengths 3k --out "$work/vt" --no-progress
says err 'continuing: 1 cells are done already'
expect 0 needle --compare "$work/vt" "$work/vt"
says out 'no cell differs'
expect 2 needle --protocol ruler:vt --lengths 3k --depths 50
says err '--depths: what ruler:vt asks for is all over the text'
expect 2 needle --protocol ruler:cwe --lengths 5k
says err 'too short for ruler:cwe'
expect 2 needle --protocol ruler:fwe --lengths 600
says err 'too short for ruler:fwe'

# A question of a file: SQuAD's form.
expect 2 needle --protocol ruler:qa_1 --lengths 1k
says err 'ruler:qa_1 asks questions of a file, as SQuAD publishes it: --haystack FILE.json'
printf '{"data":[{"paragraphs":[{"context":"The key is in the oven.","qas":[{"question":"Where is it?",
"answers":[{"text":"oven"},{"text":"the oven"}]}]}]}]}' >"$work/squad.json"
expect 0 needle --protocol ruler:qa_1 --haystack "$work/squad.json" --lengths 700 --out "$work/qa" --no-progress --save-prompts
grep -q '^Question: Where is it?' "$work/qa/prompts/700_0.txt" || fail 'no question'
grep -q '"answer": "oven, the oven"' "$work/qa/results.json" || fail 'not the answers of the file'
grep -q '"prompt_sha256": "[0-9a-f]\{64\}"' "$work/qa/results.json" || fail 'no hash of the prompt'
expect 2 needle --protocol ruler:qa_1 --haystack "$work/squad.json" --lengths 700 --rounds 2
says err 'each asks another question, and ruler:qa_1 has 1 in the file'

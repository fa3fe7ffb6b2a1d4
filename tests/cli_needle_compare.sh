#!/bin/sh
# needle --compare: two runs cell by cell; what differs in their settings; a sign test; what only one
# of them has.
. tests/help_cli.sh

grid='needle --depths 0,50,100 --rounds 2 --no-progress'
# shellcheck disable=SC2086 # words of a command
expect 0 $grid --lengths 500,600 --out "$work/a"
# shellcheck disable=SC2086
expect 0 $grid --lengths 500,700 --out "$work/b" --answer-prefix none
expect 0 needle --compare "$work/a" "$work/b/results.json"
says out 'answer_prefix_mode: "auto" in A, "none" in B'
says out '     500       6  100.0 %    0.0 %  -100.0          6          0'
says out '     all       6  100.0 %    0.0 %  -100.0          6          0'
says out '6 of 6 cells differ; sign test p = 0.031'
says out '6 of 6 cells had other prompts'
says out 'only in A: 6 cells, only in B: 6'
! grep -q 'model' "$work/out" || fail 'one model is called two'

expect 0 needle --compare "$work/a" "$work/b" --json
tr -d ' \n' <"$work/out" >"$work/one_line" && mv "$work/one_line" "$work/out"
says out '"answer_prefix_mode":{"a":"auto","b":"none"}'
says out '"lengths":[{"cells":6,"a":1.0,"b":0.0,"a_better":6,"b_better":0,"other_prompts":6,"length":500}]'
says out '"sign_test_p":0.03'
says out '"only_in_a":6,"only_in_b":6'

expect 0 needle --compare "$work/a" "$work/a"
says out '     600       6  100.0 %  100.0 %    +0.0          0          0'
says out 'no cell differs'
! grep -q 'prompts' "$work/out" || fail 'the same prompts are called others'

# shellcheck disable=SC2086
expect 0 $grid --lengths 800 --out "$work/c"
expect 2 needle --compare "$work/a" "$work/c"
says err 'have no length, depth and round in common'
expect 2 needle --compare "$work/a"
says err '--compare: 1 given; two are wanted'
expect 1 needle --compare "$work/a" "$work/nowhere"
says err "cannot read $work/nowhere"
: >"$work/empty"
expect 5 needle --compare "$work/a" "$work/empty"
says err 'holds no array of results'

# one place twice, as where two runs' results were put into one file, has no one counterpart
sed '1d;$d' "$work/a/results.json" >"$work/records"
{
    echo '['
    cat "$work/records"
    echo ','
    cat "$work/records"
    echo ']'
} >"$work/twice"
expect 5 needle --compare "$work/a" "$work/twice"
says err "$work/twice has length 500, depth 0, round 0 twice"

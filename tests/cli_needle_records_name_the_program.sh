#!/bin/sh
# Each record of needle says which build computed it, on what: a run that another build goes on with does not claim the
# cells of the first one, and --compare tells builds apart.
. tests/help_cli.sh

expect 0 needle --lengths 500 --depths 0,50 --out "$work/run" --quiet
version=$("$GLM1M" version | sed -n 's/^glm1m //p')
commit=$("$GLM1M" version | sed -n 's/^commit *//p')
[ "$(grep -c "\"program\": \"glm1m $version${commit:+ $commit}, CPU with [a-z0-9]*, 1 rank\"" "$work/run/results.json")" -eq 2 ] ||
    fail 'the records do not name this program'
expect 0 needle --lengths 500 --depths 0,50 --json --quiet -tp 2
[ "$(grep -c '"program": ".*, 2 ranks"' "$work/out")" -eq 2 ] || fail 'the ranks are not told'

mkdir "$work/other"
sed 's/"program": "[^"]*"/"program": "glm1m 0.0.9, CPU with avx2, 1 rank"/' "$work/run/results.json" >"$work/other/results.json"
expect 0 needle --compare "$work/other" "$work/run"
says out "program: \"glm1m 0.0.9, CPU with avx2, 1 rank\" in A, \"glm1m $version"
expect 0 needle --lengths 500 --depths 0,50,100 --out "$work/other" --quiet
[ "$(grep -c '"program": "glm1m 0.0.9, CPU with avx2, 1 rank"' "$work/other/results.json")" -eq 2 ] &&
    [ "$(grep -c "\"program\": \"glm1m $version" "$work/other/results.json")" -eq 1 ] || fail 'the records changed hands'

# Files of before are read, and nothing is made up for them.
sed '/"program"/d' "$work/run/results.json" >"$work/other/results.json"
expect 0 needle --lengths 500 --depths 0,50 --out "$work/other" --quiet
says out 'found 2 of 2'
! grep -q '"program"' "$work/other/results.json" || fail 'old records name a program'

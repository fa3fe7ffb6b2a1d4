#!/bin/sh
# --mode fast finds what exact mode finds, says what it is, and does prefill less.
. tests/help_cli.sh

expect 0 needle --mode fast --lengths 1k,2k --depths 0,50,100 --out "$work/fast" --no-progress
says out 'fast mode'
says out 'found 6 of 6'
[ "$(grep -c '"mode": "fast"' "$work/fast/results.json")" -eq 6 ] || fail 'results do not say fast'
reused=$(sed -n 's/.*"reused_tokens": \([0-9]*\).*/\1/p' "$work/fast/results.json" |
    awk '{ sum += $1 } END { print sum }')
[ "$reused" -gt 2000 ] || fail "only $reused tokens were reused"

expect 0 needle --lengths 1k --depths 0,50 --json --no-progress
says out '"reused_tokens": 0'

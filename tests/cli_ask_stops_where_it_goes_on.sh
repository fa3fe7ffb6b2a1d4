#!/bin/sh
# Where a prefill is said to have been stopped is where the next run goes on, and so for each of several stops: also of a text
# whose beginning is that of another one, which is on disk.
#
# Method: first a signal that comes later each time, until something is kept; then as soon as the program says where it goes on.
. tests/help_cli.sh
make_needle_model
n_lines=900
[ -z "${GLM_TEST_FAST:-}" ] || n_lines=300
awk -v n=$n_lines 'BEGIN { for (i = 1; i < n; i++) printf "Line %d has nothing to say about %d,\n", i, i * i }' >"$work/text"
head -n 50 "$work/text" >"$work/beginning"

# stops LINE DELAY: ask, and a Ctrl-C so many seconds after it has said LINE; leaves in $at where it stopped, or nothing where nothing is kept
stops() {
    rm -f "$work/out" "$work/err" && : >"$work/out" && : >"$work/err"
    shown="ask, stopped $2 s behind $1"
    "$GLM1M" ask -m "$work/model" "$work/text" -q x -n 1 --threads 1 --kv-disk-dir "$work/kv" >"$work/out" 2>"$work/err" &
    program=$!
    until grep -q "^$1" "$work/err"; do
        kill -0 $program 2>/dev/null || fail 'it ended before'
        sleep 0.02
    done
    sleep "$2"
    kill -INT $program
    wait $program
    rc=$?
    [ "$rc" -eq 130 ] || fail "exit $rc, not 130"
    at=$(sed -n 's/.*during prefill, at token \([0-9]* of [0-9]*\); the same command.*/\1/p' "$work/err")
}

expect 0 ask -m "$work/model" "$work/beginning" -q x -n 1 --kv-disk-dir "$work/kv"
at=
for delay in 0 0.1 0.2 0.4 0.8; do
    [ -n "$at" ] || stops 'on disk already: ' $delay
done
for _ in 1 2; do
    before=$at
    stops 'goes on at token ' 0.1
    says err "goes on at token $before, where it was stopped"
done

#!/bin/sh
# A server that has too few descriptors to begin with says so, whatever it was about to open.
#
# Method: fewer and fewer of them, until it does not start.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
n_failed=0
for n in 24 22 20 19 18 17 16 15 14 13 12 11 10; do
    : >"$work/server.err"
    (ulimit -n "$n" && exec "$GLM1M" serve -m "$work/model" -c 16k --port 0) 2>"$work/server.err" &
    server_pid=$!
    while kill -0 "$server_pid" 2>/dev/null && ! grep -q '^ready' "$work/server.err"; do sleep 0.1; done
    kill "$server_pid" 2>/dev/null
    wait "$server_pid"
    rc=$?
    server_pid=
    [ "$rc" -ne 0 ] || continue
    n_failed=$((n_failed + 1))
    grep -q 'Too many open files' "$work/server.err" || { cat "$work/server.err" && fail "of $n descriptors it says nothing"; }
done
[ "$n_failed" -gt 3 ] || fail "it started with all of these"

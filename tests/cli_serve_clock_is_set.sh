#!/bin/sh
# Somebody sets the machine's clock back by an hour: a stream is told all the same that its prefill goes on, and that a
# client has left is noticed.
#
# Method: for the program alone the clock is an hour ahead, so that who waits until a time of that clock waits so much
# longer.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh
set_clock=$(cd "$(dirname "$GLM1M")/tests" && pwd)/set_clock.so
[ -e "$set_clock" ] || { echo 'skipped: clocks are set in the release build' && exit 77; }

make_needle_model
# shellcheck disable=SC2097,SC2098 # only the server has that clock
LD_PRELOAD=$set_clock SET_CLOCK_S=3600 start_server -m "$work/model" -c 64k --threads 1 --kv-disk-dir "$work/kv"
client clock.py "$server_pid"
kill -TERM "$server_pid"
await_server

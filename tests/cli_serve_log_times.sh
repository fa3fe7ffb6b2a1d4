#!/bin/sh
# The server's log says when: each line begins with the time of day, but where systemd's journal takes it, which has that
# already. And it says of each request, by the id that its client has, what it took.
#
# Method: two files are the log, of which one is said to be the journal: to a server whose log it is, and to the other one.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
: >"$work/journal"
journal=$(stat -c %d:%i "$work/journal")
begun=$(date -u +%Y-%m-%dT%H:%M:%S)
GLM_LOG=info JOURNAL_STREAM=$journal start_server -m "$work/model" -c 4k
client log_times.py "$server_pid" "$work/server.err" "$begun"
stop_server
GLM_LOG=info JOURNAL_STREAM=$journal "$GLM1M" serve -m "$work/model" -c 4k --port "${url##*:}" \
    2>"$work/journal" >"$work/out" &
server_pid=$!
tries=0
until grep -q 'requests at once$' "$work/journal"; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || { cat "$work/journal" && fail 'no server whose log is the journal'; }
    sleep 0.1
done
stop_server
grep -q '^info engine: open' "$work/journal" && grep -q '^warn serve: SIGTERM' "$work/journal" ||
    { cat "$work/journal" && fail 'the journal is told the time'; }

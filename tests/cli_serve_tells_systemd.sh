#!/bin/sh
# A service with Type=notify is told when the model is loaded and /health is 200, and when the server ends; a NOTIFY_SOCKET that
# leads nowhere, or is none, changes nothing.
#
# Method: a program listens where systemd would.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh
make_needle_model

awaits() {
    tries=0
    until grep -qF "$1" "$work/told"; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "after a minute nobody says: $1"
        sleep 0.1
    done
}

for socket in "$work/notify" "@glm1m_test_$$"; do
    : >"$work/told" # of the socket before
    PYTHONDONTWRITEBYTECODE=1 python3 tests/serve/notified.py "$socket" "$work/server.err" >"$work/told" 2>"$work/err" &
    listener=$!
    awaits listening
    NOTIFY_SOCKET=$socket
    export NOTIFY_SOCKET
    start_server -m "$work/model" -c 1k
    awaits 'READY=1 200'
    stop_server
    wait $listener || fail "the listener fails"
    [ "$(cat "$work/told")" = 'listening
READY=1 200
STOPPING=1' ] || { cat "$work/told" && fail 'that is not what systemd waits for'; }
done

long=$(head -c 200 /dev/zero | tr '\0' a)
for NOTIFY_SOCKET in "$work/nobody" "$work/notify" here @ "/$long"; do
    start_server -m "$work/model" -c 1k
    stop_server
done

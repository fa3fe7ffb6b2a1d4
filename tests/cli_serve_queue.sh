#!/bin/sh
# Requests that wait: no more of them than --limits says, by number and by tokens, the others get 429 and when to
# come again; jobs likewise. Who waits, or is prefilled for long, hears from the server every 5 s, and how far
# it is, as /metrics says it.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 32k --max-num-seqs 1
client waiting.py "$server_pid" full
stop_server

start_server -m "$work/model" -c 256k -b 128 --max-num-seqs 1 --threads 1
client waiting.py "$server_pid" heartbeats
stop_server

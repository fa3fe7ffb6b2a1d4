#!/bin/sh
# A request is counted as answered before its client has the answer.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 4k
client counted.py "$server_pid"
stop_server

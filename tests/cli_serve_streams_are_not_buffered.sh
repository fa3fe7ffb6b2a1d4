#!/bin/sh
# A stream asks the proxy in front of the server to hand its pieces on as they come: nginx would else collect 8 KB of them.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 16k
client unbuffered.py "$server_pid"
stop_server

#!/bin/sh
# A whole answer that fails after its status, 200, has gone out is cut off behind the error, in either API's shape: clients
# raise then, and do not take the error for an answer. One that goes well is ended as ever.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 64k --max-num-seqs 4
client late.py "$server_pid"
await_server

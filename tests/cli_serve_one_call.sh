#!/bin/sh
# Where a client lets no two calls be in one answer (parallel_tool_calls: false, disable_parallel_tool_use: true), an answer
# ends with its first call, whole and streamed; elsewhere the model's further calls come.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
python3 tests/serve/parts_model.py "$work/model" || fail 'the model cannot be changed'
start_server -m "$work/model" -c 2k
client one_call.py "$server_pid"
stop_server

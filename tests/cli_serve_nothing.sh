#!/bin/sh
# Values by which clients say nothing (max_tokens -1, seed -1, an empty stop text, null content, no tool_calls) are as if
# they were not there; what has no such meaning is refused, with what is possible.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 1k
client nothing.py "$server_pid"
stop_server

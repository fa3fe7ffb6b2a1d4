#!/bin/sh
# What clients spell in another way (max_tokens 4.0, a call's arguments as an object, tool_choice {"type": "auto"}, refusals,
# what Claude thought before) is what it means.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 1k
client spellings.py "$server_pid"
stop_server

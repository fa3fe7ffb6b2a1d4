#!/bin/sh
# /v1/responses: instructions and a text, or messages, give the answer that /v1/chat/completions gives, whole and in events;
# what it has not is refused by name.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 16k
client responses.py "$server_pid"
stop_server

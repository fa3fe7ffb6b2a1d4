#!/bin/sh
# A prompt, or a prompt with max_tokens, that is longer than the context is refused in the words by which agents know that they
# have to compact their conversation or to ask for less, in every API; the numbers in them are right.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 1k
client too_long.py "$server_pid"
stop_server

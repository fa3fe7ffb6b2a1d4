#!/bin/sh
# A request that asks for what would change its answer and is not there (guided_json, repeat_penalty, best_of, ...) is refused, and
# the field named with what has it here; one that knows the field, and asks for nothing by it, is answered.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 1k
client absent.py "$server_pid"
stop_server

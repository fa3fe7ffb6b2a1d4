#!/bin/sh
# A short answer beside a long prefill does not pay an item of that for each of its tokens: it has its share of the time.
#
# Method: an answer of more tokens than the long prompt has items comes before that prompt is computed.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 32k -b 2048
client beside_long.py "$server_pid"
stop_server

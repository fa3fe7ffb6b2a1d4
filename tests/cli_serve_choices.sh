#!/bin/sh
# Several answers to one prompt (n): the prompt is computed once, greedy ones are the answer of n = 1, drawn ones
# are reproducible and the first is that of n = 1; streamed, whole, with lossy KV, which they say, and when slots are scarce.
#
# Method: a model of random weights, whose every answer depends on all of its KV.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
for dtype in bf16 int4; do
    start_server -m "$work/model" -c 4k -b 128 --max-num-seqs 4 --kv-cache-dtype $dtype
    client choices.py "$server_pid" $dtype
    stop_server
done

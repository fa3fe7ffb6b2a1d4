#!/bin/sh
# A server on whose disk the requests under way leave no room for what is to be kept says so when it starts, with the numbers,
# and not when a prompt was computed for nothing; on one with room it says nothing.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 16k --kv-disk-dir "$work/kv" --kv-disk-space 100M
grep -q ' warn serve: 0 B of the disk are for what is kept, where a text of 16000 tokens takes up to .*, and 100.0 MiB for requests' \
    "$work/server.err" || { cat "$work/server.err" && fail 'nothing is said'; }
stop_server
start_server -m "$work/model" -c 16k --kv-disk-dir "$work/kv" --kv-disk-space 200M --max-num-seqs 1
! grep -q ' warn ' "$work/server.err" || { cat "$work/server.err" && fail 'with room for a text'; }
stop_server

#!/bin/sh
# Several answers to one prompt may each be as long as the context lets them be; where the KV cache has no room for them,
# that is said (400), and is not the server's fault: at once where all of it would not do, whatever is under way.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 1k --max-num-seqs 8
client no_room.py "$server_pid" ample
stop_server
start_server -m "$work/model" -c 1k --max-num-seqs 8 --host-kv-space 4M
client no_room.py "$server_pid" scarce
stop_server

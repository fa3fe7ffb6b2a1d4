#!/bin/sh
# Where the disk has no room for all conversations, those of before make way for new ones, and what all of them begin with
# stays: after a restart that is found for one that is gone, too. The disk never takes more than it may.
#
# Method: a system text of two segments, and conversations of one more each; several times as many as there is room for.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

export GLM_DEVICE=cpu
make_byte_model
set -- -m "$work/random" -c 16k --max-num-seqs 1 --kv-disk-dir "$work/kv" --kv-disk-space 24M --kv-packing plain
for name in first second; do
    start_server "$@"
    client conversations.py "$server_pid" "$work/$name" talk 9000 14 1800
    stop_server
    n_segments=$(find "$work/kv" -name '*.kvs' | wc -l)
    [ "$n_segments" -gt 2 ] || fail "nothing of the $name conversations is kept"
    [ "$n_segments" -lt 16 ] || fail "$n_segments segments: nothing has to make way"
    [ "$(du -sk "$work/kv" | cut -f 1)" -le 24576 ] || fail 'more than 24 MiB'
done
start_server "$@"
client conversations.py "$server_pid" "$work/first" again 9000 1 1800 8192
stop_server

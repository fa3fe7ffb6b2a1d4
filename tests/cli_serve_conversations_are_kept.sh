#!/bin/sh
# Conversations that begin with the same system text are all found again on disk, whether the server was stopped or killed:
# of their prompts no whole segment is computed again, and the answers are the same tokens with the same scores as without a
# disk. So with two ranks.
#
# Method: the system text is a quarter of a segment; each conversation, of two turns, parts from the others inside the first
# segment, and its second turn from the first one inside the second. They are asked for again in the same order, so that
# the first of them is in memory, and shares its beginning with the others, before these are looked for.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

export GLM_DEVICE=cpu
make_byte_model
for ranks in 1 2; do
    set -- -m "$work/random" -c 32k --max-num-seqs 2 -tp "$ranks"
    told="$work/told.$ranks" # two ranks add in another order
    start_server "$@"
    client conversations.py "$server_pid" "$told" talk 1000 3 4500
    stop_server
    set -- "$@" --kv-disk-dir "$work/kv.$ranks/%r"
    start_server "$@"
    client conversations.py "$server_pid" "$told" talk 1000 3 4500
    kill -KILL "$server_pid"
    wait "$server_pid"
    start_server "$@"
    client conversations.py "$server_pid" "$told" again 1000 3 4500
    stop_server
    start_server "$@"
    client conversations.py "$server_pid" "$told" again 1000 3 4500
    stop_server
done

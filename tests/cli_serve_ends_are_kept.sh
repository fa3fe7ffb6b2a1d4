#!/bin/sh
# A server that ends by SIGTERM keeps all of its conversations on disk, also what is behind their last whole segments, and those
# that are shorter than one: the next server computes only the last token of each prompt, and answers with the same tokens and
# scores as one without a disk. So where keys and values are kept rounded, but for the page that was not full; where memory
# holds few of them; and with two ranks.
#
# Method: three conversations that begin with one system text, shorter than a segment; and three longer ones. Asked for again in
# the same order, so that the first one is in memory, and has a beginning of the others, before these are looked for.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

export GLM_DEVICE=cpu
make_byte_model

# check HOW N_TURN ARGS...
check() {
    how=$1 turn=$2
    shift 2
    set -- -m "$work/random" -c 32k --max-num-seqs 2 "$@"
    rm -rf "$work/kv" "$work/told"
    start_server "$@"
    client conversations.py "$server_pid" "$work/told" talk 500 3 "$turn"
    stop_server
    set -- "$@" --kv-disk-dir "$work/kv/%r"
    start_server "$@"
    client conversations.py "$server_pid" "$work/told" talk 500 3 "$turn"
    stop_server
    start_server "$@"
    client conversations.py "$server_pid" "$work/told" "$how" 500 3 "$turn"
    stop_server
}
check all 300
[ -n "${GLM_TEST_FAST:-}" ] || check all 4500
check pages 300 --kv-cache-dtype int8 --max-num-seqs 8
check all 4500 --host-kv-space 8M
[ -n "${GLM_TEST_FAST:-}" ] || check all 300 -tp 2

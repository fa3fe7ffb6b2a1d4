#!/bin/sh
# Of a book that several conversations begin with, as their system text, the disk has its whole segments once, and of each
# conversation one more for its own text; after a restart nothing of all that is computed again, and nothing is written.
#
# Method: a book of two segments and a fifth, and conversations whose second turn goes past the third segment's end. What
# segments take is counted in files.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

n_segments() { find "$work/kv" -name '*.kvs' | wc -l; }

export GLM_DEVICE=cpu
make_byte_model
set -- -m "$work/random" -c 16k --max-num-seqs 2 --kv-disk-dir "$work/kv"
start_server "$@"
client conversations.py "$server_pid" "$work/told" talk 9000 6 1800
[ "$(n_segments)" = 8 ] || fail "$(n_segments) segments of 2 + 6"
stop_server
n=$(n_segments) # with the ends of all
start_server "$@"
client conversations.py "$server_pid" "$work/told" again 9000 6 1800
stop_server
[ "$(n_segments)" = "$n" ] || fail "$(n_segments) segments, and $n before they were found"

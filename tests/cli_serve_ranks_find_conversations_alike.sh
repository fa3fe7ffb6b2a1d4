#!/bin/sh
# Where one of two ranks has lost what follows the common beginning of some conversations, both go on from where both can: from
# what is on disk, or from what is in memory where that is more. The answers are those of before, and all is found the next
# time.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

talk() { client conversations.py "$server_pid" "$work/told" "$1" 4500 2 2500 ${2:-}; }

export GLM_DEVICE=cpu
make_byte_model
set -- -m "$work/random" -c 16k --max-num-seqs 2 -tp 2 --kv-disk-dir "$work/kv/%r"
start_server "$@"
talk talk
kill -KILL "$server_pid" # what is behind whole segments is not written
wait "$server_pid"
lost=0
for file in $(find "$work/kv/1" -name '*.kvs'); do
    [ "$(od -An -t d8 -j 112 -N 8 "$file")" -ne 4096 ] || { rm "$file" && lost=$((lost + 1)); }
done
[ $lost = 2 ] || fail "$lost segments follow the common one"
start_server "$@"
talk again '4096 4500'
stop_server
start_server "$@"
talk again
stop_server

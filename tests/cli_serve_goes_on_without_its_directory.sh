#!/bin/sh
# The directory that a server keeps texts in is removed under it: what memory holds is there, and what comes then is kept in a
# new one. Where none can be made, as a file has its name, prompts are answered all the same, and why they are not kept is said
# once.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 16k --max-num-seqs 2 --kv-disk-dir "$work/kv"
client lost_directory.py "$work/kv"
stop_server
[ "$(grep -c ' warn prefill: ' "$work/server.err")" -eq 1 ] &&
    grep -q " warn prefill: what follows is not kept on disk: .*$work/kv/.*: Not a directory" \
        "$work/server.err" || { cat "$work/server.err" && fail 'it is not said once'; }

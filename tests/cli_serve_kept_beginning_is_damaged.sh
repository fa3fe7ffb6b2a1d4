#!/bin/sh
# Conversations whose common beginning on disk is damaged, missing, or another text's in its place, are answered as before: it
# is computed and written once more, and what follows it of each conversation, which nobody could have found meanwhile, is
# found again.
#
# Method: a system text of more than one segment. It is known by where its file says that it begins: at 0.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

# segment_at POS: the file of the first segment that begins there
segment_at() {
    find "$work/kv" -name '*.kvs' | while read -r file; do
        [ "$(od -An -t d8 -j 112 -N 8 "$file")" -ne "$1" ] || printf '%s\n' "$file"
    done | head -n 1
}

talk() { client conversations.py "$server_pid" "$work/told" "$1" 4500 3 2500 ${2:-}; }

export GLM_DEVICE=cpu
make_byte_model
set -- -m "$work/random" -c 16k --max-num-seqs 2 --kv-disk-dir "$work/kv"
start_server "$@"
talk talk
stop_server
for harm in damaged missing another; do
    first=$(segment_at 0)
    case $harm in
    damaged) dd if=/dev/zero of="$first" bs=4096 seek=6 count=4 conv=notrunc 2>"$work/dd" ;;
    missing) rm "$first" ;;
    another) cp "$(segment_at 4096)" "$first" ;;
    esac
    start_server "$@"
    talk again 0
    stop_server
    start_server "$@"
    talk again
    stop_server
done

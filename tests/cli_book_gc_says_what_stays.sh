#!/bin/sh
# book gc --kv-disk-space SIZE says so where it cannot get down to SIZE, because books hold more; and nothing where it could.
. tests/help_cli.sh
make_needle_model
export GLM_KV_DISK_DIR="$work/kv"
seq 1 400 >"$work/text"
expect 0 prefill -m "$work/model" "$work/text" --book numbers --quiet
expect 0 book gc --kv-disk-space 100K
says err 'that is more than 100.0 KiB: books hold it'
expect 0 book ls
says out numbers
expect 0 book gc
says_nothing err
expect 0 book rm numbers --quiet
expect 0 book gc --kv-disk-space 100K
says out 'removed '
says_nothing err

#!/bin/sh
# Where and how KV goes to disk is said by flags of every command that opens an engine.
#
# Method: give plan, or serve, which takes no files, each of them well and badly, on the command line and in the environment.
. tests/help_cli.sh
make_needle_model

expect 0 plan -m "$work/model" -c 1k --kv-disk-dir "$work/a" --kv-disk-dir="$work/b" \
    --kv-disk-space 2G --device-kv-space 1G --kv-io pread
says err '--device-kv-space is of a GPU, and the CPU computes'
for io in auto uring; do
    expect 0 plan -m "$work/model" -c 1k --kv-io "$io"
done

# One directory a flag: what follows is not another.
expect 2 serve -m "$work/model" -c 1k --kv-disk-dir "$work/a" "$work/b"
says err "unexpected \"$work/b\""

expect 2 plan -m "$work/model" --kv-io aio
says err '"aio" is none of auto|uring|pread'
expect 2 plan -m "$work/model" --kv-packing tight
says err '"tight" is none of auto|dense|plain'
expect 2 plan -m "$work/model" --kv-disk-space 2X
says err '--kv-disk-space'
expect 2 plan -m "$work/model" --kv-disk-space 0
says err '--kv-disk-space 0: must be at least 1'
expect 2 plan -m "$work/model" --device-kv-space -1
says err '--device-kv-space'

export GLM_KV_IO=aio GLM_KV_DISK_DIR="$work/a"
expect 2 plan -m "$work/model" -c 1k
says err 'GLM_KV_IO: "aio"'
expect 0 plan -m "$work/model" -c 1k --kv-io pread
expect 0 plan -m "$work/model" -c 1k --kv-io pread --kv-disk-dir "$work/b"

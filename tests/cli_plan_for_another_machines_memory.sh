#!/bin/sh
# plan --host-memory SIZE plans for a machine, or a job, of so much memory: what is free here does not count, ulimit does not,
# the ranks share it, and a CPU's speed is still said to be measured here.
. tests/help_cli.sh
. tests/help_cli_9b.sh
export GLM_DEVICE=cpu GLM_LINEAR=own GLM_THREADS=1

for memory in 128 8192; do
    expect 0 plan -m "$work/9b" -c 1M --host-memory ${memory}G --json
    [ "$(number limit_bytes)" -eq $((memory << 30)) ] || fail "$memory GiB: a limit of $(number limit_bytes) bytes"
    says out '"kv_overflows": false'
    says out '"speed": "as measured on this machine"'
done
expect 0 plan -m "$work/9b" -c 1M --host-memory 128G -tp 2 --json
[ "$(number limit_bytes)" -eq $((64 << 30)) ] || fail "two ranks of 128 GiB have $(number limit_bytes) bytes each"

# About as much as is needed, and less.
least=$(number total_bytes)
expect 0 plan -m "$work/9b" -c 1M --host-memory $((2 * least + (64 << 20))) -tp 2 --kv-disk-space 1M
expect 3 plan -m "$work/9b" -c 1M --host-memory $((2 * least - 2)) -tp 2 --kv-disk-space 1M

expect 0 plan -m "$work/9b" -c 1M --host-memory 512G
join_rows
says out 'limit 512.0 GiB as --host-memory says'
says out 'as measured on this machine'
expect 3 plan -m "$work/9b" -c 4k --host-memory 16G
says err '16.00 GiB is available, because of --host-memory'
# (A sanitizer has terabytes of addresses.)
# shellcheck disable=SC3045 # shells that tests run in have it
if (ulimit -v 4000000 && "$GLM1M" version) >/dev/null 2>&1; then
    # shellcheck disable=SC3045
    (ulimit -v 4000000 && expect 0 plan -m "$work/9b" -c 1M --host-memory 512G --json) || exit 1
    [ "$(number limit_bytes)" -eq $((512 << 30)) ] || fail "ulimit counts for another machine"
fi
expect 2 doctor --host-memory 16G
says err 'it belongs to: plan'

#!/bin/sh
# A cap that is too small is refused in the user's own numbers: what was given for all ranks, and the least that will do.
#
# Method: caps of memory and of disk under which a length does not fit, with and without ranks. What the refusal says is the
# least does, and a MiB less does not; nobody is told of "at most 0 tokens".
. tests/help_cli.sh
make_needle_model

# refused FLAG MIB ARGS...: plan with FLAG MIBM is refused; what is named instead is enough, and no more than enough
refused() {
    flag=$1
    given=$2
    shift 2
    expect 3 plan -m "$work/model" "$@" "$flag" "${given}M"
    says err "$given.00 MiB"
    grep -q 'at most 0 tokens' "$work/err" && fail 'at most 0 tokens fit'
    least=$(sed -n 's/.*; \([0-9.]*\) \([GM]\)iB is the least that will do.*/\1 \2/p' "$work/err" |
        awk '{ printf "%d", $1 * ($2 == "G" ? 1024 : 1) }')
    [ "${least:-0}" -gt "$given" ] || fail "the least is not told, or is no more than $given MiB"
    expect 0 plan -m "$work/model" "$@" "$flag" "${least}M"
    expect 3 plan -m "$work/model" "$@" "$flag" "$((least - 1))M"
}
set -- --threads 1 --kv-disk-dir "$work/disk"
refused --host-kv-space 4 -c 16k -tp 4 "$@"
refused --host-kv-space 1 -c 16k "$@"
refused --kv-disk-space 40 -c 64k "$@" --host-kv-space 80M
refused --kv-disk-space 40 -c 64k -tp 2 "$@" --host-kv-space 80M
exit 0

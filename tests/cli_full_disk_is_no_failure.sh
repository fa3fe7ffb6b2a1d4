#!/bin/sh
# Where memory holds the KV cache a disk without room costs only what would have been kept there: the
# answer is the same, and it is said. Making a book without room for it is refused before the work.
set -u
. tests/help_cli.sh

make_needle_model
awk 'BEGIN { for (i = 0; i < 105; i++) print "line " i ", of a text long enough for segments" }' \
    >"$work/text"

expect 0 complete -m "$work/model" -f "$work/text" -n 8 --no-progress --json
ids() { tr -d '\n' <"$1" | sed 's/.*"ids": *\[\([^]]*\)\].*/\1/'; }
plain=$(ids "$work/out")

# A cap that the first segment does not fit under.
expect 0 complete -m "$work/model" -f "$work/text" -n 8 --no-progress --json \
    --kv-disk-dir "$work/kv" --kv-disk-space 1M
[ "$(ids "$work/out")" = "$plain" ] || fail "another answer"
says err 'not kept on disk'
says err "$work/kv"
[ "$(find "$work/kv" -name '*.kvs' | wc -l)" -eq 0 ] || fail "a segment above the cap"

# A disk that is full before the store is open, and one that the first segment fills.
# mounted SIZE COMMAND...: a disk of the command's own
mounted() {
    unshare -m sh -c 'mount -t tmpfs -o "size=$1" none "$0" && shift && exec "$@"' "$work/mount" "$@"
}
mkdir "$work/mount"
if mounted 1m true 2>/dev/null; then
    for size in 1m 24m; do
        shown="complete, on a disk of $size"
        mounted $size "$GLM1M" complete -m "$work/model" -f "$work/text" -n 8 --no-progress --json \
            --kv-disk-dir "$work/mount" >"$work/out" 2>"$work/err"
        rc=$?
        [ $rc -eq 0 ] || fail "exit $rc, wanted 0"
        [ "$(ids "$work/out")" = "$plain" ] || fail "another answer"
        says err 'kept on disk: '
    done
else
    printf 'not tried: a full disk, no mounts here\n'
fi

# A directory that cannot be one.
: >"$work/file"
expect 0 complete -m "$work/model" -f "$work/text" -n 8 --no-progress --json \
    --kv-disk-dir "$work/file/kv"
[ "$(ids "$work/out")" = "$plain" ] || fail "another answer"
says err 'nothing is kept on disk'

# One that can be written, but for what is kept there.
mkdir "$work/half"
: >"$work/half/vault"
expect 0 complete -m "$work/model" -f "$work/text" -n 8 --no-progress --json --kv-disk-dir "$work/half"
[ "$(ids "$work/out")" = "$plain" ] || fail "another answer"
says err "nothing is kept on disk: kvstore: $work/half/vault is not a directory"
expect 0 complete -m "$work/model" -f "$work/text" -n 8 --no-progress --json --kv-disk-dir "$work/half" -c 16k --host-kv-space 32M
[ "$(ids "$work/out")" = "$plain" ] || fail "another answer, where it overflows"
says err 'nothing is kept on disk'
expect 1 prefill -m "$work/model" "$work/text" --book b --kv-disk-dir "$work/half"
says err "$work/half/vault is not a directory"

# A book that is to be made has no room: what is only made for it is refused, and a run whose answers are what is wanted
# has them.
expect 3 prefill -m "$work/model" "$work/text" --book b --kv-disk-dir "$work/kv" --kv-disk-space 1M
says err '--kv-disk-space'
says err "$work/kv"
expect 0 ask -m "$work/model" "$work/text" -q x -n 1 --book b --kv-disk-dir "$work/kv2" --kv-disk-space 30M
says err 'book b does not hold the text: '
expect 0 needle -m "$work/model" --lengths 8k --depths 0,50 --book b --kv-disk-dir "$work/kv3" --kv-disk-space 30M
says out 'found 2 of 2'
says err 'book b does not hold the longest prompt: '

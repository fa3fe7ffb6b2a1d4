#!/bin/sh
# A book for which the disk has no more room is not computed to its end for nothing: prefill stops there, says how much is
# kept, and goes on from that once there is room.
#
# Method: a disk of the command's own without room for more directories, which no plan can foresee; then with.
. tests/help_cli.sh
mkdir "$work/mount"
if ! unshare -m mount -t tmpfs -o nr_inodes=10 none "$work/mount" 2>/dev/null; then
    printf 'skipped: no mounts here\n'
    exit 77
fi
make_needle_model
yes 'All work and no play makes Jack a dull boy.' | head -c 16600 >"$work/text"
cat >"$work/both" <<'END'
mount -t tmpfs -o size=400m,nr_inodes=10 none "$work/mount" || exit 77
prefill() { "$GLM1M" prefill -m "$work/model" "$work/text" --book jack --span 4096 --kv-disk-dir "$work/mount" --json; }
prefill >"$work/out" 2>"$work/err"
echo $? >"$work/rc"
mount -o remount,nr_inodes=1000 "$work/mount"
prefill >"$work/again" 2>"$work/err_again"
echo $? >"$work/rc_again"
END
export work
unshare -m sh "$work/both" || fail 'no disk'
shown='prefill, on a disk without room for its files'
rc=$(cat "$work/rc")
[ "$rc" -eq 3 ] || fail "exit $rc, wanted 3"
says err 'No space left on device; the same command goes on from there'
kept=$(sed -n 's/.*no more than the first \([0-9]*\) of 16602 tokens can be kept on disk.*/\1/p' "$work/err")
[ "${kept:-0}" -ge 4096 ] && [ "$kept" -lt 16384 ] || fail "${kept:-no} tokens are kept"
[ "$(cat "$work/rc_again")" -eq 0 ] || fail 'it does not go on'
grep -q "\"reused_tokens\": $kept," "$work/again" || fail "it does not go on from $kept"

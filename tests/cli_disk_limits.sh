#!/bin/sh
# Whatever a machine forbids to a run that overflows to disk, its output is the same, or its error names
# what is wrong and exits as promised; no half-written file is left.
#
# Method: logits of a text that does not fit the budget, with both ways to reach the disk; io_uring
# refused in two ways by seccomp; no locked memory; descriptors from too few on; files that may not
# grow; a full disk, a read-only one, and none.
. tests/help_cli.sh
make_needle_model
yes 'All work and no play makes Jack a dull boy.' | head -c 3000 >"$work/text"
"$GLM1M" tokenize -m "$work/model" -f "$work/text" --add-special >"$work/ids"
mkdir "$work/disk" "$work/mount"
expect 0 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/want.npy"

# The run; the words before it are in front of it. Leaves $rc.
overflow() {
    shown="logits, overflowing: $*"
    rm -f "$work/got.npy"
    "$@" "$GLM1M" logits -m "$work/model" --tokens-file "$work/ids" --positions last \
        --out "$work/got.npy" --host-kv-space 8M --kv-disk-dir "$disk" --kv-io "$io" \
        >"$work/out" 2>"$work/err"
    rc=$?
}
same() {
    [ "$rc" -eq 0 ] || fail "exit $rc, wanted 0"
    cmp -s "$work/want.npy" "$work/got.npy" || fail 'other logits'
}
# fails RC TEXT
fails() {
    [ "$rc" -eq "$1" ] || fail "exit $rc, wanted $1"
    says err "$2"
    says_nothing out
    [ -z "$(find "$work" -maxdepth 1 -name '*got.npy*')" ] || fail 'a file is left of a run that failed'
}
note() { printf 'not tried: %s\n' "$1"; }

disk=$work/disk
for io in auto pread; do
    overflow env
    same
done
overflow env GLM_LOG=info
says err 'overflow dir='
says err 'io="pread"'

# without_io_uring ERRNO COMMAND...: io_uring_setup fails so, as it does in containers (EPERM) and on
# kernels without it (ENOSYS). The filter: load the call's number; is it 425; fail; go on.
without_io_uring() {
    perl -e '
        my $errno = shift;
        syscall(157, 38, 1, 0, 0, 0) == 0 or exit 126;
        my $filter = pack("SCCL" x 4, 0x20, 0, 0, 0, 0x15, 0, 1, 425, 0x06, 0, 0, 0x50000 | $errno,
            0x06, 0, 0, 0x7fff0000);
        my $program = pack("Sx6P", 4, $filter);
        syscall(157, 22, 2, $program) == 0 or exit 126;
        exec @ARGV' "$@"
}
if [ "$(uname -m)" = x86_64 ] && without_io_uring 1 true; then
    for errno in 1 38; do
        io=auto
        overflow without_io_uring $errno env GLM_LOG=info
        same
        says err 'io="pread, because kvstore: io_uring is not available: '
        io=uring
        overflow without_io_uring $errno
        fails 1 'kvstore: io_uring is not available: '
    done
else
    note 'io_uring refused by seccomp'
fi

ways='auto pread'
few='4 5 6 8 12 24'
[ -z "${GLM_TEST_FAST:-}" ] || { ways=auto && few='4 24'; }
limited() { sh -c 'ulimit "$0" "$1" && shift && exec "$@"' "$@"; }
for io in $ways; do
    overflow limited -l 0
    same
    n_tried=0
    for descriptors in $few; do
        limited -n "$descriptors" "$GLM1M" --version >/dev/null 2>&1 || continue # nor its libraries
        overflow limited -n "$descriptors"
        n_tried=$((n_tried + (rc != 0)))
        if [ "$rc" -eq 0 ]; then same; else fails 1 'Too many open files'; fi
    done
    [ "$rc" -eq 0 ] && [ "$n_tried" -gt 0 ] || fail 'too few descriptors were never too few, or always'
    overflow limited -f 64
    fails 3 "$disk: File too large"
done

# mounted OPTIONS COMMAND...: a disk of the command's own
mounted() {
    unshare -m sh -c 'mount -t tmpfs -o "$1" none "$0" && shift && exec "$@"' "$work/mount" "$@"
}
io=auto
if mounted size=1m true 2>/dev/null; then
    disk=$work/mount
    overflow mounted size=1m
    fails 3 'of disk, and '
    says err '--kv-disk-dir'
    overflow mounted size=1g,ro
    fails 1 "$disk/"
    says err 'Read-only file system'
else
    note 'a full disk and a read-only one: no mounts here'
fi
for disk in "$work/text" "$work/text/below"; do
    overflow env
    [ "$rc" -eq 1 ] || [ "$rc" -eq 3 ] || fail "exit $rc, wanted 1 or 3"
    says err "$work/text"
done

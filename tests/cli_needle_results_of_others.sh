#!/bin/sh
# Results that may not be replaced, as another user's in a directory such as /tmp, are an error before the first cell and not
# after it; they stay as they are.
#
# Method: rename is refused as the kernel refuses it there, to one who continues a run.
. tests/help_cli.sh

if "$GLM1M" version | grep -q sanitize; then exit 0; fi # they want to be the first library
cat >"$work/rename.c" <<'END'
#include <errno.h>
int rename(const char *from, const char *to) {
    (void)from, (void)to;
    errno = EPERM;
    return -1;
}
END
cc -shared -fPIC -o "$work/rename.so" "$work/rename.c" || exit 77

expect 0 needle --lengths 500 --depths 0 --out "$work/run"
cp "$work/run/results.json" "$work/kept"
LD_PRELOAD=$work/rename.so
export LD_PRELOAD
expect 1 needle --lengths 500,600 --depths 0 --out "$work/run"
unset LD_PRELOAD
says err "to $work/run/results.json: Operation not permitted"
! grep -q '^cell ' "$work/err" || fail 'a cell was computed before that was known'
cmp -s "$work/kept" "$work/run/results.json" || fail 'the results are others'
exit 0

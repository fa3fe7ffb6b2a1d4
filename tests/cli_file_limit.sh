#!/bin/sh
# A file that may not grow (ulimit -f) is an error with a name and a number, not death by SIGXFSZ.
#
# Method: make-model below a limit far smaller than the weights; then without it.
. tests/help_cli.sh

limited() {
    (
        ulimit -f 64 && exec "$GLM1M" "$@"
    )
}

limited make-model needle "$work/model" >"$work/out" 2>"$work/err"
rc=$?
[ "$rc" -ne 0 ] && [ "$rc" -lt 126 ] || fail "a file that may not grow: exit $rc"
says err 'File too large'
expect 0 make-model needle "$work/other"

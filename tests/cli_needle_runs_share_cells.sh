#!/bin/sh
# Runs of needle with one command line and one --out share its cells: each is computed once, a run ends when all are there, and
# what a run had begun that was killed is done by another. Where there are no locks cells are computed twice, and none is lost.
#
# Method: three runs together, whose lines of cells are counted. A run that is stopped in the middle of its only cell, until
# another has done all others and waits for that one: it is stopped by Ctrl-C, a second one goes on after the first run was killed.
# Then two runs with every lock refused.
. tests/help_cli.sh
grid='--lengths 500,600,700 --depths 0,50,100 --threads 1'

n_computed() {
    cat "$@" | grep -c '^cell '
}

check() {
    [ "$(grep -c '"context_length"' "$1/results.json")" -eq "$2" ] || fail "not $2 cells"
}

# await FILE TEXT: until the file says it
await() {
    for _ in $(seq 600); do
        grep -qF -- "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    fail "$1 never says: $2"
}

# together DIR [PRELOADED]: three runs of one line
together() {
    programs=
    for i in 1 2 3; do
        # shellcheck disable=SC2086 # words
        LD_PRELOAD=${2-} "$GLM1M" needle $grid --out "$1" >"$work/out.$i" 2>"$work/err.$i" &
        programs="$programs $!"
    done
    for program in $programs; do wait "$program" || fail "a run fails: $(tail -n 1 "$work"/err.*)"; done
    for i in 1 2 3; do grep -q 'found 9 of 9;' "$work/out.$i" || fail "run $i has not all cells"; done
    check "$1" 9
}

expect 0 needle --lengths 500 --depths 0 # the embedded model is written
together "$work/all"
[ "$(n_computed "$work"/err.*)" -eq 9 ] || fail "cells were computed twice: $(cat "$work"/err.*)"

# cells_begun DIR: the cells that are claimed, by locks of bytes: a place a line
cells_begun() {
    awk -v file=":$(stat -c %i "$1/.cells" 2>/dev/null || echo none)" \
        '$2 == "OFDLCK" && substr($6, length($6) - length(file) + 1) == file { print $7 }' /proc/locks
}

# The place of the long cell, which is alone there.
"$GLM1M" needle --lengths 6000 --depths 50 --threads 1 --out "$work/alone" >"$work/out.1" 2>"$work/err.1" &
first=$!
until [ -n "${long_cell:=$(cells_begun "$work/alone")}" ] || ! kill -0 "$first" 2>/dev/null; do :; done
kill -KILL "$first" 2>/dev/null
wait "$first"
[ -n "$long_cell" ] || fail 'no cell was claimed'

# The cell of 6000 tokens is under way when its run is stopped: that one is claimed, and not the one before it, which is done.
"$GLM1M" needle --lengths 500,6000 --depths 50 --threads 1 --out "$work/killed" >"$work/out.1" 2>"$work/err.1" &
first=$!
until cells_begun "$work/killed" | grep -qxF "$long_cell" || ! kill -0 "$first" 2>/dev/null; do :; done
kill -STOP "$first"
[ ! -s "$work/out.1" ] || fail 'the cell of the run that is to be killed is too short'
[ "$(cells_begun "$work/killed")" = "$long_cell" ] || fail 'a cell that is done is claimed still'
"$GLM1M" needle --lengths 500,6000 --depths 0,50 --out "$work/killed" >"$work/out.2" 2>"$work/err.2" &
second=$!
await "$work/err.2" 'waiting for 1 cell that other runs have begun'
[ "$(n_computed "$work/err.2")" -eq 2 ] || fail 'the others are not done first'
check "$work/killed" 3
kill -INT "$second"
wait "$second"
[ $? -eq 130 ] || fail 'the wait is deaf to Ctrl-C'
grep -q 'continues after the 3 cells done' "$work/err.2" || fail 'it does not say what is done'

"$GLM1M" needle --lengths 500,6000 --depths 0,50 --out "$work/killed" >"$work/out.3" 2>"$work/err.3" &
third=$!
await "$work/err.3" 'waiting for 1 cell that other runs have begun'
kill -KILL "$first"
wait "$third" || fail 'a run fails that waited'
grep -q 'found 4 of 4;' "$work/out.3" || fail 'the cell of the run that was killed is not there'
[ "$(n_computed "$work/err.3")" -eq 1 ] || fail 'more is computed than the cell that was begun'
check "$work/killed" 4
wait "$first"

if "$GLM1M" version | grep -q sanitize; then exit 0; fi # they want to be the first library
cat >"$work/locks.c" <<'END'
#define _GNU_SOURCE
#include <errno.h>
#define fcntl hidden
#include <fcntl.h>
#undef fcntl
int flock(int fd, int operation) {
    (void)fd, (void)operation;
    errno = ENOLCK;
    return -1;
}
int fcntl64(int fd, int command, ...) {
    (void)fd;
    errno = ENOLCK;
    return command == F_OFD_SETLK ? -1 : 0;
}
int fcntl(int, int, ...) __attribute__((alias("fcntl64")));
END
cc -shared -fPIC -o "$work/locks.so" "$work/locks.c" || exit 77
together "$work/unlocked" "$work/locks.so"
! grep -q 'waiting for' "$work"/err.* || fail 'locks are known that were refused'
exit 0

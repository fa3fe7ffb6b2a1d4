#!/bin/sh
# Runs of needle with one --out, as the jobs of an array are, lose no cell to one another: also where the file system knows no
# locks, and where they write at the same moment. Other settings are refused by name; nothing of the others' goes.
#
# Method: four runs with a length each, started together, with flock as it is and refused, and both again where reading and
# renaming results.json take long, so that each run reads what another replaces, and replaces what it has not read. The
# table of all lengths then finds every cell done, and each once.
. tests/help_cli.sh
lengths='500 600 700 800'

check() {
    expect 0 needle --lengths "$(printf %s "$lengths" | tr ' ' ,)" --depths 0,100 --out "$1"
    says err 'continuing: 8 cells are done already'
    ! grep -q 'cell 1/' "$work/err" || fail 'a cell that was done is run again'
    says out 'found 8 of 8;'
    [ "$(grep -c '"context_length"' "$1/results.json")" -eq 8 ] || fail 'a cell is there twice'
    [ "$(wc -l <"$1/results.csv")" -eq 9 ] || fail 'the CSV has other cells'
    [ -z "$(find "$1" -name '*.tmp')" ] || fail 'a temporary file was left behind'
}

# together DIR [PRELOADED]
together() {
    programs=
    for length in $lengths; do
        LD_PRELOAD=${2-} "$GLM1M" needle --lengths "$length" --depths 0,100 --threads 1 --out "$1" \
            >"$work/out.$length" 2>"$work/err.$length" &
        programs="$programs $!"
    done
    for program in $programs; do wait "$program" || fail "a run fails: $(tail -n 1 "$work"/err.*)"; done
    grep -q 'found 2 of 2;' "$work/out.500" || fail 'a table counts the cells of others'
    check "$1"
}

expect 0 needle --lengths 500 --depths 0 # the embedded model is written
together "$work/locked"
grep -qF "another run writes into $work/locked" "$work"/err.* || fail 'nobody says that there are others'

expect 2 needle --lengths 500,900 --depths 0 --seed 5 --out "$work/locked"
says err 'run_seed "1234" and this run has "5"'
check "$work/locked"

# A cell that is there twice, as after jq -s add of what overlaps, is one.
{ sed '$d' "$work/locked/results.json" && printf ',\n' && sed 1d "$work/locked/results.json"; } >"$work/twice"
cp "$work/twice" "$work/locked/results.json"
expect 0 needle --lengths 500,600,700,800,900 --depths 0,100 --out "$work/locked"
says out 'found 10 of 10;'

if "$GLM1M" version | grep -q sanitize; then exit 0; fi # they want to be the first library
cat >"$work/flock.c" <<'END'
#include <errno.h>
int flock(int fd, int operation) {
    (void)fd, (void)operation;
    errno = ENOLCK;
    return -1;
}
END
cat >"$work/slow.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    if (strstr(to, "results.json")) usleep(20000 + 30000 * (getpid() % 4));
    return real(from, to);
}
ssize_t pread(int fd, void *bytes, size_t n, off_t offset) {
    ssize_t (*real)(int, void *, size_t, off_t) = (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
    char link[64];
    char path[PATH_MAX] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) > 0 && strstr(path, "results.json")) usleep(90000);
    return real(fd, bytes, n, offset);
}
ssize_t pread64(int, void *, size_t, off_t) __attribute__((alias("pread")));
END
cc -shared -fPIC -o "$work/flock.so" "$work/flock.c" && cc -shared -fPIC -o "$work/slow.so" "$work/slow.c" || exit 77
together "$work/unlocked" "$work/flock.so"
together "$work/slowly" "$work/slow.so"
together "$work/slow" "$work/flock.so $work/slow.so"
exit 0

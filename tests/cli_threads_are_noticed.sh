#!/bin/sh
# What decides which tests TSan leaves out: a thread that is started is noticed, in a child of a child, too; where nothing
# was watched, nothing is said.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
tests=$(cd "$(dirname "$GLM1M")/tests" && pwd)
[ -e "$tests/mark_threads.so" ] || { echo 'skipped: threads are watched in the release build' && exit 77; }

# noticed WANTED COMMAND...: the mark that a command leaves
noticed() {
    wanted=$1
    shift
    printf '?' >"$work/mark"
    LD_PRELOAD="$preload" MARK_THREADS="$work/mark" "$@" >"$work/out" 2>"$work/err"
    [ "$(cat "$work/mark")" = "$wanted" ] || fail "$(cat "$work/mark") in place of $wanted: $*"
}

preload=$tests/mark_threads.so
make_needle_model
threads() { printf '%s\n' "complete -m $work/model -c 128 -n 1 --threads $1 -p x"; }
noticed 0 env true
noticed 0 "$GLM1M" --version
# shellcheck disable=SC2046 # words of a command
noticed 1 "$GLM1M" $(threads 2)
noticed 1 sh -c "sh -c '$GLM1M $(threads 2)'; true"
preload=$work/none.so
noticed '?' env true
exit 0

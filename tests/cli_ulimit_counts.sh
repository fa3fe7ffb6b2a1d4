#!/bin/sh
# ulimit -v and -d are memory that there is not: the plan stays within them, a refusal names them, and what the plan says
# fits does run.
#
# Method: the embedded model with a context of 3 GiB of KV, most of it to be on disk, for an answer of one token. (A
# sanitizer has memory of its own, and terabytes of addresses: with it no such limit can be set.)
# shellcheck disable=SC3045 # dash has ulimit -v, as every other shell does
. tests/help_cli.sh
(ulimit -v 2000000 && "$GLM1M" version) >"$work/out" 2>&1 || { echo 'ulimit -v cannot be set here' && exit 77; }
make_needle_model
export GLM_THREADS=2 # each has a stack, which counts

# limited FLAG KIB RC ARGS...: expect, in a shell that has the limit
limited() {
    flag=$1 kib=$2 wanted=$3
    shift 3
    shown="$* (ulimit $flag $kib)"
    (ulimit "$flag" "$kib" && exec "$GLM1M" "$@") >"$work/out" 2>"$work/err"
    rc=$?
    [ "$rc" -eq "$wanted" ] || fail "exit $rc, wanted $wanted"
}

for flag in -v -d; do
    for kib in 300000 700000; do
        limited "$flag" "$kib" 0 plan -m "$work/model" --max-model-len 1M
        says out "of this process, by ulimit $flag"
        says out 'KV, disk'
        sed -n "s/^limit  *\([^ ]* [^ ]*\) .*/ulimit $flag $kib: \1 for the plan/p" "$work/out"
        for io in auto pread; do
            limited "$flag" "$kib" 0 complete -m "$work/model" -p x -n 1 -c 1M --kv-disk-dir "$work/kv" --kv-io "$io"
        done
    done
done
limited -v 210000 3 complete -m "$work/model" -p x -n 1 -c 1M
says err 'is available, because of ulimit -v'
limited -v 80000 3 complete -m "$work/model" -p x -n 1 -c 1M
says err 'is needed and 0 B is available, because of ulimit -v'
# What is allocated in front of the plan: a text, for one.
yes 'All work and no play makes Jack a dull boy.' | head -c 60000000 >"$work/long"
limited -v 80000 1 complete -m "$work/model" -f "$work/long" -n 1
says err "bytes) for $work/long; ulimit -v leaves this process "

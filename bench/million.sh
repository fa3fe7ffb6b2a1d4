#!/bin/sh
# A needle in a million tokens in a memory budget that holds a fraction of their KV, on the embedded model; durably:
# kill it when you like, the same command goes on where it was.
#
#   sh bench/million.sh --dir DIR [--tokens 1M] [--budget 200M] [--depths 50] [--span N]
#          [--result FILE]
#
#   N       what a kill may cost, in tokens; a multiple of 4096 (default: the plan's choice, about 5 minutes of work)
#   DIR     where the KV goes (a million tokens: 2.5 GB) and where the run is noted; the same one again
#           goes on. Remove it to begin anew.
#   FILE    a line is appended when it is done (default bench/results/million.tsv): when, commit, machine,
#           tokens, budget, depths, found, starts, seconds and CPU seconds of all starts together, peak MiB of
#           any, GB on disk
#
# Needs build/ (Release). A start that was killed counts until its last sign of life, one a second. Exit
# code of glm1m needle: 0 when it is done and every needle was found.
set -u
cd "$(dirname "$0")/.." || exit 1
. bench/options.sh
dir='' tokens=1M budget=200M depths=50 span='' result=bench/results/million.tsv
options "dir tokens budget depths span result" "$@"
[ -n "$dir" ] || usage
mkdir -p "$dir" || exit 1

# DIR/starts/TIME: seconds of the start at that time, its peak in KiB, its CPU seconds.
mkdir -p "$dir/starts" || exit 1
start=$(date +%s)
build/glm1m needle --lengths "$tokens" --depths "$depths" --book million --host-kv-space "$budget" \
    --kv-disk-dir "$dir" --out "$dir/run" --min-accuracy 1 ${span:+--span "$span"} &
program=$!
trap 'kill -INT $program' INT TERM
peak=0
note() {
    now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$program/status" 2>/dev/null)
    peak=${now:-$peak}
    cpu=$(awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/$program/stat" 2>/dev/null)
    [ -z "$cpu" ] || put "$cpu"
}
put() {
    printf '%s %s %s\n' $(($(date +%s) - start)) "$peak" "$1" >"$dir/starts/$start.new"
    mv "$dir/starts/$start.new" "$dir/starts/$start"
}
while kill -0 $program 2>/dev/null; do
    note
    sleep 1 &
    wait $!
done
wait $program
rc=$?
times >"$dir/starts/$start.times" # not in a pipe: a subshell has no children yet
put "$(awk 'NR == 2 { split($1 "m" $2, t, /[ms]+/); print 60 * (t[1] + t[3]) + t[2] + t[4] }' \
    "$dir/starts/$start.times")"
rm "$dir/starts/$start.times"
[ $rc -eq 0 ] || exit $rc

machine=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
[ -s "$result" ] || printf 'date\tcommit\tmachine\ttokens\tbudget\tdepths\tfound\tstarts\tseconds\tcpu_s\tpeak_mib\tdisk_gb\n' \
    >"$result"
found=$(grep -c '"correct": true' "$dir/run/results.json")
cat "$dir"/starts/* | awk -v when="$(date -u +%F)" -v commit="$(git rev-parse --short HEAD 2>/dev/null)" \
    -v machine="$machine, $(nproc) CPUs" -v what="$tokens\t$budget\t$depths\t$found" \
    -v kib="$(du -sk "$dir/vault" | cut -f1)" '
    { n++; seconds += $1; cpu += $3; if ($2 > peak) peak = $2 }
    END { printf "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.1f\t%.3f\n", when, commit, machine, what, n, seconds, cpu,
        peak / 1024, kib * 1024e-9 }' | tee -a "$result"

#!/bin/sh
# Another process that holds the lock of --out, and is stopped, is waited for once, which is said; Ctrl-C ends the wait. Of the
# embedded model's directory likewise. No cell is lost.
#
# Method: flock(1) holds the locks; one run is stopped by Ctrl-C while it waits, one waits and does all its cells, and one is
# stopped before it has written its model.
. tests/help_cli.sh
command -v flock >/dev/null || exit 77

# stops_soon PROGRAM FILE TEXT: it ends by Ctrl-C within seconds once the file says so
stops_soon() {
    for _ in $(seq 600); do
        grep -qF -- "$3" "$2" && break
        sleep 0.1
    done
    kill -INT "$1"
    begin=$(date +%s)
    wait "$1"
    [ $? -eq 130 ] || fail "no exit code of Ctrl-C: $(cat "$2")"
    [ $(($(date +%s) - begin)) -lt 7 ] || fail 'Ctrl-C is heard late'
}

expect 0 needle --lengths 500 --depths 0
out=$work/held
mkdir "$out" "$work/other" "$work/other/glm1m" "$work/other/glm1m/needle-model-v1"
flock -F "$out/.lock" sleep 120 &
holders=$!
flock -F "$work/other/glm1m/needle-model-v1/.lock" sleep 120 &
holders="$holders $!"
for lock in "$out/.lock" "$work/other/glm1m/needle-model-v1/.lock"; do
    while flock -n "$lock" true; do sleep 0.01; done
done

"$GLM1M" needle --lengths 600 --depths 0,50,100 --out "$out" >"$work/out.1" 2>"$work/err.1" &
patient=$!
"$GLM1M" needle --lengths 500 --depths 0,50,100 --out "$out" >"$work/out.2" 2>"$work/err.2" &
stops_soon $! "$work/err.2" "another process holds $out/.lock"
grep -q 'continues after the 1 cells done' "$work/err.2" || fail "its cell is not done: $(cat "$work/err.2")"
grep -q '"context_length": 500' "$out/results.json" || fail 'the cell of the run that was stopped is not saved'
XDG_CACHE_HOME=$work/other "$GLM1M" needle --lengths 500 --depths 0 >"$work/out.3" 2>"$work/err.3" &
stops_soon $! "$work/err.3" 'another process writes the demo model'

wait "$patient" || fail 'a run fails'
[ "$(grep -c 'another process holds' "$work/err.1")" -eq 1 ] || fail "it is not said once: $(cat "$work/err.1")"
grep -q 'found 3 of 3;' "$work/out.1" || fail 'not all are found'
[ "$(grep -c '"context_length"' "$out/results.json")" -eq 4 ] || fail 'a cell is lost'
# shellcheck disable=SC2086 # words
kill $holders
exit 0

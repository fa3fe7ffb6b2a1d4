#!/bin/sh
# A prefill that is stopped by Ctrl-C goes on from there when its command is given again; one that
# is killed keeps its finished spans, and what begins with them goes on from there.
#
# Method: stop a prefill that takes much longer than the test once a first span is on disk. Give the
# command again, and stop it when it says where it goes on; prefill the beginning of the same text.
. tests/help_cli.sh
make_needle_model
yes 'All work and no play makes Jack a dull boy.' | head -c 400000 >"$work/long"
head -c 4200 "$work/long" >"$work/beginning"

# start SIGNAL: prefill into a directory of that name
start() {
    shown="prefill, then SIG$1"
    GLM_LOG=info "$GLM1M" prefill -m "$work/model" "$work/long" --book jack --span 4096 \
        --threads 1 --kv-disk-dir "$work/$1" >"$work/out" 2>"$work/err" &
    program=$!
}

# stop_when SIGNAL COMMAND...: once the command succeeds; leaves $rc
stop_when() {
    signal=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ] || fail "five minutes without: $*"
        sleep 0.1
    done
    kill "-$signal" $program
    wait $program
    rc=$?
}
has_segment() { find "$work/$1" -name '*.kvs' | grep -q .; }

start INT
stop_when INT has_segment INT
[ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
says err 'during prefill, at token'
says err 'of 400002; the same command goes on from there'
says_nothing out
at=$(grep -o 'prefill, at token [0-9]*' "$work/err" | grep -o '[0-9]*$')
start INT
stop_when INT grep -q 'prefill: resumed begin=' "$work/err"
[ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
again=$(grep -o 'prefill, at token [0-9]*' "$work/err" | grep -o '[0-9]*$')
[ "$again" -ge "$at" ] || fail "stopped at token $at, and then at $again"

signals='INT KILL'
[ -z "${GLM_TEST_FAST:-}" ] || signals=INT
if [ "$signals" != INT ]; then
    start KILL
    stop_when KILL has_segment KILL
    [ "$rc" -eq 137 ] || fail "exit $rc, wanted 137"
fi

for signal in $signals; do
    expect 0 book ls --kv-disk-dir "$work/$signal"
    says err 'no books in'
    expect 0 prefill -m "$work/model" "$work/beginning" --book jack --json \
        --kv-disk-dir "$work/$signal"
    reused=$(grep -o '"reused_tokens": [0-9]*' "$work/out" | grep -o '[0-9]*$')
    [ "$reused" -ge 4096 ] || fail "$reused tokens reused after SIG$signal, wanted 4096 or more"
    says err "on disk already: $reused of 4202 tokens"
    expect 0 book verify --kv-disk-dir "$work/$signal"
done

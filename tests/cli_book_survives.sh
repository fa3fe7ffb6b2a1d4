#!/bin/sh
# A prefill that is stopped, by Ctrl-C or by kill -9, keeps its finished spans: what begins with
# them goes on from there.
#
# Method: stop a prefill that takes much longer than the test once a first span is on disk; prefill
# the beginning of the same text.
. tests/help_cli.sh
make_needle_model
yes 'All work and no play makes Jack a dull boy.' | head -c 400000 >"$work/long"
head -c 4200 "$work/long" >"$work/beginning"

# stop SIGNAL: leaves $rc
stop() {
    shown="prefill, then SIG$1"
    "$GLM1M" prefill -m "$work/model" "$work/long" --book jack --span 4096 --threads 1 \
        --kv-disk-dir "$work/$1" >"$work/out" 2>"$work/err" &
    program=$!
    tries=0
    until ls "$work/$1"/vault/*/*/*.kvs >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ] || fail 'no segment after five minutes'
        sleep 0.1
    done
    kill "-$1" $program
    wait $program
    rc=$?
}

signals='INT KILL'
[ -z "${GLM_TEST_FAST:-}" ] || signals=INT
stop INT
[ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
says err 'during prefill, at token'
says err 'of 400002; '
says err 'are kept, and the same command goes on from there'
says_nothing out
if [ "$signals" != INT ]; then
    stop KILL
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

#!/bin/sh
# Ctrl-C during prefill: exit 130 within seconds, saying how far it was; SIGTERM: 143.
#
# Method: start a prefill that takes much longer than the test, send the signal, measure.
. tests/help_cli.sh
make_needle_model
yes 'All work and no play makes Jack a dull boy.' | head -c 400000 >"$work/long"

# interrupt SIGNAL: leaves $rc and $took_s. timeout(1) sends one to its child, and then to the group that the child is
# in: nobody has asked twice for that. (A step takes long enough for the second one to come into it.)
chunk=4096
[ -z "${GLM_TEST_FAST:-}" ] || chunk=1024
interrupt() {
    shown="complete, then SIG$1"
    "$GLM1M" complete -m "$work/model" -f "$work/long" --threads 1 -b $chunk >"$work/out" 2>"$work/err" &
    sleep 3
    started=$(date +%s)
    kill "-$1" $!
    sleep 0.02
    kill "-$1" $! 2>/dev/null
    wait $!
    rc=$?
    took_s=$(($(date +%s) - started))
}

interrupt INT
[ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
[ "$took_s" -le 5 ] || fail "it took $took_s s to stop"
says err 'during prefill, at token'
says err 'of 400002; nothing of it is kept: with --kv-disk-dir DIR it would be'
says_nothing out

interrupt TERM
[ "$rc" -eq 143 ] || fail "exit $rc, wanted 143"
says err 'stopped by SIGTERM during prefill, at token'

# While it waits for its input, and nothing is under way: at once.
mkfifo "$work/pipe"
for command in 'tokenize -f' 'prefill --book b'; do
    shown="$command, from a pipe that nobody writes to"
    # shellcheck disable=SC2086 # words
    "$GLM1M" $command "$work/pipe" -m "$work/model" >"$work/out" 2>"$work/err" &
    sleep 0.5
    kill -INT $!
    sleep 0.5
    kill -KILL $! 2>/dev/null
    wait $!
    rc=$?
    [ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
    says err "stopped while $work/pipe was read"
done

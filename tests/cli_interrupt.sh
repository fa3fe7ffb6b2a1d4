#!/bin/sh
# Ctrl-C during prefill: exit 130 after the step that is running, saying how far it was; SIGTERM: 143.
#
# Method: a prefill that takes minutes, and the signal once its bar has begun. How soon it ended is counted in computing
# time, which a busy machine does not stretch.
. tests/help_cli.sh
make_needle_model
yes 'All work and no play makes Jack a dull boy.' | head -c 400000 >"$work/long"

# await COMMAND: until it is true, while the program runs
await() {
    until eval "$1"; do
        kill -0 "$program" 2>/dev/null || fail "it ended before: $1"
        sleep 0.02
    done
}

# CPU time of the program so far, in ticks of 10 ms
ticks() {
    awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$program/stat" 2>/dev/null
}

# ends: waits for the program, for less than its prefill would take; leaves $rc, and $n_ticks since $before
ends() {
    now=$before
    tries=0
    while kill -0 "$program" 2>/dev/null; do
        last=$(ticks) && now=$last
        tries=$((tries + 1))
        [ $tries -lt 6000 ] || { kill -KILL "$program" && fail 'it goes on'; }
        sleep 0.02
    done
    wait "$program"
    rc=$?
    n_ticks=$((now - before))
}

# interrupt SIGNAL: leaves $rc and $n_ticks. timeout(1) sends one to its child, and then to the group that the child is
# in: nobody has asked twice for that, if they come within a quarter of a second. Where this shell stood still between
# them it is done again. (A step takes long enough for the second one to come into it.)
interrupt() {
    shown="complete, then SIG$1"
    took_ms=1000
    while [ $took_ms -ge 200 ]; do
        : >"$work/err"
        "$GLM1M" complete -m "$work/model" -f "$work/long" --threads 1 -b 1024 >"$work/out" 2>"$work/err" &
        program=$!
        await 'grep -q "^prefill" "$work/err"'
        before=$(ticks)
        begin=$(date +%s%N)
        kill "-$1" "$program"
        kill "-$1" "$program" 2>/dev/null
        took_ms=$((($(date +%s%N) - begin) / 1000000))
        ends
    done
}

interrupt INT
[ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
printf '%s ticks of 10 ms to the end\n' "$n_ticks"
[ "$n_ticks" -le 300 ] || fail "it computes for $n_ticks ticks of 10 ms before it stops"
says err 'during prefill, at token'
says err 'of 400002; nothing of it is kept: with --kv-disk-dir DIR it would be'
says_nothing out

interrupt TERM
[ "$rc" -eq 143 ] || fail "exit $rc, wanted 143"
says err 'stopped by SIGTERM during prefill, at token'

# While a text, which is then refused as too long, is read, checked or tokenized: before that. Where the signal came too late it
# is done again.
yes 'All work and no play makes Jack a dull boy.' | head -c 40000000 >"$work/huge"
holds_text() {
    awk '/^VmRSS/ { exit $2 < 30000 }' "/proc/$program/status" 2>/dev/null
}
shown="prefill, then SIGINT while it takes the text"
rc=none
for _ in $(seq 20); do
    "$GLM1M" prefill "$work/huge" --book b -m "$work/model" >"$work/out" 2>"$work/err" &
    program=$!
    until holds_text || ! kill -0 "$program" 2>/dev/null; do :; done
    kill -INT "$program" 2>/dev/null
    wait "$program"
    rc=$?
    [ "$rc" -eq 3 ] || break
done
[ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
says err 'stopped while the text was '

# While it waits for its input, and nothing is under way: at once. The signal comes once the pipe is open and the program
# sleeps, which is in front of it: one that came before, while it catches signals already, would be missed by poll().
waits_for_pipe() {
    find "/proc/$program/fd" -lname "$work/pipe" 2>/dev/null | grep -q . &&
        grep -q '^State:.S' "/proc/$program/status"
}
mkfifo "$work/pipe"
for command in 'tokenize -f' 'prefill --book b'; do
    shown="$command, from a pipe that nobody writes to"
    # shellcheck disable=SC2086 # words
    "$GLM1M" $command "$work/pipe" -m "$work/model" >"$work/out" 2>"$work/err" &
    program=$!
    await waits_for_pipe
    before=$(ticks)
    kill -INT "$program"
    ends
    [ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
    says err "stopped while $work/pipe was read"
done

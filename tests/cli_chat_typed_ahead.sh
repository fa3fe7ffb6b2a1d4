#!/bin/sh
# chat at a terminal: what is typed during an answer is the next turns, and Ctrl-D among it ends the chat behind them; Ctrl-C
# stops the answer and drops it.
#
# Method: while no prompt waits the terminal's driver makes lines of what is typed, and shows them. A prefill takes long enough
# for that; where it did not, it is tried again with a longer one. The embedded model copies a repeated text for ever.
. tests/help_cli.sh
. tests/help_terminal.sh
make_needle_model

start() {
    on_terminal "exec '$GLM1M' chat -m '$work/model' $*"
    await '/help lists the commands'
    await '> '
    terminal=$(readlink "/proc/$(cat "$work/pid")/fd/0")
}

lines_are_the_drivers() {
    stty -F "$terminal" -a 2>/dev/null | grep -q ' icanon'
}

# ahead LINE KEYS SHOWN: LINE, and KEYS before the next prompt, which are seen once SHOWN is; false: they came too late
ahead() {
    press "$1\\r"
    for _ in $(seq 500); do
        ! lines_are_the_drivers || break
    done
    press "$2"
    await "$3"
    lines_are_the_drivers
}

# longer SHOWN: a text that is read, twice as long as the last one
longer() {
    n_bytes=$((2 * n_bytes))
    [ "$n_bytes" -lt 20000000 ] || fail "$1 is never typed ahead"
    yes 'All work and no play makes Jack a dull boy.' | head -c "$n_bytes" >"$work/long"
}

n_bytes=10000
while :; do
    longer 'Ctrl-D'
    start --threads 1 -n 1
    press "/read $work/long\\r"
    await "$n_bytes tokens"
    ! ahead 'what' 'two\n\0004three\n' 'three' || break
    kill -KILL "$(cat "$work/pid")"
    wait "$pid"
done
leaves 0
grep -q 'prompt 7 tokens in' "$work/out" || fail 'the line typed ahead is not the next turn'
[ "$(grep -c ' tokens in .*; context' "$work/out")" -eq 2 ] || fail 'what was typed behind Ctrl-D is asked'

n_bytes=1000000
while :; do
    longer 'a line'
    start -n 3000
    ! ahead "/read $work/long" '/reset\nabcabcabcabc\n/help\nnever\n' 'never' || break
    kill -KILL "$(cat "$work/pid")"
    wait "$pid"
done
await 'abcabcabcabcabcabcabcabcabc'
press '\0003'
await 'interrupted; context'
press '\0004'
leaves 0
[ "$(grep -c ' tokens in .*; context' "$work/out")" -eq 1 ] || fail 'a line typed ahead is asked'
[ "$(grep -c '/help' "$work/out")" -eq 2 ] || fail 'a line typed ahead is obeyed'

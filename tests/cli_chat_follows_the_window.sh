#!/bin/sh
# chat's line editor follows a window that is made narrower while a line is typed: the line is shown again, in the new width,
# and is whole.
#
# Method: a terminal of script(1), whose size stty changes; the rows that are drawn, split where the editor begins one.
. tests/help_cli.sh
. tests/help_terminal.sh
make_needle_model

on_terminal "stty cols 80; exec '$GLM1M' chat -m '$work/model' -n 1"
await '/help lists the commands'
press 'one two three four five'
await '> one two three four five'
terminal=$(readlink "/proc/$(cat "$work/pid")/fd/0")
if stty -F "$terminal" -a | grep -q -e '-icanon'; then
    stty -F "$terminal" cols 15
    for _ in $(seq 1000); do
        ! tr '\r' '\n' <"$work/out" | grep -q '^> one two three *$' || break
        sleep 0.02
    done
    tr '\r' '\n' <"$work/out" | grep -q '^> one two three *$' || fail 'the line is not drawn in the new width'
fi
press '\r'
await 'prompt 28 tokens in'
press '\0004'
leaves 0

#!/bin/sh
# Input that does not come is named while it is waited for: a pipe that nobody writes into, and a terminal on which nobody
# types. It is taken when it comes.
. tests/help_cli.sh
. tests/help_terminal.sh
make_needle_model
mkfifo "$work/pipe"

# await_line TEXT FILE
await_line() {
    for _ in $(seq 5000); do
        ! grep -qF -- "$1" "$2" || return 0
        sleep 0.05
    done
    fail "waited for: $1"
}

for command in "complete -n 1 -f $work/pipe" "ask -q x $work/pipe" "tokenize -f $work/pipe"; do
    shown=$command
    # shellcheck disable=SC2086 # words
    "$GLM1M" $command -m "$work/model" >"$work/out" 2>"$work/err" &
    pid=$!
    trap 'kill $pid 2>/dev/null; rm -rf "$work"' EXIT
    await_line "waiting for $work/pipe: nothing has been written into that pipe yet" "$work/err"
    printf 'some text\n' >"$work/pipe"
    wait "$pid"
    rc=$?
    [ "$rc" -eq 0 ] || fail "exit $rc, wanted 0"
    [ -s "$work/out" ] || fail 'nothing comes of what was written'
done

on_terminal "'$GLM1M' tokenize -m '$work/model' -f -"
await 'waiting for standard input: Ctrl-D'
press 'ab\n\004'
leaves 0

#!/bin/sh
# chat and Ctrl-Z: while it is stopped the terminal is as the shell had it, and after `fg` lines are edited as before; what
# was typed is shown again and is not lost.
#
# Method: a shell with job control on a terminal of script(1); it does not set the terminal up itself when a job stops.
# Then SIGSTOP, which cannot be seen coming, with other settings made meanwhile.
. tests/help_cli.sh
. tests/help_terminal.sh
make_needle_model

# settings TEXT: until `stty -a` of the terminal has it
settings() {
    for _ in $(seq 1000); do
        ! stty -F "$terminal" -a | grep -q -e "$1" || return 0
        sleep 0.02
    done
    fail "the terminal's settings are not: $1"
}

on_terminal "PS1='shell: ' exec sh -i"
await 'shell: '
press "'$GLM1M' chat -m '$work/model' -n 1\\r"
await '/help lists the commands'
terminal=$(readlink "/proc/$(cat "$work/pid")/fd/0")
press 'abc天d'
await '> abc天d'
is_edited=
! stty -F "$terminal" -a | grep -q -e '-icanon' || is_edited=yes

press '\0032'
await 'shell: ' 2
settings ' icanon'
[ -z "$is_edited" ] || await '[?2004l' # pastes are not marked for the shell
press 'fg\r'
if [ "$is_edited" ]; then
    await '[?2004h' 2
    settings '-icanon'
    await '> abc天d' 2
    press '\0033[D\0177\r'
else
    await '> ' 2
    press 'abcd\r' # Ctrl-Z drops what a terminal has in its own line
fi
await 'prompt 9 tokens in'

if [ "$is_edited" ]; then
    press 'resumed'
    await '> resumed'
    chat=$(pgrep -P "$(cat "$work/pid")")
    kill -STOP "$chat"
    await 'shell: ' 3
    stty -F "$terminal" icanon icrnl echo
    press 'fg\r'
    settings '-icanon'
    await '> resumed' 2
    press '\r'
    await 'prompt 11 tokens in'
fi

press '\0004'
await 'shell: ' "$([ "$is_edited" ] && echo 4 || echo 3)"
press 'exit 5\r'
leaves 5

#!/bin/sh
# A text pasted at chat's prompt is one question, whatever its lines hold: what is typed before and behind it belongs to it, the
# last ones come back with it, and the terminal marks pastes only while a line is awaited.
#
# Method: somebody at a terminal of script(1) sends what a terminal does, a text between two marks. How much the model is asked
# is told by the tokens of its prompt, one a byte and 4 around them; it copies a repeated text for ever, so its answers show how
# lines end.
. tests/help_cli.sh
. tests/help_terminal.sh
make_needle_model

begins='\0033[200~'
ends='\0033[201~'
turns=0

start() {
    on_terminal "stty cols 80 rows 24; exec '$GLM1M' chat -m '$work/model' -n 1 $*"
    await '/help lists the commands'
    if ! grep -qF '[?2004h' "$work/out"; then
        press '\0004'
        leaves 0
        echo 'no line editor is built in'
        exit 77
    fi
    turns=0
    ready
}

# The next line is awaited: what is pressed before is shown by the terminal's driver, too.
ready() {
    for _ in $(seq 2000); do
        ! tail -c 9 "$work/out" | grep -qF '?2004h> ' || return 0
        sleep 0.05
    done
    fail 'no line is awaited'
}

# asks N_BYTES: enter is pressed; so long is the question
asks() {
    press '\r'
    turns=$((turns + 1))
    for _ in $(seq 2000); do
        [ "$(grep -cF 'prompt ' "$work/out")" -lt "$turns" ] || break
        sleep 0.05
    done
    # The first prompt begins with two tokens, others with the one that the answer before has left.
    tokens=$(($1 + (turns == 1 ? 5 : 4)))
    grep -F 'prompt ' "$work/out" | sed -n "${turns}p" | grep -qF "prompt $tokens tokens in" ||
        fail "question $turns is not of $1 bytes"
    ready
}

# Lines, ended in any way; one after the mark that ends them, and one before; a command and a mark of blocks in them are text.
start
press "${begins}one\\ntwo\\rthree\\r\\nfour${ends}"
await 'three'
asks 18
press "a${begins}/quit\\rb${ends}c"
asks 9
press "${begins}\"\"\"x\"\"\"\\n// y\\n${ends}"
asks 13
# The last but one comes back, and is longer by a letter.
press '\0033[A\0033[Az'
asks 10
# A line alone goes without its end, so that a command may be pasted; nothing pasted is nothing.
press "${begins}/reset\\r${ends}${begins}${ends}\\r"
await 'the conversation is forgotten'
ready
# What is not text, and what would do something to the terminal or to us, were it typed.
press "${begins}a\\0000\\0033]0;title\\0007\\0033[2J\\0021\\0023\\0034\\0377b${ends}"
await '^[]0;title^G^[[2J^Q^S^\'
turns=0
press '\r'
await "prompt $((25 + 5)) tokens in"
ready
press '\0004'
leaves 0

# Long ones have a place in the line. Many bytes, and the mark that ends in pieces; edited around; brought back.
start -c 4k
seq 20 >"$work/twenty" # 51 bytes
press "${begins}$(cat "$work/twenty")\\r\\0033[20"
press "1~ z\\0001y \\0005!"
await '[paste 1: 20 lines] z'
asks 56
press '\0033[A\0177'
asks 55
press "ab ${begins}"
seq 150000 >&3 # 938895 bytes: the refusal counts them
press "${ends} cd\r"
await '[paste 2: 150000 lines] cd'
await "this turn needs $((938895 + 6 + 4))"
ready
press '\0004'
leaves 0

# Ctrl-C cuts a paste off, and what the terminal still sends of it is no line. A signal ends one, and the program; marks are off.
start
press "$begins"
seq 150000 >&3 # more than waits in pipes: its beginning is read when all is sent
press '\0003it\rand\rmore\r'
await 'Ctrl-C again'
ready
press 'abc'
asks 3
press "${begins}half\rof it"
kill -TERM "$(cat "$work/pid")"
leaves 143
[ "$(grep -o '?2004[hl]' "$work/out" | tail -n 1)" = '?2004l' ] || fail 'the terminal still marks pastes'

# A terminal that only prints has no editor: no marks.
on_terminal "export TERM=dumb; exec '$GLM1M' chat -m '$work/model' -n 1"
await '/help lists the commands'
press 'abc\r'
await 'prompt 8 tokens in'
! grep -qF '?2004' "$work/out" || fail 'a dumb terminal is told to mark pastes'
press '\0004'
leaves 0

#!/bin/sh
# What a model says commands no terminal: there, control characters but line feed and tab are shown as \xNN, and the carriage
# return of a line's end is left out. Elsewhere the bytes stay exact.
#
# Method: the embedded model copies a repeated text, in which are an escape sequence, a bell, a carriage return, a tab, a DEL and
# U+009B; script(1) gives the terminal.
. tests/help_cli.sh
make_needle_model
text=$(printf 'q\033[2Jw\007\r~\t\177\302\233z')
printf '%s%s%s%s%s' "$text" "$text" "$text" "$text" "$text" >"$work/prompt"
printf '%s' "$text" >"$work/text"
n=$(wc -c <"$work/text")

# on_terminal COMMAND...: glm1m on a terminal, which no control character reaches
on_terminal() {
    shown="$* (on a terminal)"
    TERM=dumb script -qefc "'$GLM1M' $*" /dev/null </dev/null >"$work/out" 2>&1
    rc=$?
    [ "$rc" -eq 0 ] || fail "exit $rc"
    ! LC_ALL=C grep -q "$(printf '[\033\007\177\233]\\|\r.')" "$work/out" || fail 'a control character on the terminal'
}

# shows COMMAND...: the text on a terminal
shows() {
    on_terminal "$* --quiet"
    says out "$(printf 'q\\x1b[2Jw\\x07\\x0d~\t\\x7f\\xc2\\x9bz')"
}

expect 0 complete -m "$work/model" -f "$work/prompt" -n "$n" --quiet
cmp -s "$work/out" "$work/text" || fail 'other bytes in a file'
shows complete -m "$work/model" -f "$work/prompt" -n "$n"

(cat "$work/prompt" && echo) >"$work/lines"
talk 0 "$(cat "$work/lines")" -n 32 --quiet
LC_ALL=C grep -q "$(printf '\033.2Jw\007\r~\t\177\302\233z')" "$work/out" || fail 'other bytes in a file'
shows chat -m "$work/model" -n 32 "<'$work/lines'"

echo 'Of this nothing is asked.' >"$work/source"
shows ask -m "$work/model" "$work/source" --kv-disk-dir "$work/kv" -n 64 -q "\"\$(cat '$work/prompt')\""
says out Sources:

(cat "$work/text" && printf 'ab\r\ncd') >"$work/whole"
expect 0 tokenize -m "$work/model" -f "$work/whole"
cp "$work/out" "$work/ids"
expect 0 detokenize -m "$work/model" -f "$work/ids"
cmp -s "$work/out" "$work/whole" || fail 'other bytes in a file'
shows detokenize -m "$work/model" -f "$work/ids"
says out zab
says out cd

# A cell's line of needle is on stderr.
printf 'The code is q\033[2Jw\007\177z.' >"$work/needle"
on_terminal needle -m "$work/model" --lengths 600 --depths 50 --no-progress --needle "\"\$(cat '$work/needle')\"" \
    --question "'What is the code?'" --answer z --answer-prefix "'The code is '"
says out 'found, answer "q\x1b[2Jw\x07\x7fz."'

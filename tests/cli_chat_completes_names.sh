#!/bin/sh
# Tab at chat's prompt completes a command, and behind /read a file's name, as far as all that begin so are alike: blanks in it
# and characters of several bytes, too, and ~ and directories on the way; hidden names where their dot is typed. Elsewhere, and
# where nothing begins so, nothing is put.
#
# Method: somebody at a terminal of script(1); what was read, or is no command, is named in the answer.
. tests/help_cli.sh
. tests/help_terminal.sh
make_needle_model
mkdir -p "$work/in/some where" "$work/home"
printf 'x' >"$work/in/some where/żółw.txt"
printf 'x' >"$work/in/some where/żółty.md"
printf 'x' >"$work/in/.hidden"
printf 'x' >"$work/in/a
b"
printf 'x' >"$work/home/mine"

on_terminal "stty cols 200 rows 24; cd '$work/in'; LC_ALL=C.UTF-8 exec '$GLM1M' chat -m '$work/model' -n 1"
await '/help lists the commands'
if ! grep -qF '[?2004h' "$work/out"; then
    press '\0004'
    leaves 0
    echo 'no line editor is built in'
    exit 77
fi

# The line editor reads a key at a time, so all of a line may be pressed at once.
press '/rea\tso\tżół\tw\t\r'
await 'some where/żółw.txt: 1 tokens, before the next question'
press '/read some where/żół\tty\t\r'
await 'some where/żółty.md: 1 tokens'
press '/read ~/m\t\r'
await "$HOME/mine: 1 tokens"
press '/read .h\t\r'
await '.hidden: 1 tokens'
press "/read $work/in/.h\\t\\r"
await "$work/in/.hidden: 1 tokens"
press '/read nothing\tmore\r'
await 'cannot read nothingmore'
press '/read a\t.\r' # a name of two lines is none that could be typed
await 'cannot read a.:'
press '/xy\tz\r'
await 'no command /xyz;'
press '/re\tx\r' # /read, /result, /reset
await 'no command /rex;'
press '/q\t\r'
leaves 0

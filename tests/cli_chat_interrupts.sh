#!/bin/sh
# chat at a terminal: Ctrl-C stops an answer and not the program, at the prompt it drops the line, and
# twice there it leaves with 130; lines can be edited, and the last ones come back.
#
# Method: script(1) gives the program a terminal; what is typed goes through a pipe, each piece when
# the one before has had its effect. The embedded model copies a repeated text for ever. What a line
# was after editing is told by the tokens of its prompt: one a byte.
. tests/help_cli.sh
. tests/help_terminal.sh
make_needle_model
n_k=400 n_huge=40
[ -z "${GLM_TEST_FAST:-}" ] || { n_k=150 && n_huge=15; }

# start ARGS...: chat on a terminal of its own
start() {
    on_terminal "exec '$GLM1M' chat -m '$work/model' $*"
    await '/help lists the commands'
}

start
press 'abcabcabcabc\r'
await 'abcabcabcabcabcabcabcabcabc'
press '\0003'
await 'interrupted; context'
press 'abcabcabcabc\r'
await 'abcabcabcabcabcabcabcabcabc' 2
press '\0003'
await 'interrupted; context' 2
# The token that the first Ctrl-C left is part of the second prompt.
await 'prompt 16 tokens in'

# At the prompt: a line dropped, a question, and the count of Ctrl-C begins anew.
press 'dropped\0003'
await 'Ctrl-C again, /quit or Ctrl-D leaves'
press '/reset\r'
await 'the conversation is forgotten'
press '\0003'
await 'Ctrl-C again, /quit or Ctrl-D leaves' 2
press '\0003'
leaves 130

# A question still being read is taken back, with its file: the next one is the first again.
yes 'All work and no play makes Jack a dull boy.' | head -c ${n_k}000 >"$work/long"
# Several spans of it are through when the signal comes.
start --threads 1 --span 4096 -n 1
press "/read $work/long\\r"
await "long: ${n_k}000 tokens"
press 'what\r'
for _ in $(seq 5000); do
    ! tr '\r' '\n' <"$work/out" | grep -Eq " ([5-9]|[0-9]{2})(\.[0-9])?k/${n_k}k tokens" || break
    sleep 0.05
done
press '\0003'
await 'the question and its files are taken back'
press 'abc\r'
await 'prompt 8 tokens in'

# So is a file that is being read, checked or tokenized, and no more than that: nobody is told how to leave. Where Ctrl-C came too
# early, or too late for that, which a later question shows, it is read anew; it would be refused.
yes 'All work and no play makes Jack a dull boy.' | head -c ${n_huge}000000 >"$work/huge"
for tries in $(seq 20); do
    lines=$(wc -l <"$work/out")
    press "/read $work/huge\\r"
    sleep 0.1
    press '\0003'
    sleep 0.3
    press 'abc\r'
    await 'prompt 7 tokens in' "$tries"
    ! grep -q 'stopped while the text was ' "$work/out" || break
done
await 'stopped while the text was '
! tail -n "+$lines" "$work/out" | grep -q 'Ctrl-C again' || fail 'Ctrl-C is answered twice'
press '/quit\r'
leaves 0

# Editing, where libedit is built in: left, and backspace takes a character of three bytes. Up
# brings the line back. Without it the terminal's own backspace is all there is.
start -n 1
press 'ab天c\0033[D\0177\r'
await 'prompt '
if grep -q 'prompt 8 tokens in' "$work/out"; then
    press '\0033[A\r'
    await 'prompt 7 tokens in'
fi
press '\0004'
leaves 0
[ "$(tail -c 1 "$work/out" | od -An -tx1 | tr -d ' ')" = 0a ] || fail 'the prompt of the shell would stand in the line of the last one'

# A signal to end ends, and the terminal is as it was.
start
press 'half a line'
await 'half a line'
kill -TERM "$(cat "$work/pid")"
leaves 143

# Without a terminal nobody would type the second one.
shown="chat of a pipe, then SIGINT"
rc=none
"$GLM1M" chat -m "$work/model" -n 1 <"$work/keys" >"$work/out" 2>"$work/err" &
pid=$!
exec 3>"$work/keys"
press 'abc\n'
for _ in $(seq 5000); do
    ! grep -q '^prompt ' "$work/err" || break
    sleep 0.05
done
kill -INT "$pid"
leaves 130
says err 'stopped by Ctrl-C'

# There, a question still being read ends with it too. What is computed of it is kept: the next run goes on from there.
# reads UNTIL SIGNAL RC: such a run, ended with a signal when the command UNTIL succeeds
printf '/read %s\nwhat\nabc\n' "$work/long" >"$work/lines"
reads() {
    shown="chat of a file, then SIG$2 while it reads"
    rc=none
    "$GLM1M" chat -m "$work/model" --threads 1 -n 1 --kv-disk-dir "$work/kv" -c 500k <"$work/lines" >"$work/out" 2>"$work/err" &
    pid=$!
    for _ in $(seq 5000); do
        ! eval "$1" || break
        sleep 0.05
    done
    kill "-$2" "$pid"
    wait "$pid"
    rc=$?
    [ "$rc" -eq "$3" ] || fail "exit $rc, wanted $3"
    says_nothing out
}
# Where some of it is computed, too: at token 0 there is nothing to go on from.
reads '[ -n "$(find "$work/kv" -size +0 -name "*.tmp*" 2>/dev/null)" ] && grep -q "k/${n_k}k tokens" "$work/err"' INT 130
says err 'stopped by Ctrl-C during prefill, at token '
says err "; the same question goes on from there"
at=$(sed -n 's/.* at token \([0-9]* of [0-9]*\);.*/\1/p' "$work/err")
reads 'grep -q "where it was stopped" "$work/err"' USR1 138
says err "goes on at token $at, where it was stopped"
says err 'stopped by SIGUSR1 during prefill'

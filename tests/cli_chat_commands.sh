#!/bin/sh
# chat: files are read into the conversation, it can be forgotten, and a full context is said with
# numbers; without a terminal the first refusal ends the program with its exit code.
#
# Method: lines from a file, to the embedded model, which copies what it has seen before.
. tests/help_cli.sh
make_needle_model
question='What is it? The special magic number for Paris is: '
printf 'One.\nThe special magic number for Paris is: 4831759.\n' >"$work/paris.txt"
printf 'The special magic number for Oslo is: 1112131.' >"$work/oslo.txt"

# Both files are in front of the next question, and of that one only. As GLM-4's demonstration
# writes them: "[File Name]\nNAME\n[File Content]\nTEXT", a blank line between, then the count.
talk 0 "/read $work/paris.txt
/read $work/oslo.txt
$question
And now? The special magic number for Oslo is: " --stop .
[ "$(sed -n 's/.*: //p' "$work/out")" = "4831759
1112131" ] || fail "the files are not known"
says err "paris.txt: 53 tokens, before the next question; 1048523 of 1048576 are free then"
says err "oslo.txt: 46 tokens, before the next question; 1048477 of 1048576 are free then"
n_files=$((12 + 10 + 15 + 53 + 2 + 12 + 9 + 15 + 46 + 3 + 18))
says err "prompt $((n_files + $(printf '%s' "$question" | wc -c) + 5)) tokens in"
says err "prompt $((47 + 4)) tokens in"

# A file that there is no room for behind the ones before it is refused when it is read.
talk 3 "/read $work/paris.txt
/read $work/oslo.txt
$question" -c 99
says err "oslo.txt has 46 tokens, and 46 are free: it is not read; /reset forgets the conversation"
says_nothing out

# What does not ask how long the context is by itself.
chat_flags='-c 64k'

# A path is what a shell would make of it, but that blanks in it need no quotes; what is there as typed is meant so.
mkdir -p "$HOME" && cp "$work/oslo.txt" "$HOME"
cp "$work/oslo.txt" "$work/the oslo's.txt"
cp "$work/paris.txt" "$work/\"two\""
# shellcheck disable=SC2088 # chat expands it
for path in '~/oslo.txt' "$work/oslo.txt " "$work/oslo.txt$(printf ' \t')" "'$work/oslo.txt'" "\"$work/oslo.txt\" " '"~/oslo.txt"'; do
    talk 0 "/read $path
abc" -n 1
    says err '/oslo.txt: 46 tokens'
    says err "prompt $((12 + 9 + 15 + 46 + 3 + 18 + 3 + 5)) tokens in"
done
for path in "the oslo's.txt" "the\\ oslo\\'s.txt" '"the oslo'"'"'s.txt" '; do
    (cd "$work" && talk 0 "/read $path")
    says err "the oslo's.txt: 46 tokens"
done
(cd "$work" && talk 0 '/read "two"')
says err '"two": 53 tokens'
talk 2 '/read  '
says err "/read needs a file's name"
talk 1 "/read '$work/nowhere"
says err "'$work/nowhere"
# A directory's name has no slash behind it.
mkdir "$work/of" && cp "$work/oslo.txt" "$work/of"
talk 0 "/read $work/of/
abc" -n 1
sed -n 's/^prompt \([0-9]*\) .*/\1/p' "$work/err" >"$work/with"
talk 0 "/read $work/of
abc" -n 1
[ "$(cat "$work/with")" = "$(sed -n 's/^prompt \([0-9]*\) .*/\1/p' "$work/err")" ] || fail 'a slash behind a directory matters'

# /reset forgets all of it: the next turn begins anew, with [gMASK]<sop>.
talk 0 "/read $work/paris.txt
$question
/read $work/oslo.txt
/reset
$question" -n 48
grep -q 4831759 "$work/out" || fail "the file is not known"
! tail -n 1 "$work/out" | grep -q 4831759 || fail "/reset did not forget"
says err 'the conversation is forgotten: 64000 tokens are free'
says err "prompt $(($(printf '%s' "$question" | wc -c) + 5)) tokens in"

# /quit leaves; //text is text.
talk 0 "/quit
abc"
says_nothing out
talk 0 "//abc" -n 1
says err 'prompt 9 tokens in'
talk 0 '/help'
says err '/reset'

# Several lines are one question between marks; what looks like a command in it is text.
talk 0 '"""ab
/quit

c"""
"""xy"""
""""""
"""
z
"""' -n 1
says err "prompt $((11 + 5)) tokens in" # ab, newline, /quit, newline, newline, c
says err 'prompt 6 tokens in' # the token left over, and xy
[ "$(grep -c '^prompt 6 tokens in' "$work/err")" -eq 2 ] || fail 'z and a newline are not two tokens'
talk 2 '"""ab
c'
says err 'has no end'
says_nothing out

talk 2 "/nosuch thing
abc"
says err 'no command /nosuch'
says_nothing out
talk 1 "/read $work/nosuch.txt
abc"
says err 'nosuch.txt'
says_nothing out
talk 2 '/read'
# Files as ask reads them: what is no text is named, a directory's files are one text.
mkdir "$work/several"
printf 'One.\n' >"$work/several/a.txt"
printf '\377\376T\0w\0o\0.\0' >"$work/several/b.txt"
printf 'PK\003\004' >"$work/several/c.zip"
talk 2 "/read $work/several/c.zip"
says err 'c.zip is a zip archive that nothing here reads'
talk 0 "/read $work/several
abc" -n 1
says err 'skipped c.zip: is a zip archive'
says err "several: $(printf '==> a.txt <==\nOne.\n\n==> b.txt <==\nTwo.' | wc -c) tokens, before the next question"

chat_flags=

# The context. 13 tokens leave room for none beyond the prompt of 13: one more is still chosen.
talk 0 'abcabcab' -c 13
says err 'context: 13 tokens, as asked for'
says err 'answer 1 tokens'
says err 'context full; context 13 of 13'
says err 'the context is full: all of its 13 tokens are used'
talk 0 'abcabcabcabc' -c 64
says err 'context full; context 64 of 64'
talk 3 'abcabcabc' -c 13
says err 'this turn needs 14 tokens, the context has 13; -c N makes room for more'
talk 3 'abcabcab
x' -c 20
[ "$(cat "$work/out")" = abcabca ] || fail "the answer does not end where the context does"
says err 'the context is full: 20 of its 20 tokens are used, this turn needs 5; /reset'
talk 0 'abcabcab
/reset
abcabcab' -c 20
[ "$(cat "$work/out")" = "abcabca
abcabca" ] || fail "/reset does not make room"

# Without -c it is the largest that fits.
talk 0 /quit --host-kv-space 1M
says err 'tokens, the most that fits here; the model'
talk 4 abc -m "$work"

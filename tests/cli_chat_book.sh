#!/bin/sh
# chat --book: the conversation begins with the book, read from disk, with one [gMASK]<sop>; it answers
# as if all had been given as one prompt, and /reset goes back to the book. Without a book a
# conversation that begins as an earlier one finds it on disk.
#
# Method: the embedded model copies what it has seen, byte by byte; every byte and control token is
# one token, so that all counts are known.
. tests/help_cli.sh
make_needle_model
question='What is it? The special magic number for Paris is: '
n_question=$(printf '%s' "$question" | wc -c)
kv="--kv-disk-dir $work/kv"
chat_flags=$kv

# A text and a fact: one stored segment of 4096 tokens, and a beginning of the second.
n=4400
[ -z "${GLM_TEST_FAST:-}" ] || n=600
awk 'BEGIN { for (i = 0; i < 95; i++) printf "Line %d of the book has nothing to say about %d.\n", i, i * i }' |
    head -c $n >"$work/text"
printf '\nThe special magic number for Paris is: 4831759.\n' >>"$work/text"
n_book=$(($(wc -c <"$work/text") + 2))

# answers N TEXT: the Nth answer ends so; the stop text is not shown
answers() {
    case $(sed -n "$1p" "$work/out") in *"$2") true ;; *) false ;; esac
}

both_answer() {
    answers 1 4831759 && answers 2 4831759
}

# What is not there is said before the model is loaded.
talk 2 "$question" --book war
says err 'there is no book war'
# shellcheck disable=SC2086
expect 0 prefill -m "$work/model" "$work/text" --book war --quiet $kv

# All of the book is found, but for the token whose logits begin the answer; a turn prefills its own
# tokens only: <|user|>, a newline, the text, <|assistant|>.
talk 0 "$question" --book war -n 48 --stop .
answers 1 4831759 || fail 'the book is not known'
says err "book war: $n_book tokens, $((n_book - 1)) of them reused, in "
says err "prompt $((n_question + 3)) tokens in"
cp "$work/out" "$work/answer"
says err "; context $((n_book + n_question + 3 + 48)) of 1048576"
# As one prompt of the same tokens.
{ cat "$work/text" && printf '<|user|>\n%s<|assistant|>' "$question"; } >"$work/whole"
expect 0 complete -m "$work/model" -f "$work/whole" --special-in-text -n 48 --stop .
# (White space before an answer is not shown.)
[ "$(cat "$work/out")" = " $(cat "$work/answer")" ] || fail 'one prompt gives another answer'
says err "prompt $((n_book + n_question + 3)) tokens in"

# What is said behind the book is forgotten by /reset, the book is not.
oslo='The special magic number for Oslo is: '
talk 0 "${oslo}1112131.
$oslo
/reset
$oslo
$question" --book war -n 48 --stop .
answers 2 1112131 || fail 'what was said behind the book is not known'
! answers 3 1112131 || fail '/reset did not forget'
answers 4 4831759 || fail '/reset forgot the book'
says err "the conversation is forgotten, and not the book war: $((1048576 - n_book)) tokens are free"
[ "$(grep -c '^prompt 41 tokens in' "$work/err")" -eq 1 ] || fail 'a turn behind /reset is not a first one'
talk 0 "/reset
$question" --book war -n 48 --stop .
answers 1 4831759 || fail 'a /reset before any turn forgot the book'

# --system stands behind the book: <|system|>, a newline, the text.
talk 0 "$oslo" --book war --system "${oslo}1112131." -n 48 --stop .
answers 1 1112131 || fail "the system's message is not known"
says err "book war: $((n_book + 2 + 46)) tokens, $n_book of them reused, in "

# Lossy KV has books of its own, and goes back to its beginning all the same.
# shellcheck disable=SC2086
expect 0 prefill -m "$work/model" "$work/text" --book small --quiet --kv-cache-dtype fp8 $kv
talk 0 "$question
/reset
$question" --book small --kv-cache-dtype fp8 -n 48 --stop .
both_answer || fail 'the fp8 book is not known, or not after /reset'
talk 2 "$question" --book small
says err 'small'

# No room behind the book.
talk 3 "$question" --book war -c "$n_book"
says err "book war, and what --system says, are $n_book tokens: the context of $n_book leaves no room"

# Without a book: the same text, said in a first turn, is on disk the next time.
printf '/read %s/text\n%s\n/reset\n/read %s/text\n%s\n' "$work" "$question" "$work" "$question" >"$work/turns"
turns=$(cat "$work/turns")
talk 0 "$turns" -n 48 --stop .
both_answer || fail 'the file is not known'
[ -n "${GLM_TEST_FAST:-}" ] || says err ', 4096 of them reused'
says err ' tokens, 0 of them reused (only the first 2 tokens are like something stored), in '
if [ -z "${GLM_TEST_FAST:-}" ]; then
    talk 0 "$turns" -n 48 --stop .
    [ "$(grep -c ', 4096 of them reused' "$work/err")" -eq 2 ] || fail 'another run does not find it'
    both_answer || fail 'what was found on disk answers differently'
fi

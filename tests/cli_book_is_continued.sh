#!/bin/sh
# prefill makes a book; complete --book answers as if its text had been typed, and prefills only the
# prompt. A prefix seen before is found without a name, too.
#
# Method: the embedded model's tokens are bytes, so that book and prompt, one behind the other, are
# the same ids as their texts joined: ids of the answers are compared.
. tests/help_cli.sh
make_needle_model
question='What is it? The special magic number for Paris is: '

# A text and a fact: one stored segment of 4096 tokens, and a beginning of the second.
n=4700
[ -z "${GLM_TEST_FAST:-}" ] || n=800
awk 'BEGIN { for (i = 0; i < 95; i++) printf "Line %d of the book has nothing to say about %d.\n", i, i * i }' |
    head -c $n >"$work/text"
printf '\nThe special magic number for Paris is: 4831759.\n' >>"$work/text"
n_text=$(($(wc -c <"$work/text") + 2))
kv="--kv-disk-dir $work/kv"

# shellcheck disable=SC2086 # words of a flag
prefills() {
    expect 0 prefill -m "$work/model" $kv "$@"
}
# shellcheck disable=SC2086
completes() {
    expect 0 complete -m "$work/model" --json $kv "$@"
}
ids() { grep -o '"ids": [^]]*' "$work/out"; }

prefills "$work/text" --book war
says err "text: $n_text tokens, 1 file"
says err "book war: $n_text tokens, 0 of them reused"
says err 'plan: span '
says_nothing out
prefills "$work/text" --book war --json --quiet
says_nothing err
says out "\"n_tokens\": $n_text, \"reused_tokens\": $((n_text - 1)), \"reuse_reason\": \"\""
says out "\"sha256\": \"$(sha256sum "$work/text" | cut -d ' ' -f 1)\""

# The same answer, with the book and without it.
{ cat "$work/text" && printf '%s' "$question"; } >"$work/whole"
expect 0 complete -m "$work/model" -f "$work/whole" --json
says out '"text": "4831759."'
says out '"reused_tokens": 0, "reuse_reason": "neither --book nor --kv-disk-dir is given"'
ids >"$work/expected"
n_whole=$((n_text + $(printf '%s' "$question" | wc -c)))
completes --book war -p "$question"
says out "\"n_prompt\": $n_whole, \"reused_tokens\": $n_text, \"reuse_reason\": \"\""
ids | cmp -s - "$work/expected" || fail 'the answer with the book is another'
says err "prompt $n_whole tokens, $n_text of them reused, in"
# [gMASK]<sop> is the book's: one that the prompt brings along is left out.
completes --book war -p "[gMASK]<sop>$question" --special-in-text
says out "\"n_prompt\": $n_whole, \"reused_tokens\": $n_text,"
completes --book war -p ''
says out "\"n_prompt\": $n_text, \"reused_tokens\": $((n_text - 1)),"

# Without a name: the text itself is found, as far as it is the same.
completes -f "$work/whole" -n 0
says out "\"n_prompt\": $n_whole, \"reused_tokens\": $n_text,"
says out '"reuse_reason": "'
head -c $((n - 200)) "$work/text" >"$work/other" && printf 'and so on' >>"$work/other"
completes -f "$work/other" -n 0
says out "\"reused_tokens\": $((n - 198)), \"reuse_reason\": \"what is stored differs after "
says err "$((n - 198)) of them reused (what is stored differs after "
expect 0 complete -m "$work/model" --kv-disk-dir "$work/empty" -p 'Something else.' -n 0 --json
says out '"reused_tokens": 0, "reuse_reason": "nothing'

# The same ids from another way in are the same book.
expect 0 tokenize -m "$work/model" -f "$work/text" --add-special
cp "$work/out" "$work/ids"
prefills --tokens-file "$work/ids" --book again --json
says out "\"n_tokens\": $n_text, \"reused_tokens\": $((n_text - 1)),"
prefills -f - --book again --json <"$work/text"
says out "\"reused_tokens\": $((n_text - 1)),"
prefills - --book again --json <"$work/text"
says out "\"reused_tokens\": $((n_text - 1)),"
mkdir "$work/dir"
cp "$work/text" "$work/dir/a.txt"
printf 'a\0b' >"$work/dir/b.bin"
prefills "$work/dir" --book again
says err "skipped b.bin: binary"
# shellcheck disable=SC2086
expect 0 book ls $kv --json
says out '"name": "again"'
says out "\"source\": \"$work/dir\""

# Books are kept in our own directory where no other is given.
head -c 300 "$work/text" >"$work/short"
expect 0 prefill -m "$work/model" "$work/short" --book short
expect 0 complete -m "$work/model" --book short -p 'x' -n 0 --json
says out '"n_prompt": 303, "reused_tokens": 302,'
expect 0 book verify
says out 'short: 1 segments'

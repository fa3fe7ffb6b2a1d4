#!/bin/sh
# What is wrong with a book is said before the model is loaded, with the way out; a damaged one is
# computed again where its ids are known.
#
# Method: names that are not there, names that cannot be, a book of another model; then a byte of a
# stored segment is turned.
. tests/help_cli.sh
make_needle_model
expect 0 make-model random "$work/other" --seed 3
n=6000
[ -z "${GLM_TEST_FAST:-}" ] || n=1200
head -c $n /dev/zero | tr '\0' 'a' >"$work/text"
export GLM_KV_DISK_DIR="$work/kv"

expect 2 complete -m "$work/model" --book war -p x
says err "there is no book war, and no other, in $work/kv, which is not there; glm1m prefill -m DIR SOURCE... --book war makes it"
expect 2 book show war --kv-disk-dir "$work/ranks/%r"
says err "in $work/ranks/%r, which is not there; "
mkdir -p "$work/ranks/1" # of ranks, any directory of theirs is there
expect 2 book show war --kv-disk-dir "$work/ranks/%r"
says err "there is no book war, and no other, in $work/ranks/%r; "
expect 2 prefill -m "$work/model" "$work/text"
says err 'prefill needs --book NAME'
expect 2 prefill -m "$work/model" --book war
says err 'prefill takes one of SOURCE..., -f FILE and --tokens-file FILE'
expect 2 prefill -m "$work/model" "$work/text" -f "$work/text" --book war
expect 2 prefill -m "$work/model" "$work/text" --book a/b
says err "a book's name"
expect 2 needle --book a/b
says err "a book's name"
expect 1 prefill -m "$work/model" "$work/nowhere" --book war
says err "$work/nowhere"
: >"$work/nothing"
expect 2 prefill -m "$work/model" "$work/nothing" --book war
says err "$work/nothing is empty: there is nothing to keep"
expect 3 prefill -m "$work/model" "$work/text" --book war -c 1k
says err "the text has $((n + 2)) tokens, $((n + 2 - 1000)) more than --max-model-len, 1000"
head -c 1048600 /dev/zero | tr '\0' 'a' >"$work/long"
expect 3 prefill -m "$work/model" "$work/long" --book war
says err "the text has 1048602 tokens, 26 more than the model's length, 1048576"

expect 0 prefill -m "$work/model" "$work/text" --book war
expect 2 complete -m "$work/model" --book wra -p x
says err 'did you mean war?'
expect 3 complete -m "$work/model" --book war -p x -c $((n + 2))
says err "the prompt has $((n + 3)) tokens"
expect 2 complete -m "$work/other" --book war -p x
says err 'book war was made with'

# The last byte but a few of the first segment's runs: keys and values, not the ids.
segment=$(ls "$work"/kv/vault/*/*/*.kvs -S | head -n 1)
at=$(($(wc -c <"$segment") / 2))
byte=$(od -An -tu1 -j "$at" -N 1 "$segment" | tr -d ' ')
# shellcheck disable=SC2059 # the byte, made
printf "\\$(printf '%o' $((byte ^ 16)))" | dd of="$segment" bs=1 seek="$at" conv=notrunc 2>/dev/null
expect 0 complete -m "$work/model" --book war -p x -n 4 --json
says out '"reused_tokens": 0,'
says out 'position 0: checksum'
grep -o '"ids": [^]]*' "$work/out" >"$work/after"
expect 0 complete -m "$work/model" --tokens-file - -n 4 --json --kv-disk-dir "$work/kv2" <<END
$("$GLM1M" tokenize -m "$work/model" -f "$work/text" --add-special) 120
END
grep -o '"ids": [^]]*' "$work/out" | cmp -s - "$work/after" || fail 'the damage shows in the answer'
expect 0 prefill -m "$work/model" "$work/text" --book war
expect 0 book verify war

# A name that is taken: who replaces it with what is of other sources is told so, and with what.
printf 'a text of other words\n' >"$work/words"
expect 0 prefill -m "$work/model" "$work/words" --book words
! grep -q 'have its name' "$work/err" || fail 'a name that is free is said to be taken'
printf 'more\n' >>"$work/words"
expect 0 prefill -m "$work/model" "$work/words" --book words
! grep -q 'have its name' "$work/err" || fail 'the same file, edited, is said to be another one'
expect 0 prefill -m "$work/model" "$work/text" --book words
says err "book words is of $work/words, 29 tokens: this text will have its name"
printf 'a text of other words\n' >"$work/words"
expect 0 ask -m "$work/model" "$work/words" --book words -q 'a text of' -n 1
says err "book words is of $work/text, $((n + 2)) tokens: this text will have its name"

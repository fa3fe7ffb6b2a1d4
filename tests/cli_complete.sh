#!/bin/sh
# complete: the prompt's specials are added once, stop texts never show, JSON says what happened.
#
# Method: the embedded model copies what it has seen before; so its answer is known.
. tests/help_cli.sh
make_needle_model
prompt='The special magic number for Paris is: 4831759.
What is it? The special magic number for Paris is: '

completes() {
    expect 0 complete -m "$work/model" "$@"
}
completes -p "$prompt"
[ "$(cat "$work/out")" = 4831759. ] || fail "the answer is not 4831759."
says err 'tokens/s'
# Where no step was measured there is no rate.
completes -p "$prompt" -n 1
grep -q ', answer 1 tokens in [0-9.]* s, length' "$work/err" || fail 'an answer of one token has a rate'
completes -p "$prompt" --quiet
says_nothing err

printf '%s' "$prompt" >"$work/prompt"
completes -f "$work/prompt" --quiet
[ "$(cat "$work/out")" = 4831759. ] || fail "-f and -p differ"
completes -f - --quiet <"$work/prompt"
[ "$(cat "$work/out")" = 4831759. ] || fail "standard input and -p differ"

{ printf '\357\273\277' && cat "$work/prompt"; } | iconv -f UTF-8 -t UTF-16LE >"$work/wide"
completes -f "$work/wide" --quiet
[ "$(cat "$work/out")" = 4831759. ] || fail 'UTF-16 with its mark is another prompt'
completes -f "$work/prompt" -n 1 --quiet
says_nothing err
# Bytes that are no text are taken as they are, and that is said, also of what complete would have decoded.
{ printf 'caf\351 ' && cat "$work/prompt"; } >"$work/latin"
completes -f "$work/latin" --quiet
[ "$(cat "$work/out")" = 4831759. ] || fail 'Latin-1 in front is another prompt'
says err 'latin is no text: not UTF-8 from byte 3 on; its bytes are taken as they are'
printf '\377\376a\000' >"$work/two"
expect 0 tokenize -m "$work/model" <"$work/two"
[ "$(cat "$work/out")" = '255 254 97 0' ] || fail 'other bytes are tokenized'
says err 'standard input is a text in UTF-16: its bytes are taken as they are'
gzip <"$work/prompt" >"$work/packed"
expect 2 complete -m "$work/model" -f "$work/packed"
says err 'is a compressed file that nothing here reads: unpack it first'
expect 2 needle -m "$work/model" --lengths 1k --depths 50 --haystack "$work/packed"
says err 'is a compressed file'

# [gMASK]<sop> is not doubled.
n_bytes=$(wc -c <"$work/prompt")
completes -p "$prompt" --json
says out "\"n_prompt\": $((n_bytes + 2)),"
says out '"text": "4831759."'
says out '"ids": [52, 56, 51, 49, 55, 53, 57, 46, 256]'
says out '"n_generated": 9'
says out '"finish_reason": "stop"'
completes -p "[gMASK]<sop>$prompt" --special-in-text --json
says out "\"n_prompt\": $((n_bytes + 2)),"
completes -p "[gMASK]<sop>$prompt" --json
says out "\"n_prompt\": $((n_bytes + 14)),"

completes -p "$prompt" -n 3 --json
says out '"text": "483"'
says out '"finish_reason": "length"'
completes -p "$prompt" -n 0 --json
says out '"kv_cache_dtype": "bf16"'
says out '"n_generated": 0'

# What KV was kept as is part of the result.
for type in f32 fp8 int8 int4; do
    completes -p "$prompt" -n 0 --json --kv-cache-dtype $type
    says out "\"kv_cache_dtype\": \"$type\""
    [ $type = f32 ] || says err "are kept as $type: not exact"
done

completes -p "$prompt" --stop 75 --json
says out '"text": "4831"'
says out '"finish_reason": "stop"'
completes -p "$prompt" --stop 1749 --stop 9x --quiet
[ "$(cat "$work/out")" = 4831759. ] || fail "half a stop text was held back for good"
expect 2 complete -m "$work/model" -p x --stop ''

# The same seed, the same draw; temperature 0 is greedy.
completes -p "$prompt" --temperature 0 --quiet
[ "$(cat "$work/out")" = 4831759. ] || fail "--temperature 0 is not greedy"
completes -p 'abc' --temperature 3 --seed 5 -n 20 --json
grep -o '"ids": [^]]*' "$work/out" >"$work/first"
completes -p 'abc' --temperature 3 --seed 5 -n 20 --json
grep -o '"ids": [^]]*' "$work/out" | cmp -s - "$work/first" || fail "the same seed, another draw"

# Control tokens in a text are one token each where that is asked for, else their letters.
completes -p '<|user|>x<|observation|>' --special-in-text -n 0 --json
says out '"n_prompt": 5,'
completes -p '<|user|>x<|observation|>' -n 0 --json
says out '"n_prompt": 26,'
completes -p '<|user|>x<|user' --special-in-text -n 0 --json
says out '"n_prompt": 10,'

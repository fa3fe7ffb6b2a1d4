#!/bin/sh
# needle --out: records with everything it takes to know what was run, a CSV, an SVG and a PNG.
. tests/help_cli.sh

expect 0 needle --lengths 1k --depths 0,100 --seed 7 --out "$work/run" --no-progress
for field in context_length depth_percent response answer correct seed round prompt_tokens mode \
    model_fingerprint template kv_cache_dtype haystack_sha256 answer_prefix_mode answer_prefix protocol; do
    [ "$(grep -c "\"$field\":" "$work/run/results.json")" -eq 2 ] || fail "no $field in results.json"
done
grep -q '"answer_prefix": "The special magic .* number is: "' "$work/run/results.json" ||
    fail 'the answer prefix is not recorded'
grep -q '"seed": 7' "$work/run/results.json" || fail 'the seed is not 7'
[ "$(wc -l <"$work/run/results.csv")" -eq 3 ] || fail 'results.csv has no header and two lines'
grep -q '</svg>' "$work/run/heatmap.svg" || fail 'heatmap.svg does not end'
[ "$(head -c 8 "$work/run/heatmap.png" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] ||
    fail 'heatmap.png is not a PNG'

expect 2 needle --lengths 100 --depths 50 --no-progress
says err 'too short'
expect 2 needle --lengths 2M --depths 50 --no-progress
says err "--lengths: 2097152 is more than the model's own limit, 1048576 tokens"
expect 0 needle --lengths 1000,1k --depths 50,50 --no-progress
says out 'found 1 of 1'
expect 2 needle --lengths 1k --depths 150 --no-progress
says err '"150" is none in per cent, from 0 to 100'
printf 'A short text.\n' >"$work/short.txt"
expect 2 needle --lengths 1k --haystack "$work/short.txt" --no-progress
says err 'the haystack has 14 tokens'

# Where the results cannot be: before anything is evaluated.
: >"$work/file"
expect 1 needle --lengths 1k --depths 0,100 --out "$work/file" --no-progress
says err "$work/file is in the way"
! grep -q 'cell 1/' "$work/err" || fail 'a cell was evaluated for results that have no place'

# A length that cannot be made, here for want of keys, is said before the others are evaluated.
expect 2 needle --protocol ruler:multikey_2 --lengths 1k,800k --depths 50 --out "$work/keys" --no-progress
says err 'ruler:multikey_2 at this length needs more than the 9680 keys there are'
! grep -q 'cell 1/' "$work/err" || fail 'a cell was evaluated before a length that cannot be'

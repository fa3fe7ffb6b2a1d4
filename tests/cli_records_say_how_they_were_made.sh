#!/bin/sh
# The JSON of every command that computes says how it was made, by the same names and with the same values: program, model,
# model_fingerprint, kv_cache_dtype, linear; where tokens are drawn, how. And ask does not put answers that were drawn beside
# greedy ones: records of before, which do not say it, are gone on with.
. tests/help_cli.sh
make_needle_model
printf 'The special magic number for Oslo is: 4831759.\n' >"$work/text"

# member NAME: its value in the last run's JSON
member() {
    tr '\n' ' ' <"$work/out" | sed -n "s/.*\"$1\": \({[^}]*}\|\[[^]]*\]\|\"[^\"]*\"\|[a-z0-9.]\{1,\}\)[,} ].*/\1/p"
}

expect 0 needle -m "$work/model" --lengths 500 --depths 0 --json --quiet --kv-cache-dtype int8
for name in program model model_fingerprint kv_cache_dtype linear; do
    member $name >"$work/wanted_$name"
    [ -s "$work/wanted_$name" ] || fail "needle has no $name"
done
[ "$(cat "$work/wanted_kv_cache_dtype")" = '"int8"' ] || fail 'the type is not the one asked for'

# made COMMAND...: its JSON has the same
made() {
    expect 0 "$@" -m "$work/model" --json --quiet --kv-cache-dtype int8
    for name in program model model_fingerprint kv_cache_dtype linear; do
        [ "$(member $name)" = "$(cat "$work/wanted_$name")" ] || fail "$1: its $name is another"
    done
}
expect 0 tokenize -m "$work/model" -f "$work/text"
mv "$work/out" "$work/ids"
made logits --tokens-file "$work/ids" --out "$work/logits.npy" --positions last
says out '"n_rows": 1,'
of_ids=$(member prompt_sha256)
made complete --tokens-file "$work/ids" -n 2
[ "$(member sampling)" = null ] || fail 'greedy is drawn'
# complete puts two ids in front, as prefill and perplexity do; logits takes them as they are.
of_text=$(member prompt_sha256)
[ "$of_text" != "$of_ids" ] || fail 'another prompt has the same hash'
made perplexity "$work/text"
[ "$(member prompt_sha256)" = "$of_text" ] || fail 'the same ids have another hash'
of_source=$(member source_sha256)
[ "$of_source" = "\"$(sha256sum <"$work/text" | cut -d ' ' -f 1)\"" ] || fail 'the hash is not of the text'
made perplexity --tokens-file "$work/ids"
[ "$(member source_sha256)" = null ] || fail 'ids have a text'
made prefill "$work/text" --book b --kv-disk-dir "$work/kv"
[ "$(member prompt_sha256)" = "$of_text" ] || fail 'the same ids have another hash'
made ask "$work/text" -q Oslo -n 2
[ "$(member source_sha256)" = "$of_source" ] || fail 'the same text has another hash'
[ "$(member model_sha256)" = "$(member model_fingerprint)" ] || fail 'the model has two hashes'

made complete -p a -n 2 --temperature 0.8 --seed 7 --stop Oslo
[ "$(member sampling)" = '{"temperature": 0.8, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "seed": 7}' ] ||
    fail 'how it was drawn is not told'
[ "$(member stop)" = '["Oslo"]' ] || fail 'what ends it is not told'

# One question more, drawn otherwise, into the same file.
asks() {
    wanted=$1
    shift
    expect "$wanted" ask -m "$work/model" "$work/text" --questions "$work/q" --out "$work/a" -n 2 --quiet "$@"
}
printf '{"id": 1, "question": "Oslo"}\n' >"$work/q"
asks 0 --temperature 0.8 --seed 7
printf '{"id": 2, "question": "Rome"}\n' >>"$work/q"
asks 2
says err 'its "sampling" differs'
asks 2 --temperature 0.8 --seed 8
asks 2 --temperature 0.8 --seed 7 --stop x
says err 'its "stop" differs'
sed -i 's/"program": "[^"]*"/"program": "another"/' "$work/a"
asks 0 --temperature 0.8 --seed 7
[ "$(wc -l <"$work/a")" -eq 2 ] || fail 'the second question is not answered'
sed -i 's/, "sampling": {[^}]*}, "stop": \[\], "program": "[^"]*", "model": "[^"]*", "model_fingerprint": "[^"]*"//' "$work/a"
! grep -q sampling "$work/a" || fail 'the records are no older ones'
printf '{"id": 3, "question": "Bonn"}\n' >>"$work/q"
asks 0
[ "$(wc -l <"$work/a")" -eq 3 ] || fail 'older records are not gone on with'

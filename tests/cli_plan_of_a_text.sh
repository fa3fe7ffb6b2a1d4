#!/bin/sh
# plan SOURCE...: how long a text is, as ask takes it, and what it will need, before anything of it is computed, and with no more of a
# model than its config and its tokenizer.
#
# Method: beside what ask says of the same sources; texts that fit, just fit, and do not.
. tests/help_cli.sh
make_byte_model
awk 'BEGIN { for (i = 0; i < 200; i++) printf "Line %d has nothing to say.\n", i }' >"$work/text"
mkdir "$work/src"
cp "$work/text" "$work/src/a.c"
printf 'caf\351\n' >"$work/src/latin.txt"

# tokens_of SOURCE...: as ask says it
tokens_of() {
    expect 0 ask -m "$work/model" "$@" -q x -n 1
    sed -n 's/^text: \([0-9]*\) tokens, .*/\1/p' "$work/err"
}
n=$(tokens_of "$work/text" "$work/src")
mkdir "$work/bare"
cp "$work"/model/tokenizer* "$work/model/config.json" "$work/bare"
for model in model bare; do
    expect 0 plan -m "$work/$model" "$work/text" "$work/src" --json
    says out "\"text_tokens\": $n"
    says out "\"max_len\": $((n + 1536))"
    says err "text: $n tokens, 2 files, "
    says err 'latin.txt: not UTF-8'
done
expect 0 plan -m "$work/model" - <"$work/text"
n=$(tokens_of "$work/text")
expect 0 plan -m "$work/model" "$work/text"
says out "tokens, $n of the text, the others of a question and its answer"
says out 'KV, kept'

# Where the model ends, an answer has what is left; a question must fit.
limited() {
    sed "s/\"max_position_embeddings\": [0-9]*/\"max_position_embeddings\": $1/" "$work/random/config.json" >"$work/bare/config.json"
}
limited $((n + 512))
expect 0 plan -m "$work/bare" "$work/text" --json
says out "\"max_len\": $((n + 512))"
limited $((n + 511))
expect 3 plan -m "$work/bare" "$work/text"
says err "the text has $n tokens, and a question needs 512: 1 more than the model's own limit, $((n + 511))"

expect 2 plan -m "$work/model" "$work/text" -c 64k
says err 'plan takes SOURCE... or --max-model-len, not both'
expect 1 plan -m "$work/model" "$work/none"
says err "cannot read $work/none"
rm "$work"/bare/tokenizer*
expect 4 plan -m "$work/bare" "$work/text"
says err 'neither tokenizer.model nor tokenizer.json'

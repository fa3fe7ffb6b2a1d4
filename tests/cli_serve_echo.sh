#!/bin/sh
# echo: a completion begins with its prompt; with logprobs each token of it has that of `glm1m perplexity`, computed from the
# first one on whatever is kept of the prompt, in pieces that others' turns cut; max_tokens may be 0 then.
#
# Method: a random model of bytes, pieces of 128 tokens, a prompt of 15 of them; one rank, and two.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
seq 1 500 | head -c 1900 >"$work/text"
expect 0 tokenize -m "$work/model" -f "$work/text" --add-special
cp "$work/out" "$work/ids"
for ranks in 1 2; do
    expect 0 perplexity -m "$work/model" "$work/text" --out "$work/scores.npy" --quiet -tp $ranks
    start_server -m "$work/model" -c 4k -b 128 --max-num-seqs 4 -tp $ranks
    client echo.py "$server_pid" "$work/scores.npy" "$work/ids" "$work/text"
    stop_server
done

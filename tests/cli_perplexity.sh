#!/bin/sh
# perplexity: each token's probability is that of the logits in front of it; the table and --json are their sums, by
# position; Ctrl-C prints what there is until then, and leaves no file.
#
# Method: a random model of bytes; --out beside `logits --positions all` of the same ids, in fp64, by Python's standard
# library; a text of two stretches of the table. The interrupted one is a longer text, stopped when its first span is over.
. tests/help_cli.sh
make_byte_model
export GLM_DEVICE=cpu # whatever GPU is here: none runs this shape, and that would be said
seq 1 300 | sed 's/^/number /' >"$work/text" # 3,492 bytes
n=$(($(wc -c <"$work/text")))

expect 0 perplexity -m "$work/random" "$work/text" --out "$work/scores.npy"
cp "$work/out" "$work/table"
says err "text: $((n + 2)) tokens, 1 file"
says out '1024 to 2047'
expect 0 tokenize -m "$work/random" -f "$work/text" --add-special
cp "$work/out" "$work/ids"
expect 0 logits -m "$work/random" --tokens-file "$work/ids" --out "$work/all.npy" --quiet
expect 0 perplexity -m "$work/random" --tokens-file "$work/ids" --json --quiet -b 100 --span 4096
says_nothing err
cp "$work/out" "$work/object"

python3 - "$work" <<'END' || fail 'other numbers'
import array, json, math, sys
work = sys.argv[1]
def rows(name, n_cols):
    data = open(f"{work}/{name}", "rb").read()
    a = array.array("f", data[128:])
    return [a[i:i + n_cols] for i in range(0, len(a), n_cols)]
ids = [int(x) for x in open(f"{work}/ids").read().split()]
logits, scores = rows("all.npy", 272), rows("scores.npy", 2)
assert len(scores) == len(ids) - 2 and len(logits) == len(ids)
nats, likeliest = [], 0
for (log_prob, rank), row, id in zip(scores, logits[1:], ids[2:]):
    most = max(row)
    own = row[id] - most - math.log(math.fsum(math.exp(x - most) for x in row))
    assert abs(log_prob - own) <= 2**-24 * abs(own) + 1e-12, (log_prob, own) # rounded to fp32 once
    assert rank == sum(x > row[id] for x in row), rank
    nats.append(-own)
    likeliest += rank == 0
said = json.load(open(f"{work}/object"))
mean = math.fsum(nats) / len(nats)
assert said["n_tokens"] == len(nats) and said["is_complete"] and said["kv_cache_dtype"] == "bf16"
assert abs(said["all"]["nats_per_token"] - mean) < 1e-5, mean
assert abs(said["all"]["perplexity"] / math.exp(mean) - 1) < 1e-5
assert abs(said["all"]["bits_per_byte"] - mean / math.log(2)) < 1e-5 # a token is a byte here
assert abs(said["all"]["likeliest"] - likeliest / len(nats)) < 1e-9
parts = [(p["from"], p["to"]) for p in said["by_position"]]
assert parts == [(0, 1024), (1024, 2048), (2048, len(nats))], parts
for p in said["by_position"]:
    part = nats[p["from"]:p["to"]]
    assert abs(p["nats_per_token"] - math.fsum(part) / len(part)) < 1e-5, p
table = open(f"{work}/table").read().splitlines()
assert len(table) == 5 and table[-1].split() == ["all", str(len(nats)), f"{mean:.4f}", f"{math.exp(mean):.5g}",
    f"{mean / math.log(2):.4f}", f"{100 * likeliest / len(nats):.1f}"], table[-1]
END

# Who multiplied is said, as it decides the last digits.
printf '65 66 67' >"$work/three"
expect 0 perplexity -m "$work/random" --tokens-file "$work/three" --json --linear own
says out '"linear": "own"'

# What is beyond --max-model-len, or no text, is refused before anything is loaded.
expect 3 perplexity -m "$work/random" "$work/text" -c 3000
says err "the text has $((n + 2)) tokens, $((n + 2 - 3000)) more than --max-model-len, 3000"
seq 1 20000 | head -c 70000 >"$work/beyond"
expect 3 perplexity -m "$work/random" "$work/beyond" -c 1M
says err "the text has 70002 tokens, $((70002 - 65536)) more than the model's length, 65536"
expect 0 tokenize -m "$work/random" -f "$work/beyond"
cp "$work/out" "$work/beyond.ids"
expect 3 logits -m "$work/random" --tokens-file "$work/beyond.ids" --out "$work/no.npy"
says err "beyond.ids has 70000 tokens, $((70000 - 65536)) more than the model's length, 65536"
: >"$work/empty"
expect 2 perplexity -m "$work/random" "$work/empty"
expect 2 perplexity -m "$work/random" "$work/text" -f "$work/text"
says err 'perplexity takes one of SOURCE..., -f FILE and --tokens-file FILE'
expect 1 perplexity -m "$work/random" "$work/text" --out "$work/$(printf %0250d 0)"
says err 'File name too long'
grep -q '^plan:' "$work/err" && fail 'a name that is too long is said after loading'

# Ctrl-C.
seq 1 3000000 | head -c 60000 >"$work/long"
GLM_LOG=info "$GLM1M" perplexity -m "$work/random" "$work/long" --span 4096 --threads 1 --out "$work/no.npy" \
    >"$work/out" 2>"$work/err" &
pid=$!
until grep -q '^prefill.* [1-9][0-9.]*k/' "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
kill -INT $pid
wait $pid
rc=$?
shown='perplexity, and Ctrl-C'
[ $rc -eq 130 ] || fail "exit $rc, wanted 130"
says err 'during prefill, at token'
says out 'all until then'
[ -z "$(find "$work" -name 'no.npy*')" ] || fail 'a file was left behind'

# Ctrl-C before the first score, which comes with the last layer of a span that is the whole text: the object says so.
rm "$work/err"
"$GLM1M" perplexity -m "$work/random" "$work/long" --span 61440 --threads 1 --json >"$work/out" 2>"$work/err" &
pid=$!
until grep -qs '^plan:' "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -INT $pid
wait $pid
rc=$?
shown='perplexity --json, and Ctrl-C at once'
[ $rc -eq 130 ] || fail "exit $rc, wanted 130"
says out '"n_tokens": 60000'
says out '"n_scored": 0'
says out '"is_complete": false'
says out '"all": null'
says out '"by_position": []'

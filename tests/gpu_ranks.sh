#!/bin/sh
# Ranks on GPUs with the real NCCL: one rank that sums by it, and 2 and 4 where the machine has as many GPUs. Needles are
# found, logits are compared with one GPU's, run after run, and with two GPUs a rank that is killed in prefill and in
# decode ends the run with exit code 6. What NCCL takes of a GPU's memory is printed, and what a sum takes between two. tests/gpu.sh
# runs it with build/glm1m, and bench_nccl beside it.
#
#   GLM1M=build/glm1m sh tests/gpu_ranks.sh [LENGTHS]
. tests/help_cli.sh
lengths=${1:-1K,8K}

run doctor
grep NCCL "$work/out"
make_needle_model
run plan -m "$work/model" --device cuda --nccl --json -c 4K
[ "$rc" -eq 0 ] || { cat "$work/err" && exit 77; }
n_gpus=$(nvidia-smi -L | wc -l)
cat >"$work/config.json" <<'END'
{"model_type": "glm", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 4,
 "head_dim": 128, "intermediate_size": 256, "vocab_size": 320, "max_position_embeddings": 4096, "rope_theta": 5000000,
 "partial_rotary_factor": 0.5, "rms_norm_eps": 1.5625e-07, "attention_bias": true, "tie_word_embeddings": false,
 "torch_dtype": "bfloat16", "hidden_act": "silu", "eos_token_id": [256], "pad_token_id": 256}
END
awk 'BEGIN { for (i = 0; i < 300; i++) print (i * 7919 + 13) % 256 }' >"$work/tokens"

# logits NAME ARGS...
logits() {
    name=$1
    shift
    expect 0 logits -m "$work/random" --device cuda --tokens-file "$work/tokens" --out "$work/$name.npy" "$@"
}
# distance A B: of two files of logits, relative
distance() {
    cmp -s "$work/$1.npy" "$work/$2.npy" && echo 'the same bits' && return
    command -v python3 >/dev/null || { echo 'other bits' && return; }
    python3 - "$work/$1.npy" "$work/$2.npy" <<'EOF'
import array, sys
def read(path):
    bytes = open(path, "rb").read()
    return array.array("f", bytes[10 + int.from_bytes(bytes[8:10], "little"):])
a, b = read(sys.argv[1]), read(sys.argv[2])
error = (sum((x - y) ** 2 for x, y in zip(a, b)) / sum(y * y for y in b)) ** 0.5
print("relative error %.2e" % error)
sys.exit(error > 2.5e-2)
EOF
}

expect 0 make-model random "$work/random" --config "$work/config.json" --seed 5
logits alone
bench=$(dirname "$GLM1M")/bench_nccl
for ranks in 1 2 4; do
    [ "$ranks" -le "$n_gpus" ] || { echo "-tp $ranks: not run, there are $n_gpus GPUs" && continue; }
    expect 0 needle --device cuda -tp "$ranks" --nccl --lengths "$lengths" --depths 0,50,100 --quiet --min-accuracy 1
    logits "$ranks" -tp "$ranks" --nccl
    logits again -tp "$ranks" --nccl
    cmp "$work/$ranks.npy" "$work/again.npy" || fail "-tp $ranks: other bits the second time"
    echo "-tp $ranks: needles found; logits beside one GPU without NCCL: $(distance "$ranks" alone)" || fail 'too far'
    [ ! -x "$bench" ] || "$bench" "$ranks" || fail 'bench_nccl'
done

# Rank 1 of two is killed: in prefill half a second after all have opened their GPU, in decode when the first words are there.
[ "$n_gpus" -ge 2 ] || exit 0
yes 'All work and no play makes Jack a dull boy.' | head -c 1000000 >"$work/long"
for when in prefill decode; do
    shown="a rank is killed in $when"
    n=1 bytes=1000000
    [ $when = prefill ] || n=100000 bytes=2000
    head -c $bytes "$work/long" >"$work/text"
    GLM_LOG=info "$GLM1M" complete -m "$work/model" --device cuda -b 128 -f "$work/text" -n $n -tp 2 >"$work/out" 2>"$work/err" &
    program=$!
    tries=0
    until { [ $when = prefill ] && grep -qs 'engine: open max_len' "$work/err" && sleep 0.5; } || { [ $when = decode ] && [ -s "$work/out" ]; }; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { kill -9 $program && fail 'half a minute without progress'; }
        sleep 0.1
    done
    child=$(cat "/proc/$program/task/$program/children")
    kill -9 "${child%% *}"
    begin=$(date +%s)
    wait $program
    rc=$?
    [ $rc -eq 6 ] || fail "exit $rc, wanted 6"
    [ $(($(date +%s) - begin)) -le 10 ] || fail 'more than 10 s'
    grep 'rank 1 on .* is gone' "$work/err" || fail 'another message'
done

#!/bin/sh
# --linear onednn: oneDNN multiplies bf16 weights, whatever the cut, within the bounds of the goldens and of the
# plan; who multiplies is reported, and is part of what a book is of. auto does not take it, where ours have AMX or there is none.
#
# Method: the commands; a book made by one and asked of the other; two ranks; and the programs that test our
# kernels for the same, with the argument onednn. A rank without a kernel of oneDNN's is one of a CPU that oneDNN
# is made to see.
. tests/help_cli.sh
programs=$(dirname "$GLM1M")/tests
make_needle_model
model=$work/model
printf '1 2 3 4 5 6 7 8 9' >"$work/tokens"

expect 2 plan -m "$model" --linear mkl
says err 'auto|own|onednn'
expect 0 doctor --linear own
says out 'linear layers        our kernels'

# doctor judges by the model's own numbers, of which config.json is enough.
mkdir "$work/f32" "$work/wide"
cp tests/golden/hf_f32_kv2/config.json "$work/f32"
expect 4 doctor -m "$work/f32"
says out 'linear layers        our kernels: the weights are not bf16'

expect 0 doctor
if grep -q 'oneDNN               none: ' "$work/out"; then
    grep 'oneDNN               none: ' "$work/out"
    expect 1 plan -m "$model" --linear onednn
    says err 'linear: oneDNN'
    echo 'skipped: no oneDNN that multiplies bf16 here'
    exit 77
fi
if grep -q "this build's compiler had no AMX" "$work/out"; then
    says out 'linear layers        oneDNN'
elif grep -q 'matrix unit          AMX$' "$work/out"; then
    says out 'linear layers        our kernels: tiles of AMX'
else
    says out 'linear layers        our kernels: no AMX here'
fi
expect 0 doctor -m "$model" --linear onednn --json
[ "$(grep -c '"linear layers": "oneDNN 2' "$work/out")" -eq 2 ] || fail 'machine and plan name the library'
expect 0 plan -m "$model" -c 1k --linear onednn
says out 'linear layers          oneDNN'
expect 0 plan -m "$model" -c 1k --linear own --json
says out '"linear": "own"'
sed 's/"intermediate_size": [0-9]*/"intermediate_size": 13696/' "$model/config.json" >"$work/wide/config.json"
expect 0 plan -m "$work/wide" -c 1k --linear onednn

# The flag and its twin are one; our kernels' logits are others.
logits() { expect 0 logits -m "$model" --tokens-file "$work/tokens" --threads 2 "$@"; }
logits --linear onednn --out "$work/flag.npy"
GLM_LINEAR=onednn logits --out "$work/twin.npy"
logits --linear own --out "$work/own.npy"
cmp -s "$work/flag.npy" "$work/twin.npy" || fail 'GLM_LINEAR is not --linear'
cmp -s "$work/flag.npy" "$work/own.npy" && fail 'oneDNN multiplies nothing'

expect 1 logits -m tests/golden/hf_f32_kv2 --tokens-file "$work/tokens" --out "$work/f32.npy" --linear onednn
says err '--linear onednn multiplies bf16 weights, and these are f32'

expect 0 perplexity -m "$model" --tokens-file "$work/tokens" --json --linear onednn
says out '"linear": "onednn"'

# A book is of one of them.
export GLM_KV_DISK_DIR="$work/kv"
expect 0 prefill -m "$model" --tokens-file "$work/tokens" --book nine --linear onednn
expect 0 complete -m "$model" --book nine -p x -n 1 --linear onednn
expect 2 complete -m "$model" --book nine -p x -n 1 --linear own
says err 'linear=onednn'

# Ranks: the same bits run after run; one that cannot is named.
logits --linear onednn -tp 2 --out "$work/two.npy"
logits --linear onednn -tp 2 --out "$work/again.npy"
cmp -s "$work/two.npy" "$work/again.npy" || fail 'two ranks give other bits when run again'
cat >"$work/rank" <<'END'
#!/bin/sh
[ "$RANK" = 0 ] || export ONEDNN_MAX_CPU_ISA=AVX2
exec "$@"
END
. tests/help_port.sh
hold_port
export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT="$port"
ask="logits -m $model --tokens-file $work/tokens --out $work/no.npy --linear onednn"
# shellcheck disable=SC2086 # words of options
RANK=1 sh "$work/rank" "$GLM1M" $ask >/dev/null 2>&1 &
other=$!
# shellcheck disable=SC2086
RANK=0 expect 1 $ask
wait $other
says err 'rank 1 on '
says err 'has no kernel for bf16 weights on this CPU'
unset WORLD_SIZE MASTER_ADDR MASTER_PORT GLM_KV_DISK_DIR

for program in any_cut_gives_the_same_logits logits_match_transformers plan_is_what_memory_takes; do
    shown="$program onednn"
    "$programs/test_runtime_$program" onednn >"$work/out" 2>&1
    rc=$?
    [ "$rc" -eq 0 ] || [ "$rc" -eq 77 ] || fail "$program"
done
exit 0

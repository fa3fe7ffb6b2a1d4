#!/bin/sh
# Ranks on GPUs, however they are started: RANK and WORLD_SIZE (torchrun) and mpirun give the bits of -tp; a rank takes
# the GPU of its place on its host, or the one it is shown; two that would share one are refused, with both numbers;
# where rank 0 dies in a sum the others end with exit code 6, and where rank 1 does rank 0, also if NCCL cannot be
# aborted, so that whatever waits for the GPU waits for ever; a conversation that waits for its user goes on waiting.
# bench_nccl measures what it says it does.
#
# Method: what plays a GPU and NCCL (tests/standin), a random model of 4 query heads over 2. A launcher that binds is
# one that shows each rank another bus.
build=$(dirname "$GLM1M")
[ -x "$build/tests/glm1m_standin" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
[ ! -e "$build/glm1m_mpi.so" ] || plugin=$build/glm1m_mpi.so
GLM1M=$build/tests/glm1m_standin
. tests/help_cli.sh
command -v python3 >/dev/null || { echo 'skipped: there is no python3 to find a free port' && exit 77; }
. tests/help_port.sh
hold_port

cat >"$work/config.json" <<'EOF'
{"model_type": "glm", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "head_dim": 128, "intermediate_size": 80, "vocab_size": 272, "max_position_embeddings": 4096, "rope_theta": 5000000,
 "partial_rotary_factor": 0.5, "rms_norm_eps": 1.5625e-07, "attention_bias": true, "tie_word_embeddings": false,
 "torch_dtype": "bfloat16", "hidden_act": "silu", "eos_token_id": [256], "pad_token_id": 256}
EOF
expect 0 make-model random "$work/model" --config "$work/config.json" --seed 5
awk 'BEGIN { for (i = 0; i < 40; i++) print (i * 7919 + 13) % 256 }' >"$work/tokens"

# logits NAME: the rest of a command line that writes them
logits() { echo "logits -m $work/model --device cuda --tokens-file $work/tokens --positions last --out $work/$1.npy"; }

# A conversation whose other rank dies between two lines. What it decoded with is a graph: NCCL waits for that to go.
mkfifo "$work/lines" || exit 1
shown='(chat -tp 2, rank 1 dies)'
STANDIN_CUDA_DEVICES=2 "$GLM1M" chat -m "$work/model" --device cuda -tp 2 -n 6 -c 512 \
    <"$work/lines" >"$work/chat.out" 2>"$work/chat.err" &
chat=$!
exec 7>"$work/lines"
echo hello >&7
for _ in $(seq 1000); do
    grep -q 'answer 6 tokens' "$work/chat.err" && break
    sleep 0.1
done
kill -9 "$(cut -d ' ' -f 1 "/proc/$chat/task/$chat/children")" || fail 'there is no other rank'
died=$(date +%s)

# It sleeps for 15 seconds, beside all that follows.
# shellcheck disable=SC2046 # words
STANDIN_CUDA_DEVICES=2 STANDIN_NCCL_FAIL_RANK=1 STANDIN_NCCL_KILL_AT=4 STANDIN_NCCL_ABORT_HANGS=1 \
    timeout -s KILL 200 "$GLM1M" $(logits hung) -tp 2 >"$work/hung.out" 2>"$work/hung.err" &
hung=$!

# shellcheck disable=SC2046 # words
STANDIN_CUDA_DEVICES=2 expect 0 $(logits tp) -tp 2

# What it prints of memory is nothing here: the stand-in's NCCL takes none.
shown='(bench_nccl)'
STANDIN_CUDA_DEVICES=2 "$build/tests/bench_nccl_standin" 2 16 >"$work/out" 2>"$work/err"
rc=$?
[ "$rc" -eq 0 ] || fail "exit $rc of bench_nccl"
for what in 'the communicator' 'a sum of decode' 'a sum of prefill' 'a gathering of logits' "a step's sums in a graph"; do
    says out "# memory, 2 ranks, behind $what: "
done
says out 'sum of decode in a graph,2,1,'
says out 'sum of prefill,2,16,'
STANDIN_CUDA_DEVICES=1 "$build/tests/bench_nccl_standin" 2 >"$work/out" 2>&1
[ $? -eq 77 ] || fail 'bench_nccl sums over GPUs that are not there'

# pair VARIABLES0 VARIABLES1 NAME: two ranks with environments of their own; leaves $rc and $other_rc, and their stderr
pair() {
    shown="(RANK=0 $1, RANK=1 $2) $(logits "$3")"
    # shellcheck disable=SC2046,SC2086 # words
    env RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT="$port" $2 "$GLM1M" $(logits "$3") 2>"$work/err1" &
    other=$!
    # shellcheck disable=SC2046,SC2086 # words
    env RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT="$port" $1 "$GLM1M" $(logits "$3") 2>"$work/err" >"$work/out"
    rc=$?
    begin=$(date +%s)
    wait $other
    other_rc=$?
    [ $(($(date +%s) - begin)) -le 100 ] || fail 'the other rank goes on'
}
same() { cmp "$work/tp.npy" "$work/$1.npy" || fail "other bits than with -tp"; }

pair STANDIN_CUDA_DEVICES=2 STANDIN_CUDA_DEVICES=2 all_shown
[ "$rc$other_rc" = 00 ] || fail "exit $rc and $other_rc"
same all_shown
pair STANDIN_CUDA_BUS=20 STANDIN_CUDA_BUS=21 bound
[ "$rc$other_rc" = 00 ] || fail "exit $rc and $other_rc"
same bound
pair STANDIN_CUDA_BUS=20 STANDIN_CUDA_BUS=20 same_one
[ "$rc" -eq 1 ] || fail "exit $rc"
says err '2 ranks on'
says err 'which has 1 GPU for them: ranks 0 and 1 would share 0000:14:00.0'

# Of 4 GiB, others have all but 96 MiB of the second one's.
pair STANDIN_CUDA_BUS=20 'STANDIN_CUDA_BUS=21 STANDIN_CUDA_CONTEXT=4194304000' full
[ "$rc" -eq 3 ] || fail "exit $rc, where another rank's GPU is full"
says err "of the GPU's memory"

pair 'STANDIN_CUDA_DEVICES=2 STANDIN_NCCL_KILL_AT=4' STANDIN_CUDA_DEVICES=2 killed 2>/dev/null
[ "$rc" -eq 137 ] || fail "rank 0 lives: exit $rc"
[ "$other_rc" -eq 6 ] || fail "rank 1: exit $other_rc"
grep -q 'rank 0 on .* is gone' "$work/err1" || fail 'rank 1 does not say who is gone'

if [ -n "${plugin:-}" ] && command -v mpirun >/dev/null && [ -z "${GLM_TEST_FAST:-}" ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
    export OMPI_MCA_hwloc_base_binding_policy=none STANDIN_CUDA_DEVICES=2
    mkdir "$work/bin" && cp "$GLM1M" "$work/bin/glm1m" && cp "$plugin" "$work/bin/" || exit 1
    shown="(mpirun -n 2) $(logits mpi)"
    # shellcheck disable=SC2046 # words
    mpirun -n 2 "$work/bin/glm1m" $(logits mpi) >"$work/out" 2>"$work/err" </dev/null
    rc=$?
    [ "$rc" -eq 0 ] || fail "exit $rc"
    same mpi
fi

shown='(-tp 2, rank 1 dies, NCCL hangs)'
wait $hung
rc=$?
cp "$work/hung.err" "$work/err"
cp "$work/hung.out" "$work/out"
[ "$rc" -eq 6 ] || fail "exit $rc"
says err 'error nccl: rank 0 on '
says err '(prefill): NCCL has not come back for 15 s'
says err 'because parallel: rank 1 on '
says err ' is gone: ended by signal 9'
[ ! -e "$work/hung.npy" ] || fail 'there are logits'

shown='(chat -tp 2, rank 1 dies)'
while [ $(($(date +%s) - died)) -lt 18 ]; do sleep 1; done
cp "$work/chat.err" "$work/err"
cp "$work/chat.out" "$work/out"
kill -0 $chat || fail 'it does not wait for its user'
echo again >&7
exec 7>&-
wait $chat
rc=$?
cp "$work/chat.err" "$work/err"
[ "$rc" -eq 6 ] || fail "exit $rc"
says err 'rank 1 on '
! grep -q 'NCCL has not come back' "$work/err" || fail 'it did not end by itself'

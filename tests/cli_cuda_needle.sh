#!/bin/sh
# The program with --device cuda, on what plays a GPU (tests/standin): the needle is found, by 1, 2 and 4 of them, the bill is the GPU's, and
# what the backend does not do, or the machine does not have, is refused with its reason.
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
make_needle_model

text="Paris: 4831759. Now: Paris:"
expect 0 complete -m "$work/model" --device cuda -c 128 -n 3 -p "The special magic number for $text"
says out ' 48'
for ranks in '1 --nccl' '2' '4'; do
    # shellcheck disable=SC2086 # words
    STANDIN_CUDA_DEVICES=4 expect 0 complete -m "$work/model" --device cuda -c 128 -n 3 -tp $ranks \
        -p "The special magic number for $text"
    says out ' 48'
done
expect 0 plan -m "$work/model" --device cuda --json -c 64K
says out '"device": "cuda"'
# A chunk's tiles of attention are whole rounds of 132 SMs, and of half as many where memory is short.
STANDIN_CUDA_CAPABILITY=90 expect 0 plan -m "$work/model" --device cuda --json -c 64K
says out '"chunk": 8448'
needed=$(sed -n 's/.*"gpu_total_bytes": \([0-9]*\).*/\1/p' "$work/out")
STANDIN_CUDA_CAPABILITY=90 STANDIN_CUDA_MEMORY=$((needed + 234881024 - 1)) expect 0 plan -m "$work/model" --device cuda --json -c 64K
says out '"chunk": 4224'
says out '"kv_overflows": false'
expect 0 plan -m "$work/model" --device auto --json -c 64K
says out '"device": "cuda"'
expect 0 plan -m "$work/model" --device cpu --json -c 64K
says out '"device": "cpu"'
expect 0 plan -m "$work/model" --device cuda -c 64K --device-kv-space 64M
says out 'KV, disk'
says out 'KV, host'
expect 0 plan -m "$work/model" --device cuda -c 64K --device-kv-space 64M --host-kv-space 10M --json
says out '"kv_rows_bytes": 8388608'
# Staging, the host's, grows with threads; the GPU's cap is not what pays for it.
expect 0 plan -m "$work/model" --device cuda -c 64K --device-kv-space 64M --threads 32 --json
says out '"kv_overflows": true'
expect 3 plan -m "$work/model" --device cuda -c 64K --device-kv-space 6M
says err "of the GPU's memory"
expect 0 complete -m "$work/model" --device cuda -c 128 -n 3 --device-weights-space 2500K -p "The special magic number for $text"
says out ' 48'
expect 0 plan -m "$work/model" --device cuda -c 4K --json --device-weights-space 2500K
says out '"n_streamed_layers": 3'
expect 3 plan -m "$work/model" --device cuda -c 4K --device-weights-space 1M
says err 'the weights take 2.15 MiB'
expect 0 plan -m "$work/model" --device cuda -c 2K -b 128 --json
needed=$(sed -n 's/.*"gpu_total_bytes": \([0-9]*\).*/\1/p' "$work/out")
STANDIN_CUDA_MEMORY=$((needed + 234881024 - 1)) expect 0 plan -m "$work/model" --device cuda -c 2K -b 128 --json
says out '"n_streamed_layers": 3'

refused() {
    says err 'device cuda'
    says err "$1"
}
expect 1 plan -m "$work/model" --device cuda -c 4K --kv-cache-dtype int8
refused 'int8 pages are not supported on a GPU'
expect 1 plan -m "$work/model" --device cuda -c 4K -tp 2
refused '2 ranks on this machine, which has 1 GPU'
STANDIN_CUDA_DEVICES=2 expect 0 plan -m "$work/model" --device auto --json -c 4K -tp 2
says out '"device": "cuda"'
STANDIN_CUDA_DEVICES=2 expect 0 plan -m "$work/model" --device auto --json -c 4K -tp 4
says out '"device": "cpu"'
says err '4 ranks on this machine, which has 2 GPUs'
expect 1 plan -m tests/golden/native_bf16_kv4 --device cuda -c 4K
refused 'ffn is 115; a multiple of 8'
expect 1 plan -m tests/golden/hf_f32_kv2 --device cuda -c 4K
refused 'f32 weights'
expect 0 plan -m tests/golden/hf_f32_kv2 --device auto --json -c 4K
says out '"device": "cpu"'
STANDIN_CUDA_DEVICES=0 expect 1 plan -m "$work/model" --device cuda -c 4K
refused 'no CUDA-capable device'
STANDIN_CUDA_CAPABILITY=75 expect 1 plan -m "$work/model" --device cuda -c 4K
refused 'compute capability 7.5'
STANDIN_CUDA_DEVICES=2 expect 0 doctor
says out 'usable: 2 GPUs, number 0: compute capability 8.0'
says out 'NCCL 2.28.9'
expect 0 doctor
says out 'usable: compute capability 8.0'

#!/bin/sh
# A GPU of 8.0 or later computes, whatever it is: what is launched there fits into its shared memory, is compiled for it,
# and gives 8.0's bits where it has 8.0's kernels. One before 8.0 is refused, with the reason, and doctor says so; without
# --device the CPU computes. The same where a driver says that there is none to use, with what to do about it.
#
# Method: what plays a GPU (tests/standin), of each capability that there is.
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
make_needle_model
text='The special magic number for Paris is: 4831759. Now: The special magic number for Paris is:'

for chip in 80 86 90 100 120; do
    export STANDIN_CUDA_CAPABILITY=$chip
    for kv in bf16 fp8; do
        expect 0 complete -m "$work/model" --device cuda --kv-cache-dtype $kv -n 4 --temperature 0 -p "$text"
        says out ' 483'
        [ $chip = 90 ] && continue
        [ -e "$work/80.$kv" ] || cp "$work/out" "$work/80.$kv"
        cmp "$work/out" "$work/80.$kv" || fail "$chip: another answer"
    done
    echo '84 104 101 32 110' >"$work/ids"
    expect 0 logits -m "$work/model" --device cuda --tokens-file "$work/ids" --out "$work/$chip.npy"
    [ $chip = 90 ] || cmp "$work/80.npy" "$work/$chip.npy" || fail "$chip: other bits"
done

expect 0 doctor # of the last one
says out "its driver compiles Ampere's kernels for it"

export STANDIN_CUDA_CAPABILITY=75
reason='GPU 0 is of compute capability 7.5; the kernels need 8.0 (Ampere) or later'
expect 1 complete -m "$work/model" --device cuda -n 1 -p "$text"
says err "$reason"
expect 0 complete -m "$work/model" -n 1 -p "$text"
expect 0 doctor
says out "$reason"

export STANDIN_CUDA_CAPABILITY=80
for absent in 2:nvidia-smi 35:'older than CUDA' 46:COMPUTE 100:CUDA_VISIBLE_DEVICES 802:nvidia-fabricmanager 803:'kernel module' \
    999:nvidia-uvm; do
    reason=${absent#*:}
    export STANDIN_CUDA_ABSENT=${absent%%:*}
    CUDA_VISIBLE_DEVICES='' expect 1 complete -m "$work/model" --device cuda -n 1 -p "$text"
    says err "$reason"
done
expect 0 complete -m "$work/model" -n 1 -p "$text"
expect 0 doctor
says out "$reason"

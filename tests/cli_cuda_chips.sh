#!/bin/sh
# A GPU of 8.0 or later computes, whatever it is: what is launched there fits into its shared memory, is compiled for it,
# and gives 8.0's bits where it has 8.0's kernels. One before 8.0 is refused, with the reason, and doctor says so; without
# --device the CPU computes, and says why. The same where a driver says that there is none to use, with what to do about it, or
# can neither run nor compile the kernels; where there is no driver, or no GPU, the CPU is what one expects.
#
# Method: what plays a GPU (tests/standin), of each capability that there is.
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
make_needle_model
text='The special magic number for Paris is: 4831759. Now: The special magic number for Paris is:'

chips='80 86 90 100 120'
[ -z "$GLM_TEST_FAST" ] || chips='80 90 120' # an 8.6 has 12.0's limits, a 10.0 9.0's and 8.0's kernels
for chip in $chips; do
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
join_rows
says out "its driver compiles Ampere's kernels for it"

export STANDIN_CUDA_CAPABILITY=75
reason='GPU 0 is of compute capability 7.5; the kernels need 8.0 (Ampere) or later'
expect 1 complete -m "$work/model" --device cuda -n 1 -p "$text"
says err "$reason"
# is_why_not REASON: of --device auto, and of doctor
is_why_not() {
    expect 0 complete -m "$work/model" -n 1 -p "$text"
    says err "$1"
    [ "$(grep -c 'the CPU computes: cuda: ' "$work/err")" -eq 1 ] || fail 'that the CPU computes is said once'
    expect 0 doctor
    join_rows
    says out "$1"
    says out 'none: cuda: '
}
is_why_not "$reason"

export STANDIN_CUDA_CAPABILITY=80
export STANDIN_CUDA_DRIVER=11040
for absent in 2:nvidia-smi 35:'older than CUDA' 46:COMPUTE 100:CUDA_VISIBLE_DEVICES 802:nvidia-fabricmanager 803:'kernel module' \
    999:nvidia-uvm; do
    reason=${absent#*:}
    export STANDIN_CUDA_ABSENT=${absent%%:*}
    CUDA_VISIBLE_DEVICES='' expect 1 complete -m "$work/model" --device cuda -n 1 -p "$text"
    says err "$reason"
done
is_why_not "$reason"
export STANDIN_CUDA_ABSENT=35
is_why_not 'the NVIDIA driver is for CUDA 11.4, older than CUDA 1'

# Nothing to wonder about.
for absent in 35:0 100:12040; do
    export STANDIN_CUDA_ABSENT=${absent%%:*} STANDIN_CUDA_DRIVER=${absent#*:}
    expect 0 complete -m "$work/model" -n 1 -p "$text"
    ! grep -q 'the CPU computes' "$work/err" || fail "error $absent: a GPU is missed where there is none"
done
export STANDIN_CUDA_ABSENT=35 STANDIN_CUDA_DRIVER=0
expect 0 doctor
join_rows
says out 'no NVIDIA driver is installed'
unset STANDIN_CUDA_ABSENT

# A driver that has kernels to load, and cannot: at once, and not in the first pass.
export STANDIN_CUDA_DRIVER=12040
for kernels in 209:'build it here' 221:NVIDIA_DRIVER_CAPABILITIES 222:'for CUDA 12.4: update it' 223:'unset it'; do
    export STANDIN_CUDA_NO_KERNELS=${kernels%%:*}
    expect 1 complete -m "$work/model" --device cuda -n 1 -p "$text"
    says err 'cuda: the kernels cannot be loaded: '
    is_why_not "${kernels#*:}"
done

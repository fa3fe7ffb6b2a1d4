#!/bin/sh
# The plan's bill of a GPU has what its driver takes, too: CUDA's context as it is found, or as it is taken to be where others
# have some of the memory; code; NCCL. What may be taken is with it, so that as much fits as before it was counted, to the byte.
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
make_needle_model
mib=1048576

number() {
    sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$work/out"
}
# plan MEMORY CONTEXT ARGS...: of a GPU of as many MiB, so many taken from the beginning
plan() {
    memory=$1 context=$2
    shift 2
    STANDIN_CUDA_DEVICES=2 STANDIN_CUDA_MEMORY=$((memory * mib)) STANDIN_CUDA_CONTEXT=$((context * mib)) \
        expect 0 plan -m "$work/model" --device cuda -c 2K -b 128 --json "$@"
    driver=$(number driver_bytes) total=$(number gpu_total_bytes) limit=$(number gpu_limit_bytes)
}
plan 4096 0
alone=$driver all_alone=$total
[ $((alone / mib / 32)) -eq 1 ] || fail "a driver takes $alone bytes beside its context, and not 32 to 64 MiB"
[ "$limit" -eq $(((4096 - 224) * mib)) ] || fail "at most $limit bytes of 4 GiB"
# takes MIB WHAT: more than a driver without a context
takes() {
    [ $((driver - alone)) -eq $(($1 * mib)) ] || fail "$2: $driver bytes of the driver's, $alone without"
    [ $((total - all_alone)) -eq $(($1 * mib)) ] || fail "$2: $total bytes in all, $all_alone without"
}

plan 4096 527
takes 527 'the context as it is'
[ "$limit" -eq $(((4096 - 224) * mib)) ] || fail "at most $limit bytes of 4 GiB, with a context"
plan 4096 2000
takes 528 'a context beside other processes'
[ "$limit" -eq $(((4096 - 2000 + 528 - 224) * mib)) ] || fail "at most $limit bytes beside other processes"

# What is planned fits into what is there, and in fewer bytes it is not planned.
plan 4096 527
least=$((total + 224 * mib))
fits() { # BYTES
    STANDIN_CUDA_MEMORY=$1 STANDIN_CUDA_CONTEXT=$((527 * mib)) expect 0 plan -m "$work/model" --device cuda -c 2K -b 128 --json
}
fits $least
says out '"n_streamed_layers": 0'
fits $((least - 1))
says out '"n_streamed_layers": 3'
STANDIN_CUDA_MEMORY=$least STANDIN_CUDA_CONTEXT=$((527 * mib)) \
    expect 0 complete -m "$work/model" --device cuda -c 128 -n 1 -p 'The special magic number'

# What is refused for want of it names it, whatever cap the KV has besides.
for cap in '' '--device-kv-space 64M'; do
    # shellcheck disable=SC2086 # words
    STANDIN_CUDA_MEMORY=$((787 * mib)) STANDIN_CUDA_CONTEXT=$((527 * mib)) expect 3 plan -m "$work/model" --device cuda -c 64K $cap
    says err 'and 563.0 MiB may be taken (free, with what CUDA has taken, but for a reserve)'
done

# Where all but some of the KV fits, that goes to the host, and no weights do.
plan 4096 527 -c 64K
plan $((total / mib + 224 - 8)) 527 -c 64K --kv-disk-space 1G
says out '"kv_overflows": true'
says out '"n_streamed_layers": 0'

plan 4096 0 --nccl
[ "$driver" -ge $((alone + 640 * mib)) ] || fail "$driver bytes with NCCL for one rank"
plan 4096 0 -tp 2
[ "$driver" -ge $((alone + 1082 * mib)) ] || fail "$driver bytes with NCCL for two"
expect 0 plan -m "$work/model" --device cuda -c 2K
says out 'driver, GPU'

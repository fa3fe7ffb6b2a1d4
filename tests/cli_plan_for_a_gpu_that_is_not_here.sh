#!/bin/sh
# plan --gpu NAME says of a GPU that is not here what it says of one that is: the same bill to the byte, chunk, streaming,
# refusals and times; of as many as -tp says; and that none was asked. Nothing here is asked for it.
standin=$(dirname "$GLM1M")/tests/glm1m_standin
[ ! -x "$standin" ] || GLM1M=$standin
. tests/help_cli.sh
. tests/help_cli_9b.sh
# What plays a GPU has none.
export STANDIN_CUDA_ABSENT=100 GLM_HOST_MEMORY=128G GLM_KV_DISK_SPACE=200G GLM_NUM_SPECULATIVE_TOKENS=0 GLM_THREADS=16

expect 2 plan -m "$work/9b" --gpu h1000
names=$(sed -n 's/.*is none of //p' "$work/err" | tr '|' ' ')
[ "$(echo "$names" | wc -w)" -ge 9 ] || fail 'an unknown name does not name those that are known'
expect 2 plan -m "$work/9b" --gpu h100 --device cpu
says err '--device cpu for none'
expect 2 complete -m "$work/9b" --gpu h100 -p x
says err 'complete does not take --gpu; it belongs to: plan'

run plan -m "$work/9b" --gpu h100
if [ "$rc" -eq 1 ]; then
    says err '--gpu h100: no GPU kernels in this build'
    echo 'no headers of the CUDA toolkit: no GPU to plan for'
    exit 77
fi

# What was said on an H200 itself (bench/results/2026-11-27_h200_9b.txt, _c_9b.txt: 128K, 200K).
near() { # KEY SAID
    awk -v is="$(number "$1")" -v said="$2" 'BEGIN { exit !(is > said * 0.99 && is < said * 1.01) }' ||
        fail "$1: $(number "$1"), and an H200 said $2"
}
expect 0 plan -m "$work/9b" --gpu H200 -c 128K --json
near prefill_s 11.4450829
near decode_tps 130.236915
expect 0 plan -m "$work/9b" --gpu h200 -c 200K --json
near prefill_s 25.1511304
near decode_tps 107.43904
near gpu_total_bytes 38665442590
says out '"planned_gpu": "h200"'
says out '"speed": "by its data sheet"'

# An H100 that is here, as far as the stand-in has it, but for what its link is.
if [ "$GLM1M" = "$standin" ]; then
    for case in '-c 128K' '-c 1M' '-c 1M --kv-cache-dtype fp8' '-c 200K --device-weights-space 8G' '-c 300K -tp 2' ''; do
        # shellcheck disable=SC2086 # words
        expect 0 plan -m "$work/9b" --gpu h100 $case --json
        total=$(($(number gpu_limit_bytes) + 224 * 1048576))
        [ -n "$case" ] || planned_length=$(number max_len)
        cp "$work/out" "$work/planned"
        # shellcheck disable=SC2086
        STANDIN_CUDA_ABSENT='' STANDIN_CUDA_DEVICES=2 STANDIN_CUDA_CAPABILITY=90 STANDIN_CUDA_MEMORY=$total STANDIN_CUDA_CONTEXT=553648128 \
            expect 0 plan -m "$work/9b" --device cuda $case --json
        linked='decode_tps\|prefill_s'
        [ "$case" = '-c 128K' ] && linked='nothing'
        for file in out planned; do
            grep -v "planned_gpu\|\"speed\"\|kv_disk_limit_bytes\|$linked" "$work/$file" >"$work/$file.same"
        done
        cmp -s "$work/out.same" "$work/planned.same" ||
            { diff "$work/out.same" "$work/planned.same" ; fail "$case: planned otherwise than for what is here"; }
    done
    [ "$planned_length" -gt 700000 ] || fail "no more than $planned_length tokens fit an H100"
fi

# Each is planned for; a million tokens fit where the host has the memory, and do not where nothing has.
for gpu in $names; do
    expect 0 plan -m "$work/9b" --gpu "$gpu" -c 1M
    says out "$gpu  by its data sheet, not asked of one"
    ! grep -q 'measured' "$work/out" || fail "$gpu: something was measured"
    expect 3 plan -m "$work/9b" --gpu "$gpu" -c 1M --host-memory 20M
done
expect 3 plan -m "$work/9b" --gpu a100-40 -c 1M --host-memory 8G --kv-disk-space 1G
says err 'takes up to'
expect 0 plan -m "$work/9b" --gpu a100-80 -tp 8 -c 1M
join_rows
says out '8 x a100-80'
says out 'all of it, but for a reserve'
says out 'limit 16.00 GiB as --host-memory says; shared by the ranks'

#!/bin/sh
# Without --device the CPU computes what a GPU does not run, and says why: a wait of minutes would be one of hours. Nothing is
# said where the GPU computes, nor where the CPU was asked for.
#
# Method: KV that no kernel reads, and weights that are not bf16, on what plays a GPU (tests/standin).
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
make_needle_model
sed 's/"bfloat16"/"float32"/' "$work/model/config.json" >"$work/config.json"
expect 0 make-model random "$work/f32" --config "$work/config.json"

# told REASON ARGS...
told() {
    reason=$1
    shift
    expect 0 "$@"
    says err "the CPU computes: --device cuda: $reason"
    [ "$(grep -c 'the CPU computes' "$work/err")" -eq 1 ] || fail 'it is said more than once'
    expect 0 "$@" --device cpu
    says_nothing err
}
told 'attention: int8 pages' plan -m "$work/model" -c 1k --kv-cache-dtype int8
told 'attention: int4 pages' complete -m "$work/model" -p x -n 1 --quiet --kv-cache-dtype int4
told 'f32 weights' plan -m "$work/f32" -c 1k

expect 0 plan -m "$work/model" -c 1k
says out cuda
says_nothing err

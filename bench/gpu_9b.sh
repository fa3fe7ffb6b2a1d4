#!/bin/sh
# The 9B's shape, random weights, end to end on a GPU: tokens a second of prefill and decode, device memory beside what
# plan says, the share of samples in which the GPU was computing.
#
#   GLM1M=build/glm1m sh bench/gpu_9b.sh --dir DIR [--make-only | --plan-only] [--answer N] [CASE...]
#
#   DIR    where the checkpoints are made, or were by an earlier call: 19 GB, and 4.3 GB that hold 4 layers. Files in
#          memory (tmpfs) keep the disk out of it.
#   N      tokens that are decoded behind the prompt, at most 64 (64)
#   CASE   LAYERS:TOKENS[:FLAGS], FLAGS with commas for spaces; default
#            40:128K  4:1M  40:200K  40:200K:--device-kv-space,4G  4:1M:--device-kv-space,1800M
#          The last layer attends for the prompt's last token alone: a million tokens through 4 layers take what 3 of the
#          9B's 39 others do. 1800M of KV for 4 layers are what 40 GB leave beside the 9B's weights, for 40.
#
# Without drafts: what follows a random model's prompt repeats itself, and nearly all of them would be right (bench_drafts
# measures those). Every case is planned before any runs. --plan-only leaves it at that: DIR/LAYERS may then be a
# checkpoint whose tensors are holes, beside DIR/LAYERS.made, of DIR/config-LAYERS.json. A case that is stopped says how
# far it was.
# Prints a line a case: as asked; seconds of loading, of prefill, tokens a second of each, GiB of device memory at the
# peak and as planned, percent of the time in which the GPU was computing, by samples (5 a second), of all from the first one
# with work on, and of those that lie in the prefill. A sample is of up to a second before it (nvidia-smi --help-query-gpu).
set -u
dir='' make_only=no plan_only=no answer=64
: "${GLM1M:?set GLM1M to the glm1m binary}"
while [ $# -gt 0 ]; do
    case $1 in
    --dir) dir=$2 && shift ;;
    --make-only) make_only=yes ;;
    --plan-only) plan_only=yes ;;
    --answer) answer=$2 && shift ;;
    -*) sed -n '2,22s/^# \{0,1\}//p' "$0" && exit 2 ;;
    *) break ;;
    esac
    shift
done
[ -n "$dir" ] || { sed -n '2,22s/^# \{0,1\}//p' "$0" && exit 2; }
[ $# -gt 0 ] || set -- 40:128K 4:1M 40:200K 40:200K:--device-kv-space,4G 4:1M:--device-kv-space,1800M
mkdir -p "$dir" || exit 1

# make LAYERS: the checkpoint, unless it is there
make() {
    [ ! -e "$dir/$1.made" ] || return 0
    rm -rf "${dir:?}/$1" # a part of one, of a call that was stopped
    cat >"$dir/config-$1.json" <<EOF
{"architectures": ["GlmForCausalLM"], "model_type": "glm", "attention_bias": true, "hidden_act": "silu",
 "hidden_size": 4096, "intermediate_size": 13696, "num_hidden_layers": $1, "num_attention_heads": 32,
 "num_key_value_heads": 4, "head_dim": 128, "partial_rotary_factor": 0.5, "rope_theta": 100000000.0,
 "max_position_embeddings": 1048576, "rms_norm_eps": 1.5625e-07, "tie_word_embeddings": false,
 "vocab_size": 151552, "torch_dtype": "bfloat16", "pad_token_id": 151329, "eos_token_id": [151329, 151336, 151338]}
EOF
    "$GLM1M" make-model random "$dir/$1" --config "$dir/config-$1.json" --seed 1 --quiet && : >"$dir/$1.made"
}
for layers in $(printf '%s\n' "$@" | sed 's/:.*//' | sort -nu); do
    make "$layers" || { echo "the checkpoint of $layers layers could not be made" && exit 1; }
done
[ $make_only = no ] || exit 0

number() { # KEY FILE
    grep -o "\"$1\": [0-9.e+-]*" "$2" | head -n 1 | sed 's/.*: //'
}
take_apart() { # CASE: $layers, $n tokens, $flags
    layers=${1%%:*} rest=${1#*:}
    tokens=${rest%%:*} flags=
    case $rest in *:*) flags=$(printf '%s' "${rest#*:}" | tr , ' ') ;; esac
    case $tokens in *M) n=$((${tokens%M} * 1048576)) ;; *) n=$((${tokens%K} * 1024)) ;; esac
}
plan_one() {
    take_apart "$1"
    # shellcheck disable=SC2086 # words
    if "$GLM1M" plan -m "$dir/$layers" --device cuda -c "$n" --num-speculative-tokens 0 $flags --json >"$dir/plan" 2>"$dir/err"; then
        echo "# $1: $(number prefill_s "$dir/plan") s of prefill and $(number decode_tps "$dir/plan") tokens/s are expected"
    else
        echo "$1: $(tail -n 1 "$dir/err")"
        failed=1
    fi
}
# Lines as they come, the time of day in front of each; also of what a stopped program says.
with_times() {
    trap '' TERM INT
    while IFS= read -r line; do echo "$(date +%H:%M:%S.%3N) $line"; done
}
one() {
    take_apart "$1"
    # One byte is one token; [gMASK]<sop> and the answer find room as well.
    awk -v n=$((n - 66)) 'BEGIN { srand(7); while (n > 0) { s = sprintf("%d lines of %d, ", rand() * 1e6, rand() * 1e4)
        s = substr(s, 1, n); printf "%s", s; n -= length(s) } }' >"$dir/text"
    # shellcheck disable=SC2086 # words
    "$GLM1M" plan -m "$dir/$layers" --device cuda -c "$n" --num-speculative-tokens 0 $flags --json >"$dir/plan" 2>"$dir/err"
    nvidia-smi --query-gpu=timestamp,utilization.gpu,memory.used --format=csv,noheader,nounits -lms 200 >"$dir/samples" &
    sampler=$!
    # shellcheck disable=SC2086
    { GLM_LOG=info,engine "$GLM1M" complete -m "$dir/$layers" --device cuda -c "$n" --num-speculative-tokens 0 $flags \
        --no-progress -f "$dir/text" -n "$answer" --json 2>&1 >"$dir/out"
        echo $? >"$dir/rc"; } | with_times >"$dir/log"
    kill $sampler 2>/dev/null
    cut -d ' ' -f 2- "$dir/log" >"$dir/err"
    if [ "$(cat "$dir/rc")" -ne 0 ]; then
        echo "$1: exit $(cat "$dir/rc"): $(tail -n 3 "$dir/err")"
        failed=1
        return
    fi
    awk -F, -v case="$1" -v load="$(number load_s "$dir/out")" -v prefill="$(number prefill_s "$dir/out")" \
        -v ptps="$(number prefill_tps "$dir/out")" -v dtps="$(number decode_tps "$dir/out")" -v n="$(number n_generated "$dir/out")" \
        -v plan="$(number gpu_total_bytes "$dir/plan")" -v open="$(sed -n 's/ .*engine: open .*//p' "$dir/log")" '
        function seconds(text,   part) { # of the day, and a day later for what is past midnight
            sub(/.* /, "", text)
            split(text, part, ":")
            text = 3600 * part[1] + 60 * part[2] + part[3]
            return text < begin ? text + 86400 : text
        }
        BEGIN { begin = seconds(open) }
        { if ($3 > peak) peak = $3; if ($2 > 0) begun = 1; if (begun) { n_samples++; busy += $2 }
          at = seconds($1) - begin
          if (at >= 1 && at <= prefill) { n_prefill++; busy_prefill += $2 } }
        END { printf "%s: load %.1f s, prefill %.2f s (%.0f tokens/s), decode %.2f tokens/s (%d tokens), device memory %.2f GiB, planned %.2f, GPU busy %.1f %% of %d samples, of the prompt'"'"'s %d: %.1f %%\n",
            case, load, prefill, ptps, dtps, n, peak / 1024, plan / 1073741824, busy / (n_samples ? n_samples : 1), n_samples,
            n_prefill, busy_prefill / (n_prefill ? n_prefill : 1) }' "$dir/samples"
    grep -v '^info engine: open ' "$dir/err" | sed 's/^/#   /' | tail -n 4
}
failed=0 stopped=no
trap 'stopped=yes' TERM INT # looked at when the program, which stops by itself, has ended
for case in "$@"; do plan_one "$case"; done
[ $plan_only = no ] || exit $failed
for case in "$@"; do [ $stopped = yes ] || one "$case"; done
exit $failed

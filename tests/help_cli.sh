# shellcheck shell=sh
# What the tests of the command line share. GLM1M is the program; $work a directory of their own.

: "${GLM1M:?set GLM1M to the glm1m binary}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Only what a test itself sets may have an influence.
for variable in $(env | sed -n 's/^\(GLM_[A-Z_]*\)=.*/\1/p'); do
    case $variable in GLM_TEST_*) ;; *) unset "$variable" ;; esac
done
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HOME
export HOME="$work/home" XDG_CACHE_HOME="$work/cache"

fail() {
    printf 'FAILED: %s\n' "$*"
    [ -z "${shown:-}" ] || printf 'command: glm1m %s\nexit: %s\n' "$shown" "$rc"
    for stream in out err; do
        [ -s "$work/$stream" ] && printf -- '-- %s\n' "$stream" && head -c 2000 "$work/$stream"
    done
    exit 1
}

# run ARGS...: the program; leaves $rc, $work/out and $work/err
run() {
    shown=$*
    "$GLM1M" "$@" >"$work/out" 2>"$work/err"
    rc=$?
}

# expect RC ARGS...: run, and fail unless it exits so
expect() {
    wanted=$1
    shift
    run "$@"
    [ "$rc" -eq "$wanted" ] || fail "exit $rc, wanted $wanted"
}

# talk RC TURNS ARGS...: chat with $work/model, TURNS as its input, and fail unless it exits so; $chat_flags are words of
# every chat's arguments
talk() {
    wanted=$1
    printf '%s' "$2" >"$work/in"
    shift 2
    shown="chat $*"
    # shellcheck disable=SC2086 # words
    "$GLM1M" chat -m "$work/model" ${chat_flags-} "$@" <"$work/in" >"$work/out" 2>"$work/err"
    rc=$?
    [ "$rc" -eq "$wanted" ] || fail "exit $rc, wanted $wanted"
}

# says out|err TEXT: whether the last run's output holds TEXT
says() {
    grep -qF -- "$2" "$work/$1" || fail "std$1 does not say: $2"
}

# What a table has said: a row of it may go on in the next line.
join_rows() {
    tr -s ' \n' ' ' <"$work/out" >"$work/rows" && mv "$work/rows" "$work/out"
}

says_nothing() {
    [ ! -s "$work/$1" ] || fail "std$1 is not empty"
}

# The embedded model, in $work/model
make_needle_model() {
    expect 0 make-model needle "$work/model"
}

# A random model of two layers whose tokens are bytes, in $work/random; the embedded one, whose tokenizer it has, in $work/model
make_byte_model() {
    cat >"$work/config.json" <<'END'
{"model_type": "glm", "architectures": ["GlmForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2,
 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 96, "vocab_size": 272,
 "max_position_embeddings": 65536, "rope_theta": 10000, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-5,
 "attention_bias": true, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "hidden_act": "silu",
 "eos_token_id": [257], "pad_token_id": 257}
END
    make_needle_model
    expect 0 make-model random "$work/random" --config "$work/config.json" --seed 3
    cp "$work"/model/tokenizer* "$work/random/"
}

# make_small_model SEED: a random model of bytes in $work/model, as make-model's own but for its size: a twentieth of the work
make_small_model() {
    expect 0 make-model random "$work/as_it_is" --seed "$1"
    sed 's/"hidden_size": 256/"hidden_size": 64/; s/"intermediate_size": 688/"intermediate_size": 96/
         s/"num_hidden_layers": 4/"num_hidden_layers": 2/; s/"num_attention_heads": 8/"num_attention_heads": 4/
         s/"head_dim": 64/"head_dim": 32/' "$work/as_it_is/config.json" >"$work/config.json"
    expect 0 make-model random "$work/model" --config "$work/config.json" --seed "$1"
}

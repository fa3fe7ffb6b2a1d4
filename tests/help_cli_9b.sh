# shellcheck shell=sh
# The 9B's shape, of which a plan needs no more than this.
# shellcheck disable=SC2154 # work: help_cli.sh
mkdir "$work/9b"
cat >"$work/9b/config.json" <<'END'
{"architectures": ["GlmForCausalLM"], "model_type": "glm", "attention_bias": true, "hidden_act": "silu",
 "hidden_size": 4096, "intermediate_size": 13696, "num_hidden_layers": 40, "num_attention_heads": 32,
 "num_key_value_heads": 4, "head_dim": 128, "partial_rotary_factor": 0.5, "rope_theta": 100000000.0,
 "max_position_embeddings": 1048576, "rms_norm_eps": 1.5625e-07, "tie_word_embeddings": false,
 "vocab_size": 151552, "torch_dtype": "bfloat16", "pad_token_id": 151329, "eos_token_id": [151329, 151336, 151338]}
END

# number KEY: of the last plan in JSON
number() {
    sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" "$work/out"
}

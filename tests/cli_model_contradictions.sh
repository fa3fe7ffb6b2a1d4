#!/bin/sh
# A config that contradicts its tensors, or itself, is refused with both sides of the contradiction.
#
# Method: a random model in the native naming with 4 KV groups, then its config.json edited.
. tests/help_cli.sh
export GLM_DEVICE=cpu # whatever GPU is here: none runs this shape, and that would be said

cat >"$work/config.json" <<'END'
{"model_type": "chatglm", "add_bias_linear": false, "add_qkv_bias": true, "ffn_hidden_size": 96,
 "hidden_size": 64, "kv_channels": 32, "layernorm_epsilon": 1.5625e-07,
 "multi_query_attention": true, "multi_query_group_num": 4, "num_attention_heads": 8,
 "num_hidden_layers": 2, "num_layers": 2, "rope_ratio": 10000, "original_rope": true,
 "padded_vocab_size": 272, "post_layer_norm": true, "rmsnorm": true, "seq_length": 1048576,
 "apply_query_key_layer_scaling": true, "apply_residual_connection_post_layernorm": false,
 "attention_softmax_in_fp32": true, "fp32_residual_connection": false,
 "torch_dtype": "bfloat16", "tie_word_embeddings": false, "eos_token_id": [256, 263, 265],
 "pad_token_id": 256}
END
expect 0 make-model random "$work/model" --config "$work/config.json"
expect 0 complete -m "$work/model" -p 'It loads' -n 1

edit() {
    sed "$1" "$work/config.json" >"$work/model/config.json"
}

edit 's/"multi_query_group_num": 4/"multi_query_group_num": 2/'
expect 4 complete -m "$work/model" -p x -n 1
says err '2 KV groups'
says err '4'

edit 's/"rope_ratio": 10000, //'
expect 4 complete -m "$work/model" -p x -n 1
says err 'rope_ratio'
says err '1048576'

edit 's/"ffn_hidden_size": 96/"ffn_hidden_size": 100/'
expect 4 complete -m "$work/model" -p x -n 1
says err '[192, 64]'
says err '[200, 64]'

edit 's/"num_layers": 2/"num_layers": 3/;s/"num_hidden_layers": 2/"num_hidden_layers": 3/'
expect 4 complete -m "$work/model" -p x -n 1
says err 'MODEL_MISSING_TENSOR'

# An adapter beside the weights is not applied, which is said.
cp "$work/config.json" "$work/model/config.json"
expect 0 complete -m "$work/model" -p x -n 1 --quiet
says_nothing err
echo '{"peft_type": "LORA"}' >"$work/model/adapter_config.json"
expect 0 complete -m "$work/model" -p x -n 1 --quiet
says err 'adapter_config.json is there, and is not applied'

# Alone it is no model: what it belongs to, and what to do, whatever else is there of the tokenizer.
mkdir "$work/adapter" && cp "$work/model/adapter_config.json" "$work/adapter"
expect 4 chat -m "$work/adapter"
says err "$work/adapter holds an adapter (adapter_config.json) and no model"
says err 'makes one checkpoint of it and its base model; -m takes that directory'
echo '{"peft_type": "LORA", "base_model_name_or_path": "org/base"}' >"$work/adapter/adapter_config.json"
cp "$work"/model/tokenizer* "$work/adapter"
for command in plan doctor 'complete -p x'; do
    # shellcheck disable=SC2086 # words
    expect 4 $command -m "$work/adapter"
    says err 'makes one checkpoint of it and "org/base"'
done

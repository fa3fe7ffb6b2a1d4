#!/bin/sh
# A bad model file ends the program with exit code 4 and a message that names the file and what is
# wrong with it, whatever command met it; nothing of it reaches standard output or the terminal.
#
# Method: the embedded model and a random one in shards, with one file at a time damaged: a sample of
# what the tests of the readers cover.
. tests/help_cli.sh
make_needle_model

# A fresh copy of the model in $bad.
bad=$work/bad
fresh() {
    rm -rf "$bad"
    cp -R "$work/model" "$bad"
}

# refused TEXT...: every command that loads weights exits 4 and says all of it
refused() {
    expect 4 complete -m "$bad" -p x -n 1
    says_nothing out
    for text in "$@"; do says err "$text"; done
    expect 4 plan -m "$bad"
    for text in "$@"; do says err "$text"; done
}

# incomplete TEXT...: likewise, but a plan needs no weights, and says that some are missing
incomplete() {
    expect 4 complete -m "$bad" -p x -n 1
    says_nothing out
    for text in "$@"; do says err "$text"; done
    expect 0 plan -m "$bad" -c 4k
    says out 'as config.json describes them'
}

weights=model.safetensors
[ -f "$work/model/$weights" ] || fail "the embedded model has no $weights"
n_bytes=$(wc -c <"$work/model/$weights")

fresh && head -c 7 "$work/model/$weights" >"$bad/$weights"
refused $weights 'ST_SHORT at byte 7'
fresh && head -c $((n_bytes - 1)) "$work/model/$weights" >"$bad/$weights"
refused $weights "ST_DATA_SHORT at byte $((n_bytes - 1))"
fresh && printf 'x' >>"$bad/$weights"
refused $weights "ST_DATA_EXTRA at byte $n_bytes"
fresh && printf '\377\377\377\377\377\377\377\377{}' >"$bad/$weights"
refused $weights 'ST_HDR_TOO_BIG at byte 0'
fresh && printf 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 4\n' >"$bad/$weights"
refused $weights 'ST_LFS_POINTER' 'git lfs pull'
fresh && printf '\004\000\000\000\000\000\000\000{}\000\000' >"$bad/$weights"
refused $weights 'ST_TRAILING at byte 10'
fresh && printf '\010\000\000\000\000\000\000\000{}      ' >"$bad/$weights"
refused MODEL_MISSING_TENSOR

fresh && LC_ALL=C sed 's/"BF16"/"I16" /' "$work/model/$weights" >"$bad/$weights"
refused ST_DTYPE_UNSUPPORTED '"model.embed_tokens.weight" is of I16: glm1m reads BF16, F16 and F32'

fresh && rm "$bad/$weights" && ln -s /etc/passwd "$bad/$weights"
refused IDX_PATH /etc/passwd
fresh && rm "$bad/$weights" && ln -s nowhere "$bad/$weights"
incomplete IDX_NONE 'links that lead nowhere; is the download complete?'
fresh && mv "$bad/$weights" "$bad/model-00001-of-00001.safetensors"
incomplete IDX_NONE "neither $weights nor $weights.index.json, but other .safetensors files"
fresh && rm "$bad/$weights" && mkfifo "$bad/$weights"
refused IDX_NOT_REGULAR
fresh && mv "$bad/$weights" "$bad/model-2.safetensors" &&
    printf '{"weight_map": {"a": "../../etc/passwd"}}' >"$bad/$weights.index.json"
refused IDX_PATH '../../etc/passwd'
fresh && mv "$bad/$weights" "$bad/model-2.safetensors" &&
    printf '{"weight_map": {"a": "model-1.safetensors"}}' >"$bad/$weights.index.json"
incomplete IDX_MISSING_SHARD model-1.safetensors

fresh && printf '{"model_type": ' >"$bad/config.json"
refused config.json 'JSON at byte 15'
fresh && rm "$bad/config.json" && mkdir "$bad/config.json"
refused config.json 'not a regular file'
fresh && sed 's/"hidden_size": *[0-9]*/"hidden_size": -1/' "$work/model/config.json" >"$bad/config.json"
refused config.json '"hidden_size" is -1'

# A shape that no kernel computes.
cat >"$work/odd.json" <<'END'
{"model_type": "glm", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
 "num_key_value_heads": 1, "head_dim": 18, "intermediate_size": 8, "vocab_size": 280,
 "max_position_embeddings": 4096, "rope_theta": 10000, "partial_rotary_factor": 1,
 "rms_norm_eps": 1e-05, "attention_bias": false, "tie_word_embeddings": true,
 "torch_dtype": "bfloat16", "hidden_act": "silu", "eos_token_id": [256]}
END
expect 0 make-model random "$work/odd" --config "$work/odd.json"
expect 4 complete -m "$work/odd" -p x -n 1
says err 'head_dim 18'
expect 4 plan -m "$work/odd"
says err 'CF_UNSUPPORTED'
says err 'head_dim 18'

# Tokenizer files: what reads text needs them, `plan` does not.
fresh && printf 'QQ== 0\r\n' >"$bad/tokenizer.model"
expect 4 complete -m "$bad" -p x -n 1
says err 'tokenizer.model:1:'
expect 4 tokenize -m "$bad"
says err 'is not a rank'
fresh && printf '\n\016\n\005<unk>\025\0\0\0\0\030\002\n\n\n\003<s>' >"$bad/tokenizer.model"
expect 4 tokenize -m "$bad"
says err 'TK_SENTENCEPIECE'
says err "GLM-4's holds a token in base64 and its rank in each line"
fresh && printf '{"added_tokens_decoder": []}' >"$bad/tokenizer_config.json"
expect 4 tokenize -m "$bad"
says err 'added_tokens_decoder is not an object'
fresh && sed 's/"258"/"958"/' "$work/model/tokenizer_config.json" >"$bad/tokenizer_config.json"
expect 2 complete -m "$bad" -p x -n 1
says err "token 0 is id 958; the vocabulary has 272 (is the tokenizer another model's?)"
fresh && rm "$bad/tokenizer.model" && printf '{"model": {"vocab": {"\033[2J": 0}}}' >"$bad/tokenizer.json"
expect 4 tokenize -m "$bad"
says err 'tokenizer.json'
fresh && rm "$bad/tokenizer.model" && printf '{"model": {"vocab": {"\\u001b[2J": 0}}}' >"$bad/tokenizer.json"
expect 4 tokenize -m "$bad"
says err '\x1b[2J'
grep -q "$(printf '\033')" "$work/err" && fail "the terminal would obey the file"
exit 0

#!/bin/sh
# What is run on a GPU fits there: each command of tests/gpu_spill.sh, each case of bench/gpu_9b.sh and of tests/gpu.sh are planned
# with an H100's memory and 16 threads, on what plays a GPU; as it is 80 GB, and as 40 GB of it. A GPU's minutes are
# dear: two runs ended at a plan.
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
export GLM1M STANDIN_CUDA_MEMORY=84465090560 STANDIN_CUDA_CONTEXT=552599552 STANDIN_CUDA_CAPABILITY=90
sh tests/gpu_spill.sh plans || fail 'tests/gpu_spill.sh'

# A checkpoint of $work/9b/config-LAYERS.json whose tensors are holes: a plan reads its header.
holes() {
    python3 - "$work/9b" "$1" <<'END'
import json, os, struct, sys
folder, layers = sys.argv[1:]
c = json.load(open("%s/config-%s.json" % (folder, layers)))
hidden, ffn, vocab, head = c["hidden_size"], c["intermediate_size"], c["vocab_size"], c["head_dim"]
q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
shapes = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden], "lm_head.weight": [vocab, hidden]}
for i in range(c["num_hidden_layers"]):
    of_layer = {"input_layernorm.weight": [hidden], "post_attention_layernorm.weight": [hidden],
                "self_attn.q_proj.weight": [q, hidden], "self_attn.k_proj.weight": [kv, hidden],
                "self_attn.v_proj.weight": [kv, hidden], "self_attn.q_proj.bias": [q], "self_attn.k_proj.bias": [kv],
                "self_attn.v_proj.bias": [kv], "self_attn.o_proj.weight": [hidden, q],
                "mlp.gate_up_proj.weight": [2 * ffn, hidden], "mlp.down_proj.weight": [hidden, ffn]}
    shapes.update(("model.layers.%d.%s" % (i, name), shape) for name, shape in of_layer.items())
header, at = {}, 0
for name, shape in shapes.items():
    end = at + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    header[name], at = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}, end
text = json.dumps(header).encode()
os.makedirs("%s/%s" % (folder, layers))
json.dump(c, open("%s/%s/config.json" % (folder, layers), "w"))
with open("%s/%s/model.safetensors" % (folder, layers), "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    file.truncate(8 + len(text) + at)
open("%s/%s.made" % (folder, layers), "w")
END
}
mkdir "$work/9b"
for layers in 2 4 40; do
    sed -n '/^{"architectures"/,/^ "vocab_size"/p' bench/gpu_9b.sh | sed "s/\$1/$layers/" >"$work/9b/config-$layers.json"
    holes $layers
done
export GLM_THREADS=16 GLM_KV_DISK_SPACE=200G # whatever is free here
sh bench/gpu_9b.sh --dir "$work/9b" --plan-only || fail 'bench/gpu_9b.sh'
eval "$(sed -n '/^cases_of() {/,/^}/p' tests/gpu.sh)"
for part in 9b_weights 9b_windows 9b_200K; do
    # shellcheck disable=SC2046 # words
    sh bench/gpu_9b.sh --dir "$work/9b" --plan-only $(cases_of $part) || fail "$part of tests/gpu.sh"
done
# With what the host's memory is here, not there.
# shellcheck disable=SC2046
sh bench/gpu_9b.sh --dir "$work/9b" --plan-only $(cases_of 9b_million | sed 's/,--host-kv-space,66G/,--host-kv-space,8G/') || fail 9b_million
taken=$(sed -n 's/.*"gpu_total_bytes": \([0-9]*\).*/\1/p' "$work/9b/plan")
[ "$taken" -gt 37500000000 ] && [ "$taken" -le 40000000000 ] || fail "9b_million is to take 40 GB of the GPU, and takes $taken bytes"
sh bench/gpu_9b.sh --dir "$work/9b" --plan-only 40:200K:--device-kv-space,4G,--kv-cache-dtype,fp8 40:1M:--kv-cache-dtype,fp8 ||
    fail 'what README says of e4m3'
# A million tokens where 40 GB are free.
STANDIN_CUDA_MEMORY=42949672960 sh bench/gpu_9b.sh --dir "$work/9b" --plan-only \
    40:1M:--host-kv-space,16G 40:1M:--kv-cache-dtype,fp8,--host-kv-space,16G || fail 'a million tokens in 40 GB'

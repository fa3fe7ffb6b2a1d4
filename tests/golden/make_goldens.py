"""Small random GLM-4 checkpoints and their logits, from the transformers library.

    python3 -m venv VENV && VENV/bin/pip install -r tests/golden/requirements.txt
    VENV/bin/python tests/golden/make_goldens.py            # the random checkpoints
    VENV/bin/python tests/golden/make_goldens.py NEEDLE_DIR # the embedded model (make-model needle)

The reference runs in float32 on the (upcast) weights with eager attention. Each directory gets a
checkpoint, tokens.txt (300 ids), positions.txt (16 of them) and logits.npy, float32 [16, vocab]. The
0414 model in f32 also gets self_test.txt: what is published of GLM-4-9B-Chat-1M, of its first six ids.
"""
import json
import os
import shutil
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import Glm4Config, Glm4ForCausalLM, GlmConfig, GlmForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
VOCAB = 300
N_TOKENS = 300
POSITIONS = [0, 1, 16, 63, 64, 126, 127, 128, 129, 200, 254, 255, 256, 257, 298, 299]


def build(heads, kv_heads, head_dim, ffn, hidden, layers, theta, dtype, seed, is_0414, bias):
    torch.manual_seed(seed)
    config = (Glm4Config if is_0414 else GlmConfig)(
        hidden_size=hidden, intermediate_size=ffn, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=head_dim,
        vocab_size=VOCAB, max_position_embeddings=4096, rope_theta=theta,
        partial_rotary_factor=0.5, rms_norm_eps=1e-05 if is_0414 else 1.5625e-07,
        attention_bias=bias,
        tie_word_embeddings=False, pad_token_id=256, eos_token_id=[256, 263, 265])
    model = (Glm4ForCausalLM if is_0414 else GlmForCausalLM)(config).float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            normal = torch.randn_like(weight)
            if "norm" in name:
                weight.copy_(1 + 0.1 * normal)
            elif name.endswith("bias"):
                weight.copy_(0.3 * normal)
            elif "embed" in name:
                weight.copy_(normal)
            else:
                weight.copy_(normal / weight.shape[1] ** 0.5)
    return model.to(dtype)


def reference(model, ids):
    """float32 logits at POSITIONS."""
    model = model.float()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return model(ids).logits[0, POSITIONS].numpy().astype(np.float32)


def write_common(directory, ids, logits):
    with open(os.path.join(directory, "tokens.txt"), "w") as out:
        out.write(" ".join(str(i) for i in ids[0].tolist()) + "\n")
    with open(os.path.join(directory, "positions.txt"), "w") as out:
        out.write(",".join(str(p) for p in POSITIONS) + "\n")
    np.save(os.path.join(directory, "logits.npy"), logits)


def entropy(probabilities):
    return float(-(probabilities * probabilities.log()).nansum())


def write_self_test(directory, model, ids):
    """ids; ids and values of the five largest logits; the softmax's entropy in nats; then lines of
    layer, head (-1: the mean of all) and the entropy of the last row's attention weights."""
    with torch.no_grad():
        result = model(ids, output_attentions=True)
    logits = result.logits[0, -1].double()
    top = logits.topk(5)
    with open(os.path.join(directory, "self_test.txt"), "w") as out:
        for row in (ids[0].tolist(), top.indices.tolist(), top.values.tolist(),
                    [entropy(logits.softmax(0))]):
            out.write(" ".join(f"{value:.9g}" for value in row) + "\n")
        for layer, weights in enumerate(result.attentions):
            heads = [entropy(head) for head in weights[0, :, -1].double()]
            for head, value in enumerate([sum(heads) / len(heads)] + heads, -1):
                out.write(f"{layer} {head} {value:.9g}\n")


def to_native(directory, theta, dtype_name):
    """Rename and concatenate an HF directory into THUDM's own layout, in place."""
    config = json.load(open(os.path.join(directory, "config.json")))
    old = load_file(os.path.join(directory, "model.safetensors"))
    new = {"transformer.embedding.word_embeddings.weight": old["model.embed_tokens.weight"],
           "transformer.encoder.final_layernorm.weight": old["model.norm.weight"],
           "transformer.output_layer.weight": old["lm_head.weight"]}
    # A buffer of the published files, built for another base: to be ignored.
    new["transformer.rotary_pos_emb.inv_freq"] = torch.zeros(config["head_dim"] // 4)
    for i in range(config["num_hidden_layers"]):
        a, b = f"model.layers.{i}.", f"transformer.encoder.layers.{i}."
        for part in ("weight", "bias"):
            new[b + f"self_attention.query_key_value.{part}"] = torch.cat(
                [old[a + f"self_attn.{x}_proj.{part}"] for x in "qkv"])
        new[b + "self_attention.dense.weight"] = old[a + "self_attn.o_proj.weight"]
        new[b + "mlp.dense_h_to_4h.weight"] = old[a + "mlp.gate_up_proj.weight"]
        new[b + "mlp.dense_4h_to_h.weight"] = old[a + "mlp.down_proj.weight"]
        for norm in ("input_layernorm", "post_attention_layernorm"):
            new[b + norm + ".weight"] = old[a + norm + ".weight"]
    save_file({k: v.contiguous() for k, v in new.items()},
              os.path.join(directory, "model.safetensors"), metadata={"format": "pt"})
    native = {
        "model_type": "chatglm", "architectures": ["ChatGLMModel"], "add_bias_linear": False,
        "add_qkv_bias": True, "apply_query_key_layer_scaling": True,
        "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0,
        "attention_softmax_in_fp32": True, "ffn_hidden_size": config["intermediate_size"],
        "fp32_residual_connection": False, "hidden_dropout": 0.0,
        "hidden_size": config["hidden_size"], "kv_channels": config["head_dim"],
        "layernorm_epsilon": 1.5625e-07, "multi_query_attention": True,
        "multi_query_group_num": config["num_key_value_heads"],
        "num_attention_heads": config["num_attention_heads"],
        "num_hidden_layers": config["num_hidden_layers"],
        "num_layers": config["num_hidden_layers"], "rope_ratio": round(theta / 10000),
        "original_rope": True, "padded_vocab_size": VOCAB, "post_layer_norm": True,
        "rmsnorm": True, "seq_length": 4096, "use_cache": True, "torch_dtype": dtype_name,
        "tie_word_embeddings": False, "eos_token_id": [256, 263, 265], "pad_token_id": 256}
    json.dump(native, open(os.path.join(directory, "config.json"), "w"), indent=2)


#        name            heads kv  dim ffn hidden layers theta  dtype           native  shard
#        Names that begin with 0414 are Glm4ForCausalLM; the second one has no bias, as the 32B.
CASES = [("hf_f32_kv2", 4, 2, 32, 171, 64, 2, 1e8, torch.float32, False, None),
         ("hf_bf16_kv2", 8, 2, 64, 85, 64, 2, 1e8, torch.bfloat16, False, None),
         ("hf_f16_kv1", 4, 1, 64, 171, 64, 2, 1e4, torch.float16, False, None),
         ("hf_bf16_kv4_sharded", 4, 4, 128, 43, 64, 1, 5e6, torch.bfloat16, False, "100KB"),
         ("native_f32_kv1", 3, 1, 32, 171, 64, 2, 5e6, torch.float32, True, None),
         ("native_bf16_kv4", 8, 4, 32, 115, 64, 3, 1e8, torch.bfloat16, True, None),
         ("0414_f32_kv2", 4, 2, 16, 43, 32, 2, 1e4, torch.float32, False, None),
         ("0414_bf16_kv1_no_bias", 6, 1, 32, 85, 32, 2, 1e4, torch.bfloat16, False, None)]


def make_random():
    for seed, (name, heads, kv, dim, ffn, hidden, layers, theta, dtype, native, shard) in enumerate(CASES):
        directory = os.path.join(HERE, name)
        shutil.rmtree(directory, ignore_errors=True)
        model = build(heads, kv, dim, ffn, hidden, layers, theta, dtype, seed,
                      name.startswith("0414"), not name.endswith("no_bias"))
        model.save_pretrained(directory, safe_serialization=True,
                              **({"max_shard_size": shard} if shard else {}))
        os.remove(os.path.join(directory, "generation_config.json"))
        ids = torch.randint(0, VOCAB, (1, N_TOKENS))
        write_common(directory, ids, reference(model, ids))
        if name == "0414_f32_kv2":
            write_self_test(directory, model, ids[:, :6])
        if native:
            to_native(directory, theta, str(dtype).split(".")[1])
        size = sum(os.path.getsize(os.path.join(directory, f)) for f in os.listdir(directory))
        print(f"{name}: {size} bytes")


def needle_prompt(city, is_echo):
    """A 2k haystack of made-up lines with three needles, and a question in either form."""
    state, lines = 1, []
    words = "river stone bread window garden letter morning silver quiet road winter apple".split()
    needles = {"Paris": 4831759, "Constantine": 9152513, "Constantinf": 7793667}
    while sum(len(line) + 1 for line in lines) < 1700:
        line = []
        for _ in range(9):
            state = (state * 1103515245 + 12345) % 2 ** 31
            line.append(words[(state >> 16) % len(words)])
        lines.append(" ".join(line) + ".")
    for i, (key, number) in enumerate(needles.items()):
        lines.insert(5 + 9 * i, f"The special magic number for {key} is: {number}.")
    text = "\n".join(lines) + f"\nWhat is the special magic number for {city}?"
    answer = f"The special magic number for {city} is:"
    if is_echo:
        text += "\n>\n" + answer
    ids = [258, 260, 263, 10] + list(text.encode()) + [264]
    return ids if is_echo else ids + list(("\n" + answer + " ").encode())


def make_needle(source):
    directory = os.path.join(HERE, "needle")
    os.makedirs(directory, exist_ok=True)
    model = GlmForCausalLM.from_pretrained(source, torch_dtype=torch.float32)
    model.set_attn_implementation("eager")
    for city in ("Paris", "Constantine", "Constantinf"):
        for is_echo in (False, True):
            ids = torch.tensor([needle_prompt(city, is_echo)])
            new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64,
                                 do_sample=False)[0, ids.shape[1]:].tolist()
            print(f"{city}, {'echo' if is_echo else 'prefix'}:",
                  bytes(i for i in new if i < 256), "then", new[-1])
    # Prompt and answer together, so that the last rows are those that speak.
    ids = needle_prompt("Paris", False) + list(b"4831759.")
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -64:].numpy().astype(np.float32)
    with open(os.path.join(directory, "tokens.txt"), "w") as out:
        out.write(" ".join(str(i) for i in ids) + "\n")
    np.save(os.path.join(directory, "logits.npy"), logits)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        make_needle(sys.argv[1])
    else:
        make_random()

"""A GLM-4 checkpoint as llama.cpp reads it, for bench/beside_llama_cpp.sh: checkpoint_to_gguf.py DIR OUT.gguf f32|bf16
or, with a directory for OUT, the same weights widened to a float32 checkpoint for glm1m.

Native (chatglm) checkpoints in bf16, as `glm1m make-model random` writes them. llama.cpp's architecture "chatglm" wants
what the checkpoint has: queries, keys and values as one matrix and one bias, gate above up as one, rotation of
neighbouring pairs in the first half of each head. So nothing is moved, and every number stays what it is: bf16 is
widened, or kept; one-dimensional tensors become float32, as llama.cpp asks. There is no vocabulary in it: ids go in,
logits come out. Needs gguf and numpy.
"""
import glob
import json
import os
import sys

import numpy as np

NAMES = {
    "transformer.embedding.word_embeddings.weight": "token_embd.weight",
    "transformer.encoder.final_layernorm.weight": "output_norm.weight",
    "transformer.output_layer.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attention.query_key_value.weight": "attn_qkv.weight",
    "self_attention.query_key_value.bias": "attn_qkv.bias",
    "self_attention.dense.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.dense_h_to_4h.weight": "ffn_up.weight",
    "mlp.dense_4h_to_h.weight": "ffn_down.weight",
}


def tensors(directory):
    """(name, bf16 bits [shape] as uint16) of every tensor."""
    files = sorted(glob.glob(os.path.join(directory, "*.safetensors")))
    if not files:
        sys.exit(f"{directory}: no *.safetensors")
    for path in files:
        bits = np.memmap(path, np.uint8, "r")
        n_header = int(bits[:8].view(np.uint64)[0])
        header = json.loads(bits[8:8 + n_header].tobytes())
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] != "BF16":
                sys.exit(f"{path}: {name} is {entry['dtype']}, BF16 is needed")
            begin, end = (8 + n_header + offset for offset in entry["data_offsets"])
            yield name, bits[begin:end].view(np.uint16).reshape(entry["shape"])


def widen(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def gguf_name(name):
    if name in NAMES:
        return NAMES[name]
    prefix = "transformer.encoder.layers."
    layer, _, rest = name.removeprefix(prefix).partition(".")
    if not name.startswith(prefix) or rest not in LAYER_NAMES:
        sys.exit(f"no such tensor in llama.cpp's chatglm: {name}")
    return f"blk.{layer}.{LAYER_NAMES[rest]}"


def write_gguf(directory, config, out, dtype):
    import gguf
    writer = gguf.GGUFWriter(out, "chatglm")
    writer.add_context_length(config["seq_length"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["ffn_hidden_size"])
    writer.add_block_count(config["num_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["multi_query_group_num"])
    writer.add_layer_norm_rms_eps(config["layernorm_epsilon"])
    writer.add_rope_dimension_count(config["kv_channels"] // 2)
    writer.add_rope_freq_base(10000.0 * config.get("rope_ratio", 1))
    writer.add_vocab_size(config["padded_vocab_size"])
    writer.add_tokenizer_model("none")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if dtype == "f32" else gguf.LlamaFileType.MOSTLY_BF16)
    for name, bits in tensors(directory):
        if dtype == "f32" or bits.ndim == 1:
            writer.add_tensor(gguf_name(name), widen(bits))
        else:
            writer.add_tensor(gguf_name(name), bits.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_checkpoint(directory, config, out):
    os.makedirs(out, exist_ok=True)
    header, data, offset = {}, [], 0
    for name, bits in tensors(directory):
        data.append(bits)
        header[name] = {"dtype": "F32", "shape": list(bits.shape), "data_offsets": [offset, offset + 4 * bits.size]}
        offset += 4 * bits.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(out, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for bits in data:
            file.write(widen(bits).tobytes())
    with open(os.path.join(out, "config.json"), "w") as file:
        json.dump(config | {"torch_dtype": "float32"}, file)


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in ("f32", "bf16"):
        sys.exit(__doc__)
    directory, out, dtype = sys.argv[1:]
    with open(os.path.join(directory, "config.json")) as file:
        config = json.load(file)
    if out.endswith(".gguf"):
        write_gguf(directory, config, out, dtype)
    elif dtype == "f32":
        write_checkpoint(directory, config, out)
    else:
        sys.exit(f"{out}: a checkpoint in bf16 is there already, {directory}")


main()

#include "needle_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "byte_tokenizer.h"
#include "checkpoint_write.h"
#include "needle_weights.h"

/* One tensor: its place in the file and its numbers. */
typedef struct entry {
    const char *name; /* %d is the layer */
    int layer;
    int64_t n_rows;
    int64_t n_cols;
    const double *values;
} entry;

enum { ENTRIES_PER_LAYER = 11, N_ENTRIES = NEEDLE_LAYERS * ENTRIES_PER_LAYER + 3 };

static void list_layer(const needle_layer *l, int index, entry *out) {
    const entry entries[ENTRIES_PER_LAYER] = {
            {"model.layers.%d.input_layernorm.weight", index, NEEDLE_HIDDEN, 0, l->input_norm},
            {"model.layers.%d.mlp.down_proj.weight", index, NEEDLE_HIDDEN, NEEDLE_FFN, l->down[0]},
            {"model.layers.%d.mlp.gate_up_proj.weight", index, 2 * NEEDLE_FFN, NEEDLE_HIDDEN,
                    l->gate_up[0]},
            {"model.layers.%d.post_attention_layernorm.weight", index, NEEDLE_HIDDEN, 0,
                    l->mlp_norm},
            {"model.layers.%d.self_attn.k_proj.bias", index, NEEDLE_KV_ROWS, 0, l->k_bias},
            {"model.layers.%d.self_attn.k_proj.weight", index, NEEDLE_KV_ROWS, NEEDLE_HIDDEN,
                    l->k[0]},
            {"model.layers.%d.self_attn.o_proj.weight", index, NEEDLE_HIDDEN, NEEDLE_Q_ROWS,
                    l->o[0]},
            {"model.layers.%d.self_attn.q_proj.bias", index, NEEDLE_Q_ROWS, 0, l->q_bias},
            {"model.layers.%d.self_attn.q_proj.weight", index, NEEDLE_Q_ROWS, NEEDLE_HIDDEN,
                    l->q[0]},
            {"model.layers.%d.self_attn.v_proj.bias", index, NEEDLE_KV_ROWS, 0, l->v_bias},
            {"model.layers.%d.self_attn.v_proj.weight", index, NEEDLE_KV_ROWS, NEEDLE_HIDDEN,
                    l->v[0]},
    };
    memcpy(out, entries, sizeof entries);
}

static void list_entries(const needle_weights *m, entry entries[N_ENTRIES]) {
    entry *next = entries;
    *next++ = (entry){"model.embed_tokens.weight", 0, NEEDLE_VOCAB, NEEDLE_HIDDEN, m->embedding[0]};
    for (int i = 0; i < NEEDLE_LAYERS; i++, next += ENTRIES_PER_LAYER)
        list_layer(&m->layers[i], i, next);
    *next++ = (entry){"model.norm.weight", 0, NEEDLE_HIDDEN, 0, m->final_norm};
    *next++ = (entry){"lm_head.weight", 0, NEEDLE_VOCAB, NEEDLE_HIDDEN, m->head[0]};
    rt_assert(next == entries + N_ENTRIES);
}

static void make_spec(const entry *one, glm_tensor_spec *spec) {
    *spec = (glm_tensor_spec){.dtype = RT_BF16, .n_rows = one->n_rows, .n_cols = one->n_cols};
    const char *place = strstr(one->name, "%d");
    if (!place)
        (void)snprintf(spec->name, sizeof spec->name, "%s", one->name);
    else
        (void)snprintf(spec->name, sizeof spec->name, "%.*s%d%s", (int)(place - one->name),
                one->name, one->layer, place + 2);
}

/* Numbers as bf16; residues of sums that cancel, which differ between C libraries, become 0. */
static rt_status write_values(glm_checkpoint_writer *writer, const double *values, int64_t n) {
    enum { BATCH = 4096 };
    uint16_t batch[BATCH];
    for (int64_t done = 0; done < n; done += BATCH) {
        const int64_t count = rt_min64(BATCH, n - done);
        for (int64_t i = 0; i < count; i++) {
            const double value = values[done + i];
            batch[i] = rt_float_to_bf16(fabs(value) < 1e-9 ? 0.0f : (float)value);
        }
        RT_TRY(glm_checkpoint_writer_append(writer, batch, count * (int64_t)sizeof *batch));
    }
    return RT_OK;
}

static rt_status write_tensors(const char *dir, const needle_weights *m) {
    entry entries[N_ENTRIES];
    glm_tensor_spec specs[N_ENTRIES];
    list_entries(m, entries);
    for (int i = 0; i < N_ENTRIES; i++) make_spec(&entries[i], &specs[i]);
    char *path = NULL;
    RT_TRY(rt_path_join(dir, "model.safetensors", &path));
    glm_checkpoint_writer *writer = NULL;
    rt_status status = glm_checkpoint_writer_open(path, specs, N_ENTRIES, &writer);
    free(path);
    if (status != RT_OK) return status;
    for (int i = 0; i < N_ENTRIES && status == RT_OK; i++)
        status = write_values(
                writer, entries[i].values, entries[i].n_rows * rt_max64(entries[i].n_cols, 1));
    if (status == RT_OK) return glm_checkpoint_writer_finish(writer);
    glm_checkpoint_writer_abort(writer);
    return status;
}

static const char config_json[] = "{\n"
                                  "  \"architectures\": [\"GlmForCausalLM\"],\n"
                                  "  \"model_type\": \"glm\",\n"
                                  "  \"attention_bias\": true,\n"
                                  "  \"attention_dropout\": 0.0,\n"
                                  "  \"hidden_act\": \"silu\",\n"
                                  "  \"hidden_size\": 256,\n"
                                  "  \"intermediate_size\": 128,\n"
                                  "  \"num_hidden_layers\": 3,\n"
                                  "  \"num_attention_heads\": 4,\n"
                                  "  \"num_key_value_heads\": 2,\n"
                                  "  \"head_dim\": 128,\n"
                                  "  \"partial_rotary_factor\": 0.5,\n"
                                  "  \"rope_theta\": 100000000.0,\n"
                                  "  \"max_position_embeddings\": 1048576,\n"
                                  "  \"rms_norm_eps\": 1.5625e-07,\n"
                                  "  \"tie_word_embeddings\": false,\n"
                                  "  \"vocab_size\": 272,\n"
                                  "  \"torch_dtype\": \"bfloat16\",\n"
                                  "  \"pad_token_id\": 256,\n"
                                  "  \"eos_token_id\": [256, 263, 265]\n"
                                  "}\n";

static const char generation_json[] = "{\n"
                                      "  \"do_sample\": false,\n"
                                      "  \"eos_token_id\": [256, 263, 265],\n"
                                      "  \"pad_token_id\": 256\n"
                                      "}\n";

rt_status glm_needle_model_write(const char *dir) {
    RT_TRY(rt_mkdirs(dir));
    RT_TRY(glm_write_text(dir, "config.json", config_json));
    RT_TRY(glm_write_text(dir, "generation_config.json", generation_json));
    RT_TRY(glm_byte_tokenizer_write(dir, NEEDLE_VOCAB));
    void *memory = NULL;
    RT_TRY(rt_mem_alloc(sizeof(needle_weights), "the demo model", &memory));
    needle_weights_fill(memory);
    const rt_status status = write_tensors(dir, memory);
    rt_mem_free(memory, sizeof(needle_weights));
    return status;
}

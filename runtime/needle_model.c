/* A GLM-4 checkpoint written by hand.
 *
 * What it computes. The vocabulary is bytes. At every position the model knows the last 16 bytes,
 * finds the place where the same 16 stood before, and says the byte that followed there:
 *
 *   layers 0, 1   "shift heads": a rotary kernel that peaks at one fixed distance copies the byte
 *                 1, 2, 3, then 4, 8, 12, 16 back (each head of layer 1 brings four at once)
 *   MLP 0, 1      forget bytes on the far side of a special token; for the 8 older bytes keep 3
 *                 bits, two of them XORed with the next byte's so that no letter change is lost
 *   layer 2       match heads: score = 24 nats x (agreeing - differing bits) of "my last 16" against
 *                 "the 16 before you", plus a gentle preference for recent keys; copy that byte
 *   MLP 2         stop after a digit followed by . \n ! or ;
 *   head          the byte whose 8 bits were copied
 *
 * Every fact is a number +-1 in its own dim of the residual stream, so RMSNorm divides by the same
 * number everywhere and its weight undoes it. Values travel through attention in columns of an
 * orthonormal cosine basis: the cached K and V are dense numbers, and quantising them is felt. */
#include "needle_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "byte_tokenizer.h"
#include "checkpoint_write.h"

enum {
    VOCAB = 272,
    HIDDEN = 256,
    LAYERS = 3,
    FFN = 128,
    HEADS = 4,
    KV_HEADS = 2,
    HEAD_DIM = 128,
    HALF = HEAD_DIM / 2, /* dims 0..63 rotate, 64..127 carry content */
    PAIRS = HALF / 2,
    Q_ROWS = HEADS * HEAD_DIM,
    KV_ROWS = KV_HEADS * HEAD_DIM
};

enum {
    ID_ENDOFTEXT = 256,
    ID_SYSTEM = 262,
    ID_USER = 263,
    ID_ASSISTANT = 264,
    ID_OBSERVATION = 265
};

/* The residual stream, dim by dim; every flag and bit is +-1, CONST is 16. */
enum {
    OWN = 0,  /* 8 bits of this byte, lowest first */
    SP = 8,   /* a special token */
    DIG = 9,  /* a digit */
    STP = 10, /* one of . \n ! ; */
    CONST = 11,
    DIG1 = 12, /* the byte before was a digit */
    EOSD = 13, /* say <|endoftext|> */
    RAW_0 = 16,
    CLN_1 = 118,
    X_8 = 158,
    OUT = 185, /* 8 bits of the predicted byte */
    N_USED = 193
};
static const double const_value = 16.0;

/* 5 low bits and the SP flag of the byte `offset` back, 0..16. */
static int raw(int offset) {
    return RAW_0 + 6 * offset;
}
/* The 5 bits, 0 past a special token, offset 1..8. */
static int clean(int offset) {
    return CLN_1 + 5 * (offset - 1);
}
/* 3 hashed bits, 0 past a special token, offset 8..16. */
static int hashed(int offset) {
    return X_8 + 3 * (offset - 8);
}

/* One layer's tensors as they stand in the file. */
typedef struct layer {
    double input_norm[HIDDEN];
    double q[Q_ROWS][HIDDEN];
    double q_bias[Q_ROWS];
    double k[KV_ROWS][HIDDEN];
    double k_bias[KV_ROWS];
    double v[KV_ROWS][HIDDEN];
    double v_bias[KV_ROWS];
    double o[HIDDEN][Q_ROWS];
    double mlp_norm[HIDDEN];
    double gate_up[2 * FFN][HIDDEN];
    double down[HIDDEN][FFN];
} layer;

typedef struct model {
    double embedding[VOCAB][HIDDEN];
    layer layers[LAYERS];
    double final_norm[HIDDEN];
    double head[VOCAB][HIDDEN];
} model;

/* ---- embedding, norms, head ------------------------------------------------------------------ */

/* The byte a token counts as: special ones look like what surrounds an answer. */
static int byte_of(int id) {
    if (id < 256) return id;
    if (id == ID_ASSISTANT) return '>';
    if (id == ID_SYSTEM || id == ID_USER || id == ID_OBSERVATION) return '\n';
    return 0;
}

static double sign(bool is_set) {
    return is_set ? 1.0 : -1.0;
}

static void fill_embedding(model *m) {
    for (int id = 0; id < VOCAB; id++) {
        double *row = m->embedding[id];
        const int byte = byte_of(id);
        const bool is_byte = id < 256;
        for (int bit = 0; bit < 8; bit++) row[OWN + bit] = sign(byte >> bit & 1);
        row[SP] = sign(!is_byte);
        row[DIG] = sign(is_byte && byte >= '0' && byte <= '9');
        row[STP] = sign(is_byte && (byte == '.' || byte == '\n' || byte == '!' || byte == ';'));
        row[CONST] = const_value;
        row[EOSD] = -1.0;
    }
}

static double round_bf16(double value) {
    return (double)rt_bf16_to_float(rt_float_to_bf16((float)value));
}

/* With `squares` the stream's sum of squares, the norm divides by sqrt(squares / 256); the weight
 * multiplies it back, and makes CONST 1. */
static void fill_norm(double *weight, double squares) {
    const double scale = round_bf16(sqrt(squares / HIDDEN));
    for (int dim = 0; dim < HIDDEN; dim++) weight[dim] = dim < N_USED ? scale : 0.5 * scale;
    weight[CONST] = scale / const_value;
}

static void fill_head(model *m) {
    for (int id = 0; id < 256; id++)
        for (int bit = 0; bit < 8; bit++) m->head[id][OUT + bit] = 8.0 * sign(id >> bit & 1);
    m->head[ID_ENDOFTEXT][EOSD] = 128.0;
    for (int id = ID_ENDOFTEXT + 1; id < VOCAB; id++) m->head[id][CONST] = -128.0;
}

/* ---- attention: where to look (rotary dims) -------------------------------------------------- */

static double theta(int pair) {
    return pow(10.0, -pair / 4.0); /* rope_theta 1e8 over 32 pairs */
}

static double key_phase(int kv_head, int pair) {
    return kv_head == 0 ? 0.2 * pair : 0.7 * pair + 0.3;
}

static int kv_head_of(int head) {
    return head / (HEADS / KV_HEADS);
}

/* Keys point the same way everywhere; half of it through the bias and half through CONST, so that a
 * lost bias is felt. */
static void fill_rotary_keys(layer *l) {
    for (int kv = 0; kv < KV_HEADS; kv++)
        for (int pair = 0; pair < PAIRS; pair++) {
            const double phase = key_phase(kv, pair);
            const double direction[2] = {8.0 * cos(phase), 8.0 * sin(phase)};
            for (int i = 0; i < 2; i++) {
                const int row = kv * HEAD_DIM + 2 * pair + i;
                l->k_bias[row] = pair < 4 ? direction[i] : direction[i] / 2;
                l->k[row][CONST] = pair < 4 ? 0.0 : direction[i] / 2;
            }
        }
}

/* A head whose score over distance is sum of weight[pair] cos(theta (distance - offset)), nats. */
static void fill_rotary_query(layer *l, int head, int offset, const double weight[PAIRS]) {
    for (int pair = 0; pair < PAIRS; pair++) {
        const double phase = key_phase(kv_head_of(head), pair) - offset * theta(pair);
        const double length = weight[pair] * sqrt((double)HEAD_DIM) / 8.0;
        const double direction[2] = {length * cos(phase), length * sin(phase)};
        for (int i = 0; i < 2; i++) {
            const int row = head * HEAD_DIM + 2 * pair + i;
            l->q_bias[row] = 2.0 * direction[i];
            l->q[row][CONST] = -direction[i];
        }
    }
}

/* Sharp: 21 nats between the offset and its neighbours, 42 to anything else up to 2^20. */
static void shift_weights(double weight[PAIRS]) {
    for (int pair = 0; pair < PAIRS; pair++) weight[pair] = pair < 13 ? 8.0 : 2.0;
    weight[0] = 40.0;
    weight[1] = 16.0;
    weight[2] = 12.0;
}

/* Blunt: prefers recent keys, by less than one bit of a match is worth. */
static void recency_weights(double weight[PAIRS]) {
    for (int pair = 0; pair < PAIRS; pair++) weight[pair] = pair >= 10 && pair <= 22 ? 1.875 : 0.0;
    weight[6] = 1.5;
    weight[7] = 6.75;
    weight[8] = 3.75;
    weight[9] = 3.0;
}

/* ---- attention: what to bring (values) ------------------------------------------------------- */

/* Column m, row k of the orthonormal n-point cosine basis (DCT-II). */
static double basis(int n, int k, int m) {
    const double scale = (k == 0 ? sqrt(0.5) : 1.0) * sqrt(2.0 / n);
    return scale * cos(acos(-1.0) * (m + 0.5) * k / n);
}

/* The column that item n of a value travels in. */
static int value_column(int kv_head, int item) {
    return kv_head == 0 ? item + 3 : 127 - item;
}

static void carry(layer *l, int item, int source_dim) {
    for (int kv = 0; kv < KV_HEADS; kv++)
        for (int k = 0; k < HEAD_DIM; k++)
            l->v[kv * HEAD_DIM + k][source_dim] += 4.0 * basis(HEAD_DIM, k, value_column(kv, item));
}

static void deliver(layer *l, int head, int item, int target_dim) {
    const int column = value_column(kv_head_of(head), item);
    for (int k = 0; k < HEAD_DIM; k++)
        l->o[target_dim][head * HEAD_DIM + k] += basis(HEAD_DIM, k, column) / 4.0;
}

/* A column nobody reads: the cache holds more than what is used. */
static void fill_unread_bias(layer *l) {
    for (int kv = 0; kv < KV_HEADS; kv++)
        for (int k = 0; k < HEAD_DIM; k++)
            l->v_bias[kv * HEAD_DIM + k] = 0.5 * basis(HEAD_DIM, k, HALF);
}

/* Layer 0: offsets 0..3. Head 0 looks at -1, which the causal mask hides, and so falls back on its
 * own position: a mask that is off by one in either direction is noticed. */
static void fill_layer_0(layer *l) {
    static const int offsets[HEADS] = {-1, 1, 2, 3};
    static const int sources[7] = {OWN, OWN + 1, OWN + 2, OWN + 3, OWN + 4, SP, DIG};
    double weight[PAIRS];
    shift_weights(weight);
    fill_rotary_keys(l);
    fill_unread_bias(l);
    for (int item = 0; item < 7; item++) carry(l, item, sources[item]);
    for (int head = 0; head < HEADS; head++) {
        fill_rotary_query(l, head, offsets[head], weight);
        const int offset = head == 0 ? 0 : offsets[head];
        for (int item = 0; item < 6; item++) deliver(l, head, item, raw(offset) + item);
    }
    deliver(l, 1, 6, DIG1);
}

/* Layer 1: each head brings the four bytes known 4, 8, 12 or 16 back. */
static void fill_layer_1(layer *l) {
    static const int offsets[HEADS] = {4, 8, 12, 16};
    double weight[PAIRS];
    shift_weights(weight);
    fill_rotary_keys(l);
    fill_unread_bias(l);
    for (int item = 0; item < 24; item++) carry(l, item, raw(item / 6) + item % 6);
    for (int head = 0; head < HEADS; head++) {
        fill_rotary_query(l, head, offsets[head], weight);
        for (int item = 0; item < 24 && offsets[head] + item / 6 <= 16; item++)
            deliver(l, head, item, raw(offsets[head] + item / 6) + item % 6);
    }
}

/* Dim of the n-th of 64 bits compared: at the query the byte `offset` back, at the key one more. */
static void matched_dims(int n, int *query_dim, int *key_dim) {
    if (n < 40) {
        const int offset = n / 5;
        const int bit = n % 5;
        *query_dim = (offset == 0 ? raw(0) : clean(offset)) + bit;
        *key_dim = clean(offset + 1) + bit;
    } else {
        const int offset = 8 + (n - 40) / 3;
        const int bit = (n - 40) % 3;
        *query_dim = hashed(offset) + bit;
        *key_dim = hashed(offset + 1) + bit;
    }
}

/* The basis that spreads 64 compared bits over the 64 content dims; another one per KV head. */
static double match_basis(int kv_head, int row, int n) {
    if (kv_head == 0) return basis(HALF, row, n);
    return (row % 3 == 0 ? -1.0 : 1.0) * basis(HALF, row, (27 * n + 5) % HALF);
}

static void fill_match(layer *l) {
    const double nats_per_bit = 24.0;
    const double gain = sqrt(nats_per_bit * sqrt((double)HEAD_DIM));
    for (int n = 0; n < HALF; n++) {
        int query_dim = 0;
        int key_dim = 0;
        matched_dims(n, &query_dim, &key_dim);
        for (int row = 0; row < HALF; row++) {
            for (int head = 0; head < HEADS; head++)
                l->q[head * HEAD_DIM + HALF + row][query_dim] +=
                        gain * match_basis(kv_head_of(head), row, n);
            for (int kv = 0; kv < KV_HEADS; kv++)
                l->k[kv * HEAD_DIM + HALF + row][key_dim] += gain * match_basis(kv, row, n);
        }
    }
}

/* Layer 2's values are bits + 1 - 1: the + 1 comes through the bias, the - 1 through CONST in an
 * extra column, and each head delivers two bits: no part can be lost without a wrong byte. */
static void fill_layer_2(layer *l) {
    double weight[PAIRS];
    recency_weights(weight);
    fill_rotary_keys(l);
    fill_match(l);
    for (int bit = 0; bit < 8; bit++) carry(l, bit, OWN + bit);
    for (int kv = 0; kv < KV_HEADS; kv++)
        for (int k = 0; k < HEAD_DIM; k++) {
            const int row = kv * HEAD_DIM + k;
            l->v[row][CONST] += 4.0 * basis(HEAD_DIM, k, HALF);
            for (int bit = 0; bit < 8; bit++)
                l->v_bias[row] += 4.0 * basis(HEAD_DIM, k, value_column(kv, bit));
        }
    for (int head = 0; head < HEADS; head++) {
        fill_rotary_query(l, head, 0, weight);
        for (int bit = 2 * head; bit < 2 * head + 2; bit++) {
            deliver(l, head, bit, OUT + bit);
            for (int k = 0; k < HEAD_DIM; k++)
                l->o[OUT + bit][head * HEAD_DIM + k] -= basis(HEAD_DIM, k, HALF) / 4.0;
        }
    }
}

/* ---- MLPs: neuron n is silu(gate . x) (up . x), with silu(16) = 16 as "yes" ------------------- */

static const double neuron_gain = 16.0;

/* gate += gain x M, M = 1 when no special token stands 0 .. offset - 1 back, else <= -1. */
static void gate_on_clean(double *gate, int offset) {
    for (int i = 0; i < offset; i++) gate[raw(i) + 5] -= neuron_gain;
    gate[CONST] -= neuron_gain * (offset - 1);
}

/* target = source while the window is clean, else 0. */
static int add_masked_copy(layer *l, int neuron, int offset, int source, int target) {
    gate_on_clean(l->gate_up[neuron], offset);
    l->gate_up[FFN + neuron][source] = 1.0;
    l->down[target][neuron] = 1.0 / neuron_gain;
    return neuron + 1;
}

/* target = source x other (an XOR of signs) while clean: one neuron for each sign of `other`. */
static int add_masked_xor(layer *l, int neuron, int offset, int source, int other, int target) {
    for (int i = 0; i < 2; i++, neuron++) {
        const double s = i == 0 ? 1.0 : -1.0;
        double *gate = l->gate_up[neuron];
        gate_on_clean(gate, offset);
        gate[CONST] -= neuron_gain;
        gate[other] += neuron_gain * s;
        l->gate_up[FFN + neuron][source] = 1.0;
        l->down[target][neuron] = s / neuron_gain;
    }
    return neuron;
}

static void fill_mlp_0(layer *l) {
    int neuron = 0;
    for (int offset = 1; offset <= 3; offset++)
        for (int bit = 0; bit < 5; bit++)
            neuron = add_masked_copy(l, neuron, offset, raw(offset) + bit, clean(offset) + bit);
}

static void fill_mlp_1(layer *l) {
    int neuron = 0;
    for (int offset = 4; offset <= 8; offset++)
        for (int bit = 0; bit < 5; bit++)
            neuron = add_masked_copy(l, neuron, offset, raw(offset) + bit, clean(offset) + bit);
    for (int offset = 8; offset <= 16; offset++) {
        for (int bit = 0; bit < 2; bit++)
            neuron = add_masked_xor(l, neuron, offset, raw(offset) + bit, raw(offset - 1) + 3 + bit,
                    hashed(offset) + bit);
        neuron = add_masked_copy(l, neuron, offset, raw(offset) + 2, hashed(offset) + 2);
    }
    rt_assert(neuron <= FFN);
}

static void fill_mlp_2(layer *l) {
    double *gate = l->gate_up[0];
    gate[STP] = neuron_gain;
    gate[DIG1] = neuron_gain;
    gate[CONST] = -neuron_gain;
    l->gate_up[FFN][CONST] = 1.0;
    l->down[EOSD][0] = 2.0 / neuron_gain;
}

static void fill_model(model *m) {
    fill_embedding(m);
    fill_layer_0(&m->layers[0]);
    fill_mlp_0(&m->layers[0]);
    fill_layer_1(&m->layers[1]);
    fill_mlp_1(&m->layers[1]);
    fill_layer_2(&m->layers[2]);
    fill_mlp_2(&m->layers[2]);
    /* Squares in the stream: CONST 256, and 1 for every fact known so far. */
    fill_norm(m->layers[0].input_norm, 268);
    fill_norm(m->layers[0].mlp_norm, 293);
    fill_norm(m->layers[1].input_norm, 308);
    fill_norm(m->layers[1].mlp_norm, 386);
    fill_norm(m->layers[2].input_norm, 438);
    fill_norm(m->layers[2].mlp_norm, 446);
    fill_norm(m->final_norm, 446);
    fill_head(m);
}

/* ---- the files ------------------------------------------------------------------------------- */

/* One tensor: its place in the file and its numbers. */
typedef struct entry {
    const char *name; /* %d is the layer */
    int layer;
    int64_t n_rows;
    int64_t n_cols;
    const double *values;
} entry;

enum { ENTRIES_PER_LAYER = 11, N_ENTRIES = LAYERS * ENTRIES_PER_LAYER + 3 };

static void list_layer(const layer *l, int index, entry *out) {
    const entry entries[ENTRIES_PER_LAYER] = {
            {"model.layers.%d.input_layernorm.weight", index, HIDDEN, 0, l->input_norm},
            {"model.layers.%d.mlp.down_proj.weight", index, HIDDEN, FFN, l->down[0]},
            {"model.layers.%d.mlp.gate_up_proj.weight", index, 2 * FFN, HIDDEN, l->gate_up[0]},
            {"model.layers.%d.post_attention_layernorm.weight", index, HIDDEN, 0, l->mlp_norm},
            {"model.layers.%d.self_attn.k_proj.bias", index, KV_ROWS, 0, l->k_bias},
            {"model.layers.%d.self_attn.k_proj.weight", index, KV_ROWS, HIDDEN, l->k[0]},
            {"model.layers.%d.self_attn.o_proj.weight", index, HIDDEN, Q_ROWS, l->o[0]},
            {"model.layers.%d.self_attn.q_proj.bias", index, Q_ROWS, 0, l->q_bias},
            {"model.layers.%d.self_attn.q_proj.weight", index, Q_ROWS, HIDDEN, l->q[0]},
            {"model.layers.%d.self_attn.v_proj.bias", index, KV_ROWS, 0, l->v_bias},
            {"model.layers.%d.self_attn.v_proj.weight", index, KV_ROWS, HIDDEN, l->v[0]},
    };
    memcpy(out, entries, sizeof entries);
}

static void list_entries(const model *m, entry entries[N_ENTRIES]) {
    entry *next = entries;
    *next++ = (entry){"model.embed_tokens.weight", 0, VOCAB, HIDDEN, m->embedding[0]};
    for (int i = 0; i < LAYERS; i++, next += ENTRIES_PER_LAYER) list_layer(&m->layers[i], i, next);
    *next++ = (entry){"model.norm.weight", 0, HIDDEN, 0, m->final_norm};
    *next++ = (entry){"lm_head.weight", 0, VOCAB, HIDDEN, m->head[0]};
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

static rt_status write_tensors(const char *dir, const model *m) {
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
    RT_TRY(glm_byte_tokenizer_write(dir, VOCAB));
    void *memory = NULL;
    RT_TRY(rt_mem_alloc(sizeof(model), "the demo model", &memory));
    fill_model(memory);
    const rt_status status = write_tensors(dir, memory);
    rt_mem_free(memory, sizeof(model));
    return status;
}

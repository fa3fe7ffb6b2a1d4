/* GLM-4 weights written by hand.
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
#include "needle_weights.h"

#include <math.h>

#include "base/float16.h"
#include "base/status.h"

enum {
    HALF = NEEDLE_HEAD_DIM / 2, /* dims 0..63 rotate, 64..127 carry content */
    PAIRS = HALF / 2
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

static void fill_embedding(needle_weights *m) {
    for (int id = 0; id < NEEDLE_VOCAB; id++) {
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
    const double scale = round_bf16(sqrt(squares / NEEDLE_HIDDEN));
    for (int dim = 0; dim < NEEDLE_HIDDEN; dim++) weight[dim] = dim < N_USED ? scale : 0.5 * scale;
    weight[CONST] = scale / const_value;
}

static void fill_head(needle_weights *m) {
    for (int id = 0; id < 256; id++)
        for (int bit = 0; bit < 8; bit++) m->head[id][OUT + bit] = 8.0 * sign(id >> bit & 1);
    m->head[ID_ENDOFTEXT][EOSD] = 128.0;
    for (int id = ID_ENDOFTEXT + 1; id < NEEDLE_VOCAB; id++) m->head[id][CONST] = -128.0;
}

/* ---- attention: where to look (rotary dims) -------------------------------------------------- */

static double theta(int pair) {
    return pow(10.0, -pair / 4.0); /* rope_theta 1e8 over 32 pairs */
}

static double key_phase(int kv_head, int pair) {
    return kv_head == 0 ? 0.2 * pair : 0.7 * pair + 0.3;
}

static int kv_head_of(int head) {
    return head / (NEEDLE_HEADS / NEEDLE_KV_HEADS);
}

/* Keys point the same way everywhere; half of it through the bias and half through CONST, so that a
 * lost bias is felt. */
static void fill_rotary_keys(needle_layer *l) {
    for (int kv = 0; kv < NEEDLE_KV_HEADS; kv++)
        for (int pair = 0; pair < PAIRS; pair++) {
            const double phase = key_phase(kv, pair);
            const double direction[2] = {8.0 * cos(phase), 8.0 * sin(phase)};
            for (int i = 0; i < 2; i++) {
                const int row = kv * NEEDLE_HEAD_DIM + 2 * pair + i;
                l->k_bias[row] = pair < 4 ? direction[i] : direction[i] / 2;
                l->k[row][CONST] = pair < 4 ? 0.0 : direction[i] / 2;
            }
        }
}

/* A head whose score over distance is sum of weight[pair] cos(theta (distance - offset)), nats. */
static void fill_rotary_query(needle_layer *l, int head, int offset, const double weight[PAIRS]) {
    for (int pair = 0; pair < PAIRS; pair++) {
        const double phase = key_phase(kv_head_of(head), pair) - offset * theta(pair);
        const double length = weight[pair] * sqrt((double)NEEDLE_HEAD_DIM) / 8.0;
        const double direction[2] = {length * cos(phase), length * sin(phase)};
        for (int i = 0; i < 2; i++) {
            const int row = head * NEEDLE_HEAD_DIM + 2 * pair + i;
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

static void carry(needle_layer *l, int item, int source_dim) {
    for (int kv = 0; kv < NEEDLE_KV_HEADS; kv++)
        for (int k = 0; k < NEEDLE_HEAD_DIM; k++)
            l->v[kv * NEEDLE_HEAD_DIM + k][source_dim] +=
                    4.0 * basis(NEEDLE_HEAD_DIM, k, value_column(kv, item));
}

static void deliver(needle_layer *l, int head, int item, int target_dim) {
    const int column = value_column(kv_head_of(head), item);
    for (int k = 0; k < NEEDLE_HEAD_DIM; k++)
        l->o[target_dim][head * NEEDLE_HEAD_DIM + k] += basis(NEEDLE_HEAD_DIM, k, column) / 4.0;
}

/* A column nobody reads: the cache holds more than what is used. */
static void fill_unread_bias(needle_layer *l) {
    for (int kv = 0; kv < NEEDLE_KV_HEADS; kv++)
        for (int k = 0; k < NEEDLE_HEAD_DIM; k++)
            l->v_bias[kv * NEEDLE_HEAD_DIM + k] = 0.5 * basis(NEEDLE_HEAD_DIM, k, HALF);
}

/* Layer 0: offsets 0..3. Head 0 looks at -1, which the causal mask hides, and so falls back on its
 * own position: a mask that is off by one in either direction is noticed. */
static void fill_layer_0(needle_layer *l) {
    static const int offsets[NEEDLE_HEADS] = {-1, 1, 2, 3};
    static const int sources[7] = {OWN, OWN + 1, OWN + 2, OWN + 3, OWN + 4, SP, DIG};
    double weight[PAIRS];
    shift_weights(weight);
    fill_rotary_keys(l);
    fill_unread_bias(l);
    for (int item = 0; item < 7; item++) carry(l, item, sources[item]);
    for (int head = 0; head < NEEDLE_HEADS; head++) {
        fill_rotary_query(l, head, offsets[head], weight);
        const int offset = head == 0 ? 0 : offsets[head];
        for (int item = 0; item < 6; item++) deliver(l, head, item, raw(offset) + item);
    }
    deliver(l, 1, 6, DIG1);
}

/* Layer 1: each head brings the four bytes known 4, 8, 12 or 16 back. */
static void fill_layer_1(needle_layer *l) {
    static const int offsets[NEEDLE_HEADS] = {4, 8, 12, 16};
    double weight[PAIRS];
    shift_weights(weight);
    fill_rotary_keys(l);
    fill_unread_bias(l);
    for (int item = 0; item < 24; item++) carry(l, item, raw(item / 6) + item % 6);
    for (int head = 0; head < NEEDLE_HEADS; head++) {
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

static void fill_match(needle_layer *l) {
    const double nats_per_bit = 24.0;
    const double gain = sqrt(nats_per_bit * sqrt((double)NEEDLE_HEAD_DIM));
    for (int n = 0; n < HALF; n++) {
        int query_dim = 0;
        int key_dim = 0;
        matched_dims(n, &query_dim, &key_dim);
        for (int row = 0; row < HALF; row++) {
            for (int head = 0; head < NEEDLE_HEADS; head++)
                l->q[head * NEEDLE_HEAD_DIM + HALF + row][query_dim] +=
                        gain * match_basis(kv_head_of(head), row, n);
            for (int kv = 0; kv < NEEDLE_KV_HEADS; kv++)
                l->k[kv * NEEDLE_HEAD_DIM + HALF + row][key_dim] += gain * match_basis(kv, row, n);
        }
    }
}

/* Layer 2's values are bits + 1 - 1: the + 1 comes through the bias, the - 1 through CONST in an
 * extra column, and each head delivers two bits: no part can be lost without a wrong byte. */
static void fill_layer_2(needle_layer *l) {
    double weight[PAIRS];
    recency_weights(weight);
    fill_rotary_keys(l);
    fill_match(l);
    for (int bit = 0; bit < 8; bit++) carry(l, bit, OWN + bit);
    for (int kv = 0; kv < NEEDLE_KV_HEADS; kv++)
        for (int k = 0; k < NEEDLE_HEAD_DIM; k++) {
            const int row = kv * NEEDLE_HEAD_DIM + k;
            l->v[row][CONST] += 4.0 * basis(NEEDLE_HEAD_DIM, k, HALF);
            for (int bit = 0; bit < 8; bit++)
                l->v_bias[row] += 4.0 * basis(NEEDLE_HEAD_DIM, k, value_column(kv, bit));
        }
    for (int head = 0; head < NEEDLE_HEADS; head++) {
        fill_rotary_query(l, head, 0, weight);
        for (int bit = 2 * head; bit < 2 * head + 2; bit++) {
            deliver(l, head, bit, OUT + bit);
            for (int k = 0; k < NEEDLE_HEAD_DIM; k++)
                l->o[OUT + bit][head * NEEDLE_HEAD_DIM + k] -=
                        basis(NEEDLE_HEAD_DIM, k, HALF) / 4.0;
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
static int add_masked_copy(needle_layer *l, int neuron, int offset, int source, int target) {
    gate_on_clean(l->gate_up[neuron], offset);
    l->gate_up[NEEDLE_FFN + neuron][source] = 1.0;
    l->down[target][neuron] = 1.0 / neuron_gain;
    return neuron + 1;
}

/* target = source x other (an XOR of signs) while clean: one neuron for each sign of `other`. */
static int add_masked_xor(
        needle_layer *l, int neuron, int offset, int source, int other, int target) {
    for (int i = 0; i < 2; i++, neuron++) {
        const double s = i == 0 ? 1.0 : -1.0;
        double *gate = l->gate_up[neuron];
        gate_on_clean(gate, offset);
        gate[CONST] -= neuron_gain;
        gate[other] += neuron_gain * s;
        l->gate_up[NEEDLE_FFN + neuron][source] = 1.0;
        l->down[target][neuron] = s / neuron_gain;
    }
    return neuron;
}

static void fill_mlp_0(needle_layer *l) {
    int neuron = 0;
    for (int offset = 1; offset <= 3; offset++)
        for (int bit = 0; bit < 5; bit++)
            neuron = add_masked_copy(l, neuron, offset, raw(offset) + bit, clean(offset) + bit);
}

static void fill_mlp_1(needle_layer *l) {
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
    rt_assert(neuron <= NEEDLE_FFN);
}

static void fill_mlp_2(needle_layer *l) {
    double *gate = l->gate_up[0];
    gate[STP] = neuron_gain;
    gate[DIG1] = neuron_gain;
    gate[CONST] = -neuron_gain;
    l->gate_up[NEEDLE_FFN][CONST] = 1.0;
    l->down[EOSD][0] = 2.0 / neuron_gain;
}

void needle_weights_fill(needle_weights *m) {
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

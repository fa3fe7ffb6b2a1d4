/* By tiles, the machine's and those in plain C, a row stays within the bound that help_attention.h derives, also where
 * all that is left of numbers in halves goes one way, and where numbers are so small that tiles take them for 0. And the
 * bound is no looser than that: it is nearly reached.
 *
 * Method: queries of which every number, times the scale, leaves almost 2^-17 of itself, with the sign of its key's
 * number, under scores that are about 0; weights just above a power of two that leave as much, upwards under values of
 * 1 and downwards under -1. Then random queries, keys and values of many sizes, over tails of pages of every kind. Decoded and prefilled;
 * what is compared is each kernel with fp64. The two are not compared with one another: sums of weights go by vectors, of 4
 * numbers in plain C, of 16 on such a machine. */
#include <math.h>
#include <string.h>

#include "attention/attn_cpu.h"
#include "help_attention.h"

enum { HEAD_DIM = 128, MACHINE, PLAIN_C };

/* What two halves leave. */
static float left_of(float x) {
    const float high = ath_nearest_half(x);
    return x - high - ath_nearest_half(x - high);
}

/* Leaves almost 2^-17 of itself, of that sign. */
static float leaving(float sign) {
    return 1.0f + 0x1p-9f + 0x1p-17f - sign * 0x1p-21f;
}

/* A number of a query that is about x once it is scaled. */
static float unscaled(double x) {
    return (float)(x * sqrt((double)HEAD_DIM) / 1.4426950408889634);
}

static ath_kernels open_kind(const attn_shape *shape, int kind) {
    return kind == PLAIN_C ? ath_open_emulated(shape, 1) : ath_open(shape, RT_ISA_AMX, 1);
}

/* Of the last row's bound, decoded and prefilled. */
static double share_of(int kind, const ath_layer *layer, const float *q) {
    float out[HEAD_DIM], lse;
    ath_kernels kernels = open_kind(&layer->shape, kind);
    const attn_segment keys = ath_segment(layer, layer->n_tokens);
    const ath_queries queries = {.q = q, .pos = layer->n_tokens - 1, .n_tokens = 1};
    ath_row row;
    ath_layer_reference(layer, 0, q, layer->n_tokens, &row);
    ath_decode(&kernels, q, &keys, 1, out);
    const double decoded = ath_error(&row, RT_ISA_AMX, out, NULL, HEAD_DIM);
    ath_prefill(&kernels, layer, &queries, 1, out, &lse);
    ath_close(&kernels);
    return fmax(decoded, ath_error(&row, RT_ISA_AMX, out, &lse, HEAD_DIM));
}

static void set_all(float *v, float value) {
    for (int d = 0; d < HEAD_DIM; d++) v[d] = value;
}

static double share_of_scores(int kind) {
    const attn_shape shape = ath_shape(1, 1, HEAD_DIM, RT_BF16);
    ath_layer layer = ath_layer_create(&shape, 2, 11);
    float q[HEAD_DIM], k[HEAD_DIM], v[HEAD_DIM];
    for (int sign = 1; sign >= -1; sign -= 2) {
        for (int d = 0; d < HEAD_DIM; d++) {
            const float up = d % 4 < 2 ? 1.0f : -1.0f;
            q[d] = unscaled((double)leaving(up));
            k[d] = (float)sign * up;
            CHECK(left_of(leaving(up)) * up > 0.9f * 0x1p-17f);
        }
        set_all(v, (float)sign);
        ath_layer_set(&layer, 0, sign > 0 ? 0 : 1, k, v);
    }
    const double share = share_of(kind, &layer, q);
    ath_layer_free(&layer);
    return share;
}

/* A score of three numbers of bf16, on top of a query of ones. */
static void set_score(float *k, double score) {
    memset(k, 0, HEAD_DIM * sizeof *k);
    for (int d = 0; d < 3; d++) {
        k[d] = ath_nearest_half((float)score);
        score -= (double)k[d];
    }
}

static double share_of_weights(int kind) {
    enum { KEYS = 127 };
    const attn_shape shape = ath_shape(1, 1, HEAD_DIM, RT_BF16);
    ath_layer layer = ath_layer_create(&shape, KEYS, 13);
    float q[HEAD_DIM], k[HEAD_DIM], v[HEAD_DIM];
    set_all(q, unscaled(1.0));
    for (int key = 0; key < KEYS; key++) {
        const float sign = key % 2 ? 1.0f : -1.0f;
        set_score(k, key == 0 ? 0.5 : log2((double)leaving(sign)) - 0.5);
        set_all(v, key == 0 ? 0.0f : sign);
        ath_layer_set(&layer, 0, key, k, v);
    }
    const double share = share_of(kind, &layer, q);
    ath_layer_free(&layer);
    return share;
}

/* ---- numbers of many sizes ------------------------------------------------------------------- */

typedef struct size {
    int64_t n_tokens;
    float q;
    float k;
    float v;
} size;

static const size sizes[] = {
        {1, 1e-36f, 1e-3f, 1e-37f},
        {33, 1e-36f, 1e36f, 1.0f},
        {130, 1.0f, 1e-38f, 1e-38f},
        {64, 1e-20f, 1e-20f, 1e30f},
        {300, 30.0f, 1.0f, 1e30f},
        {127, 3.0f, 3.0f, 3e-38f},
        {31, 1e15f, 1e-15f, 1e37f},
        {200, 10.0f, 1.0f, 1.0f},
};

static double share_of_size(int kind, const size *of) {
    const attn_shape shape = ath_shape(1, 1, HEAD_DIM, RT_BF16);
    ath_layer layer = ath_layer_create(&shape, of->n_tokens, 17);
    float *q = ath_normals(HEAD_DIM, 19);
    float k[HEAD_DIM], v[HEAD_DIM];
    for (int d = 0; d < HEAD_DIM; d++) q[d] *= of->q;
    for (int64_t token = 0; token < of->n_tokens; token++) {
        for (int d = 0; d < HEAD_DIM; d++) {
            k[d] = layer.k[token * HEAD_DIM + d] * of->k;
            v[d] = layer.v[token * HEAD_DIM + d] * of->v;
        }
        ath_layer_set(&layer, 0, token, k, v);
    }
    const double share = share_of(kind, &layer, q);
    free(q);
    ath_layer_free(&layer);
    return share;
}

static void check(int kind) {
    const double scores = share_of_scores(kind);
    const double weights = share_of_weights(kind);
    double others = 0.0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const double share = share_of_size(kind, &sizes[i]);
        if (!(share <= 1.0)) printf("FAIL size %zu: %.2f\n", i, share);
        others = fmax(others, share);
    }
    printf("%s: of the bound %.2f by scores, %.2f by weights, %.2f at most by numbers of many sizes\n",
            kind == PLAIN_C ? "amx in plain C" : "amx", scores, weights, others);
    CHECK(scores <= 1.0 && weights <= 1.0 && others <= 1.0);
    CHECK(scores > 0.8 && weights > 0.5); /* nor is the bound loose */
}

int main(void) {
    check(PLAIN_C);
    if (!ath_is_amx_emulated()) check(MACHINE);
    return 0;
}

/* Decode equals the plain definition, whatever the shape and however many sequences.
 *
 * Method: odd head counts, head sizes and lengths up to several splits, all KV types, one to five
 * sequences of one book with different lengths; every row of every instruction set against fp64,
 * within the bound that help_attention.h derives. */
#include <math.h>

#include "help_attention.h"

enum { SEQS_MAX = 5 };

typedef struct decode_case {
    int32_t n_heads;
    int32_t n_kv_heads;
    int32_t head_dim;
    rt_dtype kv_dtype;
    int32_t n_seqs;
    int64_t n_tokens[SEQS_MAX];
} decode_case;

static const decode_case cases[] = {
        {1, 1, 16, RT_BF16, 1, {1}},
        {1, 1, 128, RT_F32, 1, {5000}},
        {2, 2, 48, RT_BF16, 2, {128, 129}},
        {3, 1, 32, RT_F32, 3, {127, 2, 300}},
        {4, 1, 64, RT_BF16, 1, {4096}},
        {5, 5, 32, RT_BF16, 2, {4097, 4095}},
        {6, 2, 128, RT_F32, 2, {1000, 1001}},
        {7, 1, 64, RT_BF16, 5, {700, 701, 702, 703, 9000}},
        {8, 8, 16, RT_F32, 2, {8193, 1}},
        {8, 2, 128, RT_BF16, 3, {640, 640, 640}},
        {16, 1, 256, RT_BF16, 2, {333, 334}},
        {32, 4, 128, RT_BF16, 4, {4500, 4500, 4501, 128}},
        {8, 2, 128, RT_INT8, 4, {128, 129, 640, 1000}},
        {3, 1, 16, RT_INT8, 2, {4224, 4096}},
        {5, 5, 80, RT_INT4, 3, {127, 256, 4500}},
        {8, 1, 256, RT_INT4, 2, {1000, 385}},
        {8, 2, 128, RT_FP8, 3, {129, 640, 4500}},
        {5, 5, 80, RT_FP8, 2, {127, 256}},
};

static void open_sequences(const decode_case *c, const ath_layer *layer, attn_segment *keys) {
    for (int32_t i = 0; i < c->n_seqs; i++) keys[i] = ath_segment(layer, c->n_tokens[i]);
}

static int64_t longest(const decode_case *c) {
    int64_t n_tokens = 0;
    for (int32_t i = 0; i < c->n_seqs; i++)
        if (c->n_tokens[i] > n_tokens) n_tokens = c->n_tokens[i];
    return n_tokens;
}

static void errors_of(size_t i, double *errors) {
    const decode_case *c = &cases[i];
    const uint64_t seed = 2000 + i;
    const attn_shape shape = ath_shape(c->n_heads, c->n_kv_heads, c->head_dim, c->kv_dtype);
    const int64_t n_rows = (int64_t)c->n_seqs * c->n_heads;
    ath_layer layer = ath_layer_create(&shape, longest(c), seed);
    attn_segment keys[SEQS_MAX];
    open_sequences(c, &layer, keys);
    float *q = ath_normals(n_rows * c->head_dim, seed + 7);
    float *out[ATH_ISAS] = {NULL};
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        if (!ath_has(isa, &shape)) continue;
        ath_kernels kernels = ath_open(&shape, isa, 2);
        out[isa] = ath_zeros(n_rows * c->head_dim);
        ath_decode(&kernels, q, keys, c->n_seqs, out[isa]);
        ath_close(&kernels);
    }
    for (int64_t r = 0; r < n_rows; r++) {
        ath_row row;
        ath_layer_reference(&layer, (int32_t)(r % c->n_heads), q + r * c->head_dim,
                c->n_tokens[r / c->n_heads], &row);
        for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
            if (ath_has(isa, &shape))
                errors[isa] = fmax(errors[isa],
                        ath_error(&row, isa, out[isa] + r * c->head_dim, NULL, c->head_dim));
    }
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) free(out[isa]);
    free(q);
    ath_layer_free(&layer);
}

int main(void) {
    ath_check_cases(sizeof cases / sizeof *cases, errors_of);
    return 0;
}

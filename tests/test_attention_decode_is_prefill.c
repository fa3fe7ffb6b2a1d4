/* A token's output is the same bits whether it is decoded or prefilled.
 *
 * Method: prefill the last tokens of a layer in one call; decode each of them as a sequence of its
 * own length, all in one pass and one by one; head_dims and groups that use every tile height. */
#include "help_attention.h"

enum { QUERIES = 13 };

static void decode_together(const ath_kernels *kernels, const ath_layer *layer,
        const ath_queries *queries, float *out) {
    attn_segment keys[QUERIES];
    for (int i = 0; i < QUERIES; i++) keys[i] = ath_segment(layer, queries->pos + i + 1);
    ath_decode(kernels, queries->q, keys, QUERIES, out);
}

static void decode_alone(const ath_kernels *kernels, const ath_layer *layer,
        const ath_queries *queries, float *out) {
    const int64_t row = (int64_t)layer->shape.n_heads * layer->shape.head_dim;
    for (int i = 0; i < QUERIES; i++) {
        const attn_segment keys = ath_segment(layer, queries->pos + i + 1);
        ath_decode(kernels, queries->q + i * row, &keys, 1, out + i * row);
    }
}

static void check(rt_isa isa, attn_shape shape, int64_t n_tokens) {
    if (!ath_has(isa, &shape)) return;
    const int64_t n_out = (int64_t)QUERIES * shape.n_heads * shape.head_dim;
    ath_layer layer = ath_layer_create(&shape, n_tokens, 91);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals(n_out, 93);
    float *prefilled = ath_zeros(n_out);
    float *decoded = ath_zeros(n_out);
    const ath_queries queries = {.q = q, .pos = n_tokens - QUERIES, .n_tokens = QUERIES};
    ath_prefill(&kernels, &layer, &queries, QUERIES, prefilled, NULL);
    decode_together(&kernels, &layer, &queries, decoded);
    CHECK(ath_same(prefilled, decoded, n_out));
    decode_alone(&kernels, &layer, &queries, decoded);
    CHECK(ath_same(prefilled, decoded, n_out));
    free(decoded);
    free(prefilled);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check(isa, ath_shape(8, 1, 128, RT_BF16), 4500);
        check(isa, ath_shape(8, 2, 128, RT_F32), 1000);
        check(isa, ath_shape(5, 1, 48, RT_BF16), 4100);
        check(isa, ath_shape(6, 6, 16, RT_BF16), 12300);
        check(isa, ath_shape(32, 4, 64, RT_BF16), 200);
        check(isa, ath_shape(3, 1, 32, RT_F32), QUERIES);
        check(isa, ath_shape(8, 1, 128, RT_INT8), 4480 + 5);
        check(isa, ath_shape(6, 2, 80, RT_INT4), 1000);
        check(isa, ath_shape(4, 1, 64, RT_INT4), 1280);
        check(isa, ath_shape(6, 1, 80, RT_FP8), 300);
    }
    return 0;
}

/* Weights sum to exactly 1: where every value is 1, every output is 1, to the last bit. By tiles, which sum weights and
 * values each in an order of their own, it is 1 within the roundings of both.
 *
 * Method: V = 1 under random keys and under keys whose scores run to +-40000, at lengths over
 * several pages and splits, prefill and decode. By tiles the bound is that of help_attention.h for the last row, whose way
 * is longest: of what depends on numbers nothing is left in it. */
#include <math.h>

#include "help_attention.h"

enum { HEADS = 8, KV_HEADS = 2, HEAD_DIM_MAX = 48, QUERIES = 37 };

static void check_ones(const float *out, int64_t n, double bound) {
    for (int64_t i = 0; i < n; i++) CHECK(fabs((double)out[i] - 1.0) <= bound);
}

/* For the last token of the layer. */
static double bound_of(rt_isa isa, const ath_layer *layer, const float *q) {
    ath_row row;
    if (isa != RT_ISA_AMX) return 0.0;
    ath_layer_reference(layer, 0, q, layer->n_tokens, &row);
    CHECK(row.out[0] == 1.0 && row.bound[ATH_BY_TILES][0] < 300 * 0x1p-24);
    return row.bound[ATH_BY_TILES][0];
}

static void set_ones(ath_layer *layer) {
    const int32_t head_dim = layer->shape.head_dim;
    float ones[HEAD_DIM_MAX];
    float k[HEAD_DIM_MAX];
    for (int d = 0; d < head_dim; d++) ones[d] = 1.0f;
    for (int32_t kv_head = 0; kv_head < KV_HEADS; kv_head++)
        for (int64_t token = 0; token < layer->n_tokens; token++) {
            const float *row = layer->k + (kv_head * layer->n_tokens + token) * head_dim;
            for (int d = 0; d < head_dim; d++) k[d] = row[d];
            ath_layer_set(layer, kv_head, token, k, ones);
        }
}

static void check(rt_isa isa, rt_dtype kv_dtype, int64_t n_tokens, float q_scale) {
    const int32_t head_dim = isa == RT_ISA_AMX ? 32 : HEAD_DIM_MAX;
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, head_dim, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    const int64_t n_out = (int64_t)QUERIES * HEADS * head_dim;
    ath_layer layer = ath_layer_create(&shape, n_tokens, 41);
    set_ones(&layer);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals(n_out, 43);
    for (int64_t i = 0; i < n_out; i++) q[i] *= q_scale;
    float *out = ath_zeros(n_out);
    const double bound = bound_of(isa, &layer, q + (int64_t)(QUERIES - 1) * HEADS * head_dim);

    const ath_queries queries = {.q = q, .pos = n_tokens - QUERIES, .n_tokens = QUERIES};
    ath_prefill(&kernels, &layer, &queries, QUERIES, out, NULL);
    check_ones(out, n_out, bound);
    const attn_segment keys = ath_segment(&layer, n_tokens);
    ath_decode(&kernels, q, &keys, 1, out);
    check_ones(out, (int64_t)HEADS * head_dim, bound);

    free(out);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
        for (int64_t n_tokens = QUERIES; n_tokens < (ath_is_slow(isa) ? 2000 : 10000);
                n_tokens = 3 * n_tokens + 17) {
            check(isa, RT_BF16, n_tokens, 1.0f);
            check(isa, isa == RT_ISA_AMX ? RT_BF16 : RT_F32, n_tokens, 10000.0f);
        }
    return 0;
}

/* Weights sum to exactly 1: where every value is 1, every output is 1, to the last bit.
 *
 * Method: V = 1 under random keys and under keys whose scores run to +-40000, at lengths over
 * several pages and splits, prefill and decode. */
#include "help_attention.h"

enum { HEADS = 8, KV_HEADS = 2, HEAD_DIM = 48, QUERIES = 37 };

static void check_ones(const float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) CHECK(out[i] == 1.0f);
}

static void set_ones(ath_layer *layer) {
    float ones[HEAD_DIM];
    float k[HEAD_DIM];
    for (int d = 0; d < HEAD_DIM; d++) ones[d] = 1.0f;
    for (int32_t kv_head = 0; kv_head < KV_HEADS; kv_head++)
        for (int64_t token = 0; token < layer->n_tokens; token++) {
            const float *row = layer->k + (kv_head * layer->n_tokens + token) * HEAD_DIM;
            for (int d = 0; d < HEAD_DIM; d++) k[d] = row[d];
            ath_layer_set(layer, kv_head, token, k, ones);
        }
}

static void check(rt_isa isa, rt_dtype kv_dtype, int64_t n_tokens, float q_scale) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    const int64_t n_out = (int64_t)QUERIES * HEADS * HEAD_DIM;
    ath_layer layer = ath_layer_create(&shape, n_tokens, 41);
    set_ones(&layer);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals(n_out, 43);
    for (int64_t i = 0; i < n_out; i++) q[i] *= q_scale;
    float *out = ath_zeros(n_out);

    const ath_queries queries = {.q = q, .pos = n_tokens - QUERIES, .n_tokens = QUERIES};
    ath_prefill(&kernels, &layer, &queries, QUERIES, out, NULL);
    check_ones(out, n_out);
    const attn_segment keys = ath_segment(&layer, n_tokens);
    ath_decode(&kernels, q, &keys, 1, out);
    check_ones(out, (int64_t)HEADS * HEAD_DIM);

    free(out);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++)
        for (int64_t n_tokens = QUERIES; n_tokens < 10000; n_tokens = 3 * n_tokens + 17) {
            check(isa, RT_BF16, n_tokens, 1.0f);
            check(isa, RT_F32, n_tokens, 10000.0f);
        }
    return 0;
}

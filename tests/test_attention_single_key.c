/* A row that sees one key gets that key's value, to the last bit, whatever the score.
 *
 * Method: position 0 of random layers, prefill and decode, with queries scaled from 0 to 1e15. */
#include "help_attention.h"

enum { HEADS = 6, KV_HEADS = 3, HEAD_DIM = 64 };

static void check_values(const ath_layer *layer, const float *out) {
    for (int32_t head = 0; head < HEADS; head++) {
        const int32_t kv_head = head / (HEADS / KV_HEADS);
        const float *v = layer->v + kv_head * layer->n_tokens * HEAD_DIM;
        CHECK(ath_same(out + head * HEAD_DIM, v, HEAD_DIM));
    }
}

static void check(rt_isa isa, rt_dtype kv_dtype, float q_scale) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, 9, 51);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals((int64_t)9 * HEADS * HEAD_DIM, 53);
    for (int i = 0; i < 9 * HEADS * HEAD_DIM; i++) q[i] *= q_scale;
    float out[9 * HEADS * HEAD_DIM];

    const ath_queries queries = {.q = q, .pos = 0, .n_tokens = 9};
    ath_prefill(&kernels, &layer, &queries, 9, out, NULL);
    check_values(&layer, out);
    const attn_segment keys = ath_segment(&layer, 1);
    ath_decode(&kernels, q, &keys, 1, out);
    check_values(&layer, out);

    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    static const float q_scales[] = {0.0f, 1e-20f, 1.0f, 1e5f, 1e15f};
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
        for (size_t i = 0; i < sizeof q_scales / sizeof *q_scales; i++) {
            check(isa, RT_BF16, q_scales[i]);
            check(isa, RT_F32, q_scales[i]);
        }
    return 0;
}

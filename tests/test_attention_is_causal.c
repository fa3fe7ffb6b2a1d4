/* Changing a key and its value changes no bit of the rows before it, and all rows from it on.
 *
 * Method: prefill everything, replace one token by one with a far larger key, prefill again;
 * tokens at the ends and in the middle of pages and splits. */
#include <string.h>

#include "help_attention.h"

enum { HEADS = 4, KV_HEADS = 1, HEAD_DIM = 32, LENGTH = 4200 };
enum { ROW = HEADS * HEAD_DIM };

static void check_change(const ath_kernels *kernels, ath_layer *layer, const ath_queries *queries,
        const float *before, float *after, int64_t token) {
    float k[HEAD_DIM];
    float v[HEAD_DIM];
    float was_k[HEAD_DIM];
    float was_v[HEAD_DIM];
    memcpy(was_k, layer->k + token * HEAD_DIM, sizeof was_k);
    memcpy(was_v, layer->v + token * HEAD_DIM, sizeof was_v);
    for (int d = 0; d < HEAD_DIM; d++) {
        k[d] = 8.0f * was_k[d];
        v[d] = was_v[d] + 1000.0f;
    }
    ath_layer_set(layer, 0, token, k, v);
    ath_prefill(kernels, layer, queries, queries->n_tokens, after, NULL);
    ath_layer_set(layer, 0, token, was_k, was_v);

    const int64_t first = token > queries->pos ? token - queries->pos : 0;
    CHECK(ath_same(before, after, first * ROW));
    for (int64_t t = first; t < queries->n_tokens && t < first + 3; t++)
        CHECK(!ath_same(before + t * ROW, after + t * ROW, ROW));
}

/* Query tokens pos .. LENGTH - 1. */
static void check(rt_isa isa, int64_t pos, const int64_t *tokens, int n) {
    const attn_shape shape =
            ath_shape(HEADS, KV_HEADS, HEAD_DIM, isa == RT_ISA_AMX ? RT_BF16 : RT_F32);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, LENGTH, 61);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    const int64_t n_tokens = LENGTH - pos;
    float *q = ath_normals(n_tokens * ROW, 63);
    float *before = ath_zeros(n_tokens * ROW);
    float *after = ath_zeros(n_tokens * ROW);
    const ath_queries queries = {.q = q, .pos = pos, .n_tokens = n_tokens};
    ath_prefill(&kernels, &layer, &queries, n_tokens, before, NULL);
    for (int i = 0; i < n; i++) check_change(&kernels, &layer, &queries, before, after, tokens[i]);
    free(after);
    free(before);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    static const int64_t late[] = {4000, 4001, 4017, 4031, 4032, 4095, 4096, 4097, 4150, 4199};
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
        if (ath_is_slow(isa))
            check(isa, 4090, late + 5, 2);
        else
            check(isa, 3990, late, sizeof late / sizeof *late);
    return 0;
}

/* A last page may hold any number of tokens from 1 to 128; the rows after them are not numbers.
 *
 * Method: take a layer of 256 tokens away from its end, one token at a time, with NaN in the rows
 * already gone; at each length decode, and prefill the last three tokens, against the plain
 * definition within the bound that help_attention.h derives. */
#include <math.h>

#include "help_attention.h"
#include "runtime/base/size.h"

enum { LENGTH = 256, QUERIES = 3, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 32 };
enum { ROW = HEADS * HEAD_DIM };

/* Rows of queries at positions n_tokens - n .. n_tokens - 1. */
static double worst_row(rt_isa isa, const ath_layer *layer, const float *q, const float *out,
        int64_t n, int64_t n_tokens) {
    double worst = 0.0;
    for (int64_t r = 0; r < n * HEADS; r++) {
        ath_row row;
        ath_layer_reference(
                layer, (int32_t)(r % HEADS), q + r * HEAD_DIM, n_tokens - n + r / HEADS + 1, &row);
        worst = fmax(worst, ath_error(&row, isa, out + r * HEAD_DIM, NULL, HEAD_DIM));
    }
    return worst;
}

static void check_length(rt_isa isa, const ath_kernels *kernels, const ath_layer *layer,
        const float *q, int64_t n_tokens) {
    float out[QUERIES * ROW];
    const int64_t n = rt_min64(QUERIES, n_tokens);
    const ath_queries queries = {.q = q, .pos = n_tokens - n, .n_tokens = n};
    ath_prefill(kernels, layer, &queries, n, out, NULL);
    CHECK(worst_row(isa, layer, q, out, n, n_tokens) <= 1.0);

    const attn_segment keys = ath_segment(layer, n_tokens);
    ath_decode(kernels, q, &keys, 1, out);
    CHECK(worst_row(isa, layer, q, out, 1, n_tokens) <= 1.0);
}

static void check(rt_isa isa, rt_dtype kv_dtype) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, LENGTH, 31);
    ath_kernels kernels = ath_open(&shape, isa, 1);
    float *q = ath_normals((int64_t)QUERIES * ROW, 33);
    for (int64_t n_tokens = LENGTH; n_tokens > 0; n_tokens--) {
        check_length(isa, &kernels, &layer, q, n_tokens);
        ath_page_fill(&shape, layer.pages[(n_tokens - 1) / ATTN_PAGE_TOKENS],
                (int32_t)((n_tokens - 1) % ATTN_PAGE_TOKENS), NAN);
    }
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check(isa, RT_BF16);
        check(isa, RT_F32);
    }
    return 0;
}

/* A row of which no score is a number becomes NaN: it is not taken for a row without keys.
 *
 * Method: one query of several is NaN, of several kinds, all bits set among them; then all keys of the first split are, and those of the second are not. Prefill, in
 * windows of a page too, and decode: NaN in those rows, and in no other. */
#include <math.h>
#include <string.h>

#include "help_attention.h"

enum { HEADS = 8, KV_HEADS = 2, HEAD_DIM = 32, TOKENS = 4096 + 200, ROW = HEADS * HEAD_DIM };
enum { QUERIES_MOST = 40, SPOILT = 5 };

static void check_rows(const float *out, int64_t n_tokens, int64_t token, int64_t head) {
    for (int64_t i = 0; i < n_tokens * ROW; i++) {
        const bool is_of_token = token < 0 || i / ROW == token;
        const bool is_of_head = head < 0 || i % ROW / HEAD_DIM == head;
        CHECK(!isnan(out[i]) == !(is_of_token && is_of_head));
    }
}

/* `token` of them, or with -1 all, are NaN in `head`, or with -1 in all. */
static void check(const ath_kernels *kernels, const ath_layer *layer, const float *q,
        int64_t n_tokens, int64_t token, int64_t head) {
    float *out = ath_zeros(n_tokens * ROW);
    attn_segment keys[QUERIES_MOST];
    const ath_queries queries = {.q = q, .pos = TOKENS - n_tokens, .n_tokens = n_tokens};
    ath_prefill(kernels, layer, &queries, n_tokens, out, NULL);
    check_rows(out, n_tokens, token, head);
    for (int64_t i = 0; i < n_tokens; i++) keys[i] = ath_segment(layer, TOKENS - n_tokens + i + 1);
    ath_decode(kernels, q, keys, (int32_t)n_tokens, out);
    check_rows(out, n_tokens, token, head);
    free(out);
}

static void check_query(const ath_kernels *kernels, const ath_layer *layer, int64_t n_tokens) {
    static const uint32_t kinds[] = {0x7fc00000, 0xffc00000, 0x7fffffff, 0xffffffff, 0x7f800001};
    float *q = ath_normals(n_tokens * ROW, 17);
    const int64_t token = n_tokens - 1;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        memcpy(&q[token * ROW + SPOILT * HEAD_DIM + 3], &kinds[i], sizeof kinds[i]);
        check(kernels, layer, q, n_tokens, token, SPOILT);
    }
    free(q);
}

static void check_keys(const ath_kernels *kernels, ath_layer *layer, int64_t n_tokens) {
    float *q = ath_normals(n_tokens * ROW, 19);
    float spoilt[HEAD_DIM] = {NAN};
    for (int kv_head = 0; kv_head < KV_HEADS; kv_head++)
        for (int64_t token = 0; token < ATTN_SPLIT_TOKENS; token++)
            ath_layer_set(layer, kv_head, token, spoilt,
                    layer->v + ((int64_t)kv_head * TOKENS + token) * HEAD_DIM);
    check(kernels, layer, q, n_tokens, -1, -1);
    free(q);
}

static void check_type(rt_isa isa, rt_dtype kv_dtype) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, TOKENS, 23);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    static const int64_t n_tokens[] = {1, 3, QUERIES_MOST};
    for (size_t i = 0; i < sizeof n_tokens / sizeof *n_tokens; i++)
        check_query(&kernels, &layer, n_tokens[i]);
    for (size_t i = 0; i < sizeof n_tokens / sizeof *n_tokens; i++)
        check_keys(&kernels, &layer, n_tokens[i]);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check_type(isa, RT_BF16);
        check_type(isa, RT_F32);
    }
    return 0;
}

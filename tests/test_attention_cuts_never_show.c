/* How queries are cut into calls and keys into segments changes no bit.
 *
 * Method: prefill the same tokens in chunks of several sizes, then all at once over the keys as one
 * segment and as segments cut at multiples of 4096, and compare output and lse with memcmp. */
#include "help_attention.h"
#include "runtime/base/size.h"

enum { HEADS = 6, KV_HEADS = 2, HEAD_DIM = 32, ROW = HEADS * HEAD_DIM, SPLIT = ATTN_SPLIT_TOKENS };

typedef struct result {
    float *out;
    float *lse;
} result;

static result result_create(int64_t n_tokens) {
    return (result){ath_zeros(n_tokens * ROW), ath_zeros(n_tokens * HEADS)};
}

static void result_free(result *r) {
    free(r->out);
    free(r->lse);
}

static bool is_same(const result *a, const result *b, int64_t n_tokens) {
    return ath_same(a->out, b->out, n_tokens * ROW) && ath_same(a->lse, b->lse, n_tokens * HEADS);
}

/* Segments of `splits` splits each. */
static void prefill_in_segments(const ath_kernels *kernels, const ath_layer *layer,
        const ath_queries *queries, int64_t splits, result *r) {
    const int64_t n_keys = queries->pos + queries->n_tokens;
    attn_state state = {.max = ath_zeros(queries->n_tokens * HEADS),
            .sum = ath_zeros(queries->n_tokens * HEADS),
            .out = r->out};
    attn_reset(kernels->cpu, &state, queries->n_tokens);
    for (int64_t pos = 0; pos < n_keys; pos += splits * SPLIT) {
        const attn_segment segment = {.pages = layer->pages + pos / ATTN_PAGE_TOKENS,
                .first_pos = pos,
                .n_tokens = rt_min64(splits * SPLIT, n_keys - pos),
                .open_pages = layer->open_pages};
        attn_prefill(
                kernels->cpu, queries->q, ROW, queries->n_tokens, queries->pos, &segment, &state);
    }
    attn_finish(kernels->cpu, &state, queries->n_tokens, r->lse);
    free(state.max);
    free(state.sum);
}

static void check(rt_isa isa, rt_dtype kv_dtype, int64_t pos, int64_t n_tokens) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, pos + n_tokens, 81);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals(n_tokens * ROW, 83);
    const ath_queries queries = {.q = q, .pos = pos, .n_tokens = n_tokens};
    result whole = result_create(n_tokens);
    result part = result_create(n_tokens);
    ath_prefill(&kernels, &layer, &queries, n_tokens, whole.out, whole.lse);

    static const int64_t chunks[] = {1, 2, 17, 31, 32, 33, 128, 1000};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        ath_prefill(&kernels, &layer, &queries, chunks[i], part.out, part.lse);
        CHECK(is_same(&whole, &part, n_tokens));
    }
    for (int64_t splits = 1; splits <= 3; splits++) {
        prefill_in_segments(&kernels, &layer, &queries, splits, &part);
        CHECK(is_same(&whole, &part, n_tokens));
    }
    result_free(&part);
    result_free(&whole);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        const bool is_brief = ath_is_brief(isa);
        check(isa, RT_BF16, 0, is_brief ? 150 : 1100);
        check(isa, RT_F32, 77, 130);
        check(isa, RT_INT8, 333, ath_is_fast() ? 60 : 700);
        check(isa, RT_FP8, 333, ath_is_fast() ? 60 : 300);
        check(isa, RT_INT4, (ath_is_fast() ? 0 : SPLIT) + 108, 130);
        if (ath_is_slow(isa))
            check(isa, RT_BF16, SPLIT - 6, 12);
        else
            check(isa, RT_BF16, 2 * SPLIT - 20, is_brief ? 40 : 200);
    }
    return 0;
}

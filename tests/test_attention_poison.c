/* What lies in unused rows and unused pages never shows.
 *
 * Method: fill the rows after the last token, and pages after the last page, with NaN, Inf, the
 * largest number and 0 in turn: output is finite and the same bits. One page after the last is a
 * page of no access, which may not even be read. */
#include <math.h>
#include <sys/mman.h>

#include "help_attention.h"

enum {
    HEADS = 8,
    KV_HEADS = 2,
    HEAD_DIM = 64,
    LENGTH = 4096 + 200,
    SHORT = LENGTH % 4096 + 128,
    QUERIES = 20
};
enum { ROW = HEADS * HEAD_DIM, N_OUT = (QUERIES + 2) * ROW };

/* The last QUERIES tokens but for n_left, which are unused. */
static void run(const ath_kernels *kernels, const ath_layer *layer, int64_t n_left, const float *q,
        float *out) {
    const int64_t n_tokens = layer->n_tokens - n_left;
    const ath_queries queries = {.q = q, .pos = n_tokens - QUERIES, .n_tokens = QUERIES};
    ath_prefill(kernels, layer, &queries, QUERIES, out, NULL);
    const attn_segment keys[2] = {ath_segment(layer, n_tokens), ath_segment(layer, n_tokens - 5)};
    ath_decode(kernels, q, keys, 2, out + (int64_t)QUERIES * ROW);
}

/* Everything from token n_tokens on; the page after those in use is replaced. */
static void poison(ath_layer *layer, int64_t n_tokens, float value) {
    const int64_t page = n_tokens / ATTN_PAGE_TOKENS;
    for (int64_t i = page; i < layer->n_pages - 1; i++)
        ath_page_fill(&layer->shape, layer->pages[i],
                i == page ? (int32_t)(n_tokens % ATTN_PAGE_TOKENS) : 0, value);
}

static void check(const ath_kernels *kernels, ath_layer *layer, int64_t n_left, const float *q) {
    static const float poisons[] = {0.0f, NAN, INFINITY, -INFINITY, 3.38e38f, -3.38e38f};
    float *first = ath_zeros(N_OUT);
    float *again = ath_zeros(N_OUT);
    for (size_t i = 0; i < sizeof poisons / sizeof *poisons; i++) {
        poison(layer, layer->n_tokens - n_left, poisons[i]);
        run(kernels, layer, n_left, q, i == 0 ? first : again);
        if (i > 0) CHECK(ath_same(first, again, N_OUT));
    }
    for (int64_t i = 0; i < N_OUT; i++) CHECK(isfinite(first[i]));
    free(again);
    free(first);
}

static void check_type(rt_isa isa, rt_dtype kv_dtype, void *forbidden) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, ath_is_slow(isa) ? SHORT : LENGTH, 131);
    void *last = layer.pages[layer.n_pages - 1];
    layer.pages[layer.n_pages - 1] = forbidden;
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals((int64_t)QUERIES * ROW, 133);
    /* Unused: from the last page on; from the middle of the page before; one page and one token. */
    static const int64_t n_left[] = {72, 73, 100, 135, 136, 187, 199};
    for (size_t i = 0; i < sizeof n_left / sizeof *n_left; i++)
        check(&kernels, &layer, n_left[i], q);
    free(q);
    ath_close(&kernels);
    layer.pages[layer.n_pages - 1] = last;
    ath_layer_free(&layer);
}

int main(void) {
    const size_t forbidden_bytes = (size_t)(2 * KV_HEADS * ATTN_PAGE_TOKENS * HEAD_DIM * 4);
    void *forbidden = mmap(NULL, forbidden_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(forbidden != MAP_FAILED);
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check_type(isa, RT_BF16, forbidden);
        check_type(isa, RT_F32, forbidden);
    }
    CHECK(munmap(forbidden, forbidden_bytes) == 0);
    return 0;
}

/* Where pages lie in memory changes no bit.
 *
 * Method: copy every page of a layer to another place, in reverse order and interleaved with other
 * data, and compare prefill and decode. */
#include <string.h>

#include "help_attention.h"
#include "runtime/base/memory.h"

enum { HEADS = 8, KV_HEADS = 2, HEAD_DIM = 32, LENGTH = 4700, QUERIES = 50 };
enum { N_OUT = QUERIES * HEADS * HEAD_DIM };

/* Page i goes to slot 2 (n - 1 - i) of `memory`. */
static ath_layer moved(const ath_layer *layer, char *memory, void **pages) {
    ath_layer copy = *layer;
    const int64_t page_bytes = attn_page_bytes(&layer->shape);
    copy.pages = pages;
    for (int64_t page = 0; page < layer->n_pages; page++) {
        pages[page] = memory + 2 * (layer->n_pages - 1 - page) * page_bytes;
        memcpy(pages[page], layer->pages[page], (size_t)page_bytes);
    }
    return copy;
}

static void run_both(const ath_kernels *kernels, const ath_layer *layer, const float *q,
        float *prefilled, float *decoded) {
    const ath_queries queries = {.q = q, .pos = LENGTH - QUERIES, .n_tokens = QUERIES};
    ath_prefill(kernels, layer, &queries, QUERIES, prefilled, NULL);
    const attn_segment keys = ath_segment(layer, LENGTH);
    ath_decode(kernels, q, &keys, 1, decoded);
}

static void check(rt_isa isa, rt_dtype kv_dtype) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, LENGTH, 71);
    const int64_t bytes = 2 * layer.n_pages * attn_page_bytes(&shape);
    void *memory = NULL;
    CHECK(rt_mem_alloc(bytes, "moved pages", &memory) == RT_OK);
    memset(memory, 0xff, (size_t)bytes); /* NaN between the pages */
    void *pages[LENGTH / ATTN_PAGE_TOKENS + 1];
    const ath_layer copy = moved(&layer, memory, pages);

    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals(N_OUT, 73);
    float *out = ath_zeros((int64_t)4 * N_OUT);
    run_both(&kernels, &layer, q, out, out + N_OUT);
    run_both(&kernels, &copy, q, out + 2 * N_OUT, out + 3 * N_OUT);
    CHECK(ath_same(out, out + (int64_t)2 * N_OUT, (int64_t)2 * N_OUT));

    free(out);
    free(q);
    ath_close(&kernels);
    rt_mem_free(memory, bytes);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check(isa, RT_BF16);
        check(isa, RT_F32);
    }
    return 0;
}

/* Decode reads nothing behind a page, whatever it loads early: the next page may be anywhere.
 *
 * Method: every page is moved to the end of memory, where the next byte may not be read, and decode of one token and of
 * one for each of two sequences gives the bits that it gives of the pages where they were. Groups of heads as wide as
 * tiles of every shape; lengths that end with a page, and before. */
#include <string.h>
#include <sys/mman.h>

#include "help_attention.h"
#include "runtime/base/size.h"

enum { LENGTH = 3 * ATTN_PAGE_TOKENS, N_PAGES = 3, HEADS_MAX = 24, KV_HEADS = 2, HEAD_DIM = 64 };
enum { GUARD = 4096, ALIGN = 64, N_OUT = 2 * HEADS_MAX * HEAD_DIM };

/* n_bytes, aligned as pages are, that end where nothing may be read; never given back. */
static void *at_the_end(const void *page, int64_t n_bytes) {
    const int64_t room = rt_round_up(n_bytes, GUARD);
    char *memory = mmap(NULL, (size_t)(room + GUARD), PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(mprotect(memory + room, GUARD, PROT_NONE) == 0);
    return memcpy(memory + room - rt_round_up(n_bytes, ALIGN), page, (size_t)n_bytes);
}

static ath_layer moved(const ath_layer *layer, void **pages, void **open_pages) {
    ath_layer copy = *layer;
    copy.pages = pages;
    if (layer->open_pages) copy.open_pages = open_pages;
    for (int64_t i = 0; i < layer->n_pages; i++) {
        pages[i] = layer->pages[i] ? at_the_end(layer->pages[i], attn_page_bytes(&layer->shape))
                                   : NULL;
        if (layer->open_pages)
            open_pages[i] = at_the_end(layer->open_pages[i], attn_open_page_bytes(&layer->shape));
    }
    return copy;
}

static void decode(const ath_kernels *kernels, const ath_layer *layer, int64_t n_tokens,
        int32_t n_seqs, const float *q, float *out) {
    const attn_segment keys[2] = {ath_segment(layer, n_tokens), ath_segment(layer, n_tokens)};
    ath_decode(kernels, q, keys, n_seqs, out);
}

static void check(rt_isa isa, rt_dtype kv_dtype, int32_t group) {
    static const int64_t lengths[] = {LENGTH, LENGTH - 1, LENGTH - 3, 2 * ATTN_PAGE_TOKENS + 1, 9};
    const attn_shape shape = ath_shape(group * KV_HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    void *pages[N_PAGES], *open_pages[N_PAGES];
    ath_layer layer = ath_layer_create(&shape, LENGTH, 171);
    const ath_layer copy = moved(&layer, pages, open_pages);
    ath_kernels kernels = ath_open(&shape, isa, 1);
    float *q = ath_normals(N_OUT, 173);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int32_t n_seqs = 1; n_seqs <= 2; n_seqs++) {
            float out[N_OUT] = {0}, again[N_OUT] = {0};
            decode(&kernels, &layer, lengths[i], n_seqs, q, out);
            decode(&kernels, &copy, lengths[i], n_seqs, q, again);
            CHECK(ath_same(out, again, N_OUT));
        }
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    static const int32_t groups[] = {1, 4, 8, 12};
    static const rt_dtype types[] = {RT_BF16, RT_F32, RT_INT8, RT_INT4, RT_FP8};
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
                check(isa, types[t], groups[g]);
    return 0;
}

/* Rotating q and appending k and v later, some rows at a time, is attn_append: same bits.
 *
 * Method: the same random qkv rows through attn_append, and through attn_rotate_q and then
 * attn_append_kv by ranges of rows in the same buffer, in random order; compare q and the pages. */
#include <string.h>

#include "help_attention.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { HEADS = 6, KV_HEADS = 2, HEAD_DIM = 32, PAGE = ATTN_PAGE_TOKENS };
enum { Q_WIDTH = HEADS * HEAD_DIM, STRIDE = Q_WIDTH + 2 * KV_HEADS * HEAD_DIM };
enum { TOKENS = 300, PAGES = 4 };

static void create_pages(const attn_shape *shape, void **pages) {
    for (int i = 0; i < PAGES; i++) {
        pages[i] = ath_page_create(shape);
        memset(pages[i], 0x5a, (size_t)attn_page_bytes(shape));
    }
}

/* Rows [from, to) of a chunk at `pos`, whose first page is pages[0]. */
static void append_rows(const ath_kernels *kernels, float *qkv, int64_t pos, int64_t from,
        int64_t to, void **pages) {
    attn_append_kv(kernels->cpu, qkv + from * STRIDE + Q_WIDTH, STRIDE, to - from, pos + from,
            pages + ((pos + from) / PAGE - pos / PAGE));
}

static void check(rt_isa isa, rt_dtype kv_dtype, int64_t pos) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *once = ath_normals(TOKENS * STRIDE, 171);
    float *twice = ath_normals(TOKENS * STRIDE, 171);
    void *pages[PAGES];
    void *others[PAGES];
    create_pages(&shape, pages);
    create_pages(&shape, others);

    attn_append(kernels.cpu, once, TOKENS, pos, pages);
    attn_rotate_q(kernels.cpu, twice, STRIDE, TOKENS, pos);
    uint64_t random = 173;
    const int64_t a = random_below(&random, TOKENS);
    const int64_t b = a + random_below(&random, TOKENS - a);
    append_rows(&kernels, twice, pos, b, TOKENS, others);
    append_rows(&kernels, twice, pos, 0, a, others);
    append_rows(&kernels, twice, pos, a, b, others);

    for (int64_t t = 0; t < TOKENS; t++)
        CHECK(ath_same(once + t * STRIDE, twice + t * STRIDE, Q_WIDTH));
    for (int i = 0; i < PAGES; i++) {
        CHECK(memcmp(pages[i], others[i], (size_t)attn_page_bytes(&shape)) == 0);
        rt_mem_free(pages[i], attn_page_bytes(&shape));
        rt_mem_free(others[i], attn_page_bytes(&shape));
    }
    free(once);
    free(twice);
    ath_close(&kernels);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++)
        for (int64_t pos = 0; pos < PAGE; pos += 61) {
            check(isa, RT_BF16, 5 * PAGE + pos);
            check(isa, RT_F32, pos);
        }
    return 0;
}

/* Pages to canonical rows and back: every number to its place, and no other number touched.
 *
 * Method: pages of random bits and the layout that attention.h documents, written down again here.
 * For every first token and number of tokens, rows taken out of a page are the numbers at their
 * places and nothing is written past them; rows put into a page change their places only. Then the
 * loops of every instruction set, for every part of a panel, against the same. */
#include <string.h>

#include "attention/attn_page.h"
#include "help_attention.h"
#include "runtime/base/memory.h"

enum { KV_HEADS = 2, PAGE = ATTN_PAGE_TOKENS, PANEL = 16, GUARD = 64 };

typedef struct fixture {
    attn_shape shape;
    int64_t bytes; /* of a number */
    int64_t page_bytes;
    char *page; /* random */
    char *work;
    char *rows_k; /* a page's rows and a guard */
    char *rows_v;
} fixture;

static void *memory(int64_t bytes) {
    void *ptr = NULL;
    CHECK(rt_mem_alloc(bytes, "test data", &ptr) == RT_OK);
    return ptr;
}

static int64_t rows_bytes(const fixture *f) {
    return PAGE * f->shape.head_dim * f->bytes + GUARD;
}

static fixture fixture_create(int32_t head_dim, rt_dtype kv_dtype) {
    fixture f = {.shape = ath_shape(KV_HEADS, KV_HEADS, head_dim, kv_dtype),
            .bytes = rt_dtype_bytes(kv_dtype)};
    f.page_bytes = attn_page_bytes(&f.shape);
    CHECK(f.page_bytes == (int64_t)2 * KV_HEADS * PAGE * head_dim * f.bytes);
    f.page = memory(f.page_bytes);
    f.work = memory(f.page_bytes);
    f.rows_k = memory(rows_bytes(&f));
    f.rows_v = memory(rows_bytes(&f));
    uint64_t random = 161;
    for (int64_t i = 0; i < f.page_bytes; i++) f.page[i] = (char)random_below(&random, 256);
    return f;
}

static void fixture_free(fixture *f) {
    rt_mem_free(f->page, f->page_bytes);
    rt_mem_free(f->work, f->page_bytes);
    rt_mem_free(f->rows_k, rows_bytes(f));
    rt_mem_free(f->rows_v, rows_bytes(f));
}

/* Number `column` of a panel's line: of bf16, two lines are side by side, pair by pair. */
static int64_t in_panel(const fixture *f, int64_t line, int64_t column) {
    if (f->bytes == 4) return line * PANEL + column;
    return (line - line % 2) * PANEL + 2 * column + line % 2;
}

/* Byte offsets in a page of K[token][d] and V[token][d]. */
static int64_t key_place(const fixture *f, int32_t kv_head, int64_t token, int64_t d) {
    const int64_t dim = f->shape.head_dim;
    return f->bytes *
           (2 * kv_head * PAGE * dim + token / PANEL * dim * PANEL + in_panel(f, d, token % PANEL));
}

static int64_t value_place(const fixture *f, int32_t kv_head, int64_t token, int64_t d) {
    const int64_t dim = f->shape.head_dim;
    return f->bytes *
           ((2 * kv_head + 1) * PAGE * dim + d / PANEL * PAGE * PANEL + in_panel(f, token, d % PANEL));
}

/* The rows are those of `page`; what follows them is still 0x5a. */
static void check_rows(const fixture *f, const char *page, const attn_page_tokens *tokens) {
    const int64_t dim = f->shape.head_dim;
    const size_t bytes = (size_t)f->bytes;
    for (int64_t i = 0; i < tokens->n * dim; i++) {
        const int64_t token = tokens->token + i / dim;
        CHECK(memcmp(f->rows_k + i * f->bytes, page + key_place(f, tokens->kv_head, token, i % dim),
                      bytes) == 0);
        CHECK(memcmp(f->rows_v + i * f->bytes,
                      page + value_place(f, tokens->kv_head, token, i % dim), bytes) == 0);
    }
    for (int64_t i = tokens->n * dim * f->bytes; i < tokens->n * dim * f->bytes + GUARD; i++)
        CHECK(f->rows_k[i] == 0x5a && f->rows_v[i] == 0x5a);
}

/* The rows of f->rows_* are in f->work; all else there is 0x5a. */
static void check_page(fixture *f, const attn_page_tokens *tokens) {
    const int64_t dim = f->shape.head_dim;
    check_rows(f, f->work, tokens);
    for (int64_t i = 0; i < tokens->n * dim; i++) {
        const int64_t token = tokens->token + i / dim;
        memset(f->work + key_place(f, tokens->kv_head, token, i % dim), 0x5a, (size_t)f->bytes);
        memset(f->work + value_place(f, tokens->kv_head, token, i % dim), 0x5a, (size_t)f->bytes);
    }
    for (int64_t i = 0; i < f->page_bytes; i++) CHECK(f->work[i] == 0x5a);
}

static void clear_rows(fixture *f) {
    memset(f->rows_k, 0x5a, (size_t)rows_bytes(f));
    memset(f->rows_v, 0x5a, (size_t)rows_bytes(f));
}

static void check_tokens(fixture *f, int32_t kv_head, int32_t first, int32_t n) {
    const attn_page_tokens tokens = {&f->shape, kv_head, first, n};
    clear_rows(f);
    attn_page_unpack(&f->shape, f->page, kv_head, first, n, f->rows_k, f->rows_v);
    check_rows(f, f->page, &tokens);
    memset(f->work, 0x5a, (size_t)f->page_bytes);
    attn_page_pack(&f->shape, f->work, kv_head, first, n, f->rows_k, f->rows_v);
    check_page(f, &tokens);
}

static void check_kernels(fixture *f, const attn_page_kernels *kernels) {
    for (int64_t slot = 0; slot < PANEL; slot++)
        for (int64_t n = 1; slot + n <= PANEL; n++) {
            const attn_page_tokens tokens = {&f->shape, 1, 3 * PANEL + slot, n};
            clear_rows(f);
            kernels->unpack(&tokens, f->page, f->rows_k, f->rows_v);
            check_rows(f, f->page, &tokens);
            memset(f->work, 0x5a, (size_t)f->page_bytes);
            kernels->pack(&tokens, f->work, f->rows_k, f->rows_v);
            check_page(f, &tokens);
        }
}

static void check(int32_t head_dim, rt_dtype kv_dtype, int32_t step) {
    fixture f = fixture_create(head_dim, kv_dtype);
    for (int32_t first = 0; first < PAGE; first += step)
        for (int32_t n = 0; first + n <= PAGE; n += step)
            check_tokens(&f, first % KV_HEADS, first, n);
    check_tokens(&f, 1, 0, PAGE);
    check_kernels(&f, &attn_page_kernels_portable);
#if defined(__x86_64__)
    if (rt_machine_isa() >= RT_ISA_AVX2) check_kernels(&f, &attn_page_kernels_avx2);
    if (rt_machine_isa() >= RT_ISA_AVX512) check_kernels(&f, &attn_page_kernels_avx512);
#endif
    fixture_free(&f);
}

int main(void) {
    const bool is_fast = ath_is_fast();
    check(16, RT_BF16, is_fast ? 9 : 1);
    check(16, RT_F32, is_fast ? 9 : 3);
    check(128, RT_BF16, is_fast ? 37 : 11);
    check(128, RT_F32, is_fast ? 37 : 11);
    check(48, RT_BF16, is_fast ? 37 : 11);
    return 0;
}

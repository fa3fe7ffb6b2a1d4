/* What is appended is k rotated as the reference rotates it, and v; in whatever pieces and order.
 *
 * Method: random rows at positions across pages, appended at once and by ranges in random order: same
 * bits in the pages. Then the pages' rows, and rotated queries, against the rotation in fp64 by the
 * reference's angles (fp32, position x theta). Sine and cosine are off by at most 1 ulp of 1, their
 * products and the sum round, so 3 u (|x0| + |x1|); bf16 rounds by 2^-8 of what it stores. */
#include <math.h>
#include <string.h>

#include "help_attention.h"
#include "runtime/base/memory.h"

enum { HEADS = 6, KV_HEADS = 2, HEAD_DIM = 32, PAGE = ATTN_PAGE_TOKENS };
enum { Q_WIDTH = HEADS * HEAD_DIM, STRIDE = Q_WIDTH + 2 * KV_HEADS * HEAD_DIM };
enum { TOKENS = 300, PAGES = 4 };

static void create_pages(const attn_shape *shape, void **pages) {
    for (int i = 0; i < PAGES; i++) {
        pages[i] = ath_page_create(shape);
        memset(pages[i], 0x5a, (size_t)attn_page_bytes(shape));
    }
}

static void free_pages(const attn_shape *shape, void **pages) {
    for (int i = 0; i < PAGES; i++) rt_mem_free(pages[i], attn_page_bytes(shape));
}

/* Rows [from, to) of a chunk at `pos`, whose first page is pages[0]. */
static void append_rows(const ath_kernels *kernels, float *qkv, int64_t pos, int64_t from,
        int64_t to, void **pages) {
    attn_append_kv(kernels->cpu, qkv + from * STRIDE + Q_WIDTH, STRIDE, to - from, pos + from,
            pages + ((pos + from) / PAGE - pos / PAGE));
}

static void check_pieces(const ath_kernels *kernels, int64_t pos, void *const *pages) {
    float *rows = ath_normals(TOKENS * STRIDE, 171);
    void *others[PAGES];
    create_pages(&kernels->shape, others);
    uint64_t random = 173;
    const int64_t a = random_below(&random, TOKENS);
    const int64_t b = a + random_below(&random, TOKENS - a);
    append_rows(kernels, rows, pos, b, TOKENS, others);
    append_rows(kernels, rows, pos, 0, a, others);
    append_rows(kernels, rows, pos, a, b, others);
    for (int i = 0; i < PAGES; i++)
        CHECK(memcmp(pages[i], others[i], (size_t)attn_page_bytes(&kernels->shape)) == 0);
    free_pages(&kernels->shape, others);
    free(rows);
}

/* `row` is near `from` rotated to `pos`; `rounding` is that of the row's own type. */
static void check_rotated(const attn_shape *shape, const float *from, int64_t pos, const float *row,
        double rounding) {
    for (int32_t j = 0; j < shape->head_dim / 2; j++) {
        const float exponent = (float)(2 * j) / (float)shape->rope_dim;
        const float angle = (float)pos * (1.0f / powf((float)shape->rope_base, exponent));
        const bool is_rotated = 2 * j < shape->rope_dim;
        const double cosine = is_rotated ? cos((double)angle) : 1.0;
        const double sine = is_rotated ? sin((double)angle) : 0.0;
        const double x0 = (double)from[2 * j];
        const double x1 = (double)from[2 * j + 1];
        const double bound = (3 * 0x1p-24 + rounding) * (fabs(x0) + fabs(x1));
        CHECK(fabs((double)row[2 * j] - (x0 * cosine - x1 * sine)) <= bound);
        CHECK(fabs((double)row[2 * j + 1] - (x1 * cosine + x0 * sine)) <= bound);
    }
}

static void check_page_row(
        const attn_shape *shape, const float *kv, int64_t pos, const void *page, int32_t kv_head) {
    float stored_k[HEAD_DIM];
    float stored_v[HEAD_DIM];
    float k[HEAD_DIM];
    const float *v = kv + (int64_t)(KV_HEADS + kv_head) * HEAD_DIM;
    attn_page_unpack(shape, page, kv_head, (int32_t)(pos % PAGE), 1, stored_k, stored_v);
    const double rounding = shape->kv_dtype == RT_F32 ? 0.0 : 0x1p-8;
    for (int d = 0; d < HEAD_DIM; d++) {
        k[d] = rt_load_float(stored_k, d, shape->kv_dtype);
        const double error =
                fabs((double)rt_load_float(stored_v, d, shape->kv_dtype) - (double)v[d]);
        CHECK(error <= rounding * fabs((double)v[d]));
    }
    check_rotated(shape, kv + (int64_t)kv_head * HEAD_DIM, pos, k, rounding);
}

static void check(rt_isa isa, rt_dtype kv_dtype, int64_t pos) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *before = ath_normals(TOKENS * STRIDE, 171);
    float *rows = ath_normals(TOKENS * STRIDE, 171);
    void *pages[PAGES];
    create_pages(&shape, pages);
    append_rows(&kernels, rows, pos, 0, TOKENS, pages);
    attn_rotate_q(kernels.cpu, rows, STRIDE, TOKENS, pos);
    check_pieces(&kernels, pos, pages);
    for (int64_t t = 0; t < TOKENS; t++) {
        const float *row = before + t * STRIDE;
        for (int32_t h = 0; h < HEADS; h++)
            check_rotated(
                    &shape, row + h * HEAD_DIM, pos + t, rows + t * STRIDE + h * HEAD_DIM, 0.0);
        for (int32_t h = 0; h < KV_HEADS; h++)
            check_page_row(&shape, row + Q_WIDTH, pos + t, pages[(pos + t) / PAGE - pos / PAGE], h);
    }
    free_pages(&shape, pages);
    free(rows);
    free(before);
    ath_close(&kernels);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
        for (int64_t pos = 0; pos < PAGE; pos += 61) {
            check(isa, RT_BF16, 5 * PAGE + pos);
            check(isa, RT_F32, pos);
            check(isa, RT_F32, 1000000 + pos);
        }
    return 0;
}

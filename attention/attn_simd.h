/* Between attn_cpu.c (how the work is cut) and attn_simd.c (the arithmetic of one piece). */
#ifndef ATTN_SIMD_H
#define ATTN_SIMD_H

#include "attn_page.h"

/* Rows per piece: enough that widening a page to fp32 costs 2 % of using it, few enough that
 * queries, scores, one page and the partial state stay in a second-level cache of 512 KiB. */
enum { ATTN_ROWS_MAX = 128 };

/* Where one thread works. Sizes in floats; 64-byte aligned but for the parts, which may be the state's. Queries and scores lie
 * in panels of 16 rows, as keys and values do in panels of 16. By tiles of AMX q, scores, keys and values hold other things, no
 * larger (attn_amx_steps.h, attn_amx_pages.h, attn_amx.c). */
typedef struct attn_scratch {
    float *q;      /* [ROWS_MAX / 16][head_dim][16 rows] scaled queries */
    float *scores; /* [ROWS_MAX / 16][128 keys][16 rows] scores, then weights */
    float *keys;   /* [head_dim][128] one head's K of a page, widened, in panels */
    float *values; /* [128][head_dim] its V, widened, in panels */
    float *part_max;
    float *part_sum;
    float *part_out; /* [ROWS_MAX][head_dim] the split's partial state */
    int64_t *limit;  /* [ROWS_MAX] row r sees positions < limit[r] */
} attn_scratch;

/* One split or a part of it, one KV head, up to ATTN_ROWS_MAX rows: pages -> the partial state in
 * `scratch`. pages[0] starts at first_pos; keys reach to first_pos + n_tokens, all within one split.
 * Queries are scratch->q, limits scratch->limit. Returns false when the partial state is that of
 * rows that have seen no key. */
typedef struct attn_split {
    const attn_shape *shape;
    int32_t kv_head;
    int64_t n_rows;
    void *const *pages;
    int64_t first_pos;
    int64_t n_tokens;
    bool is_continued;     /* the scratch holds the state of the split's keys before first_pos */
    const void *open_page; /* lossy: what all rows read at open_pos, instead; NULL: nothing */
    int64_t open_pos;
} attn_split;

typedef struct attn_kernels {
    /* n rows of head_dim numbers, times `scale`, into panels of 16 rows; the last is filled up with
     * zeros. */
    void (*load_queries)(
            const float *const *rows, int64_t n_rows, int32_t head_dim, float scale, float *panels);
    bool (*scan)(const attn_split *split, attn_scratch *scratch);
    /* (max, sum, out) of n_rows rows: acc = acc folded with part. */
    void (*fold)(float *acc_max, float *acc_sum, float *acc_out, const float *part_max,
            const float *part_sum, const float *part_out, int64_t n_rows, int32_t head_dim);
} attn_kernels;

extern const attn_kernels attn_kernels_portable;
#if defined(__x86_64__)
extern const attn_kernels attn_kernels_avx2;
extern const attn_kernels attn_kernels_avx512;
extern const attn_kernels attn_kernels_amx;     /* bf16 and fp8 pages, head_dim a multiple of 32 */
extern const attn_kernels attn_kernels_int_amx; /* int8 and int4 ones, likewise */
#endif

#endif

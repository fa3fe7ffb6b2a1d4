/* A page <-> canonical rows [token][head_dim]: the loops over numbers.
 *
 * K is transposed, a panel being [head_dim][16 tokens] of fp32 or [head_dim / 2][16 tokens] of two bf16, 4 bytes either
 * way: blocks of 4 x 4 stay in registers, one in each lane of 16 bytes. Tokens of a panel that is not taken whole go one
 * by one. V is copied 16 numbers at a time, of bf16 two tokens' pair by pair. */
#include <string.h>

#include "attn_page.h"
#include "runtime/base/simd.h"

enum { PANEL = ATTN_PANEL };

/* ---- transposing ----------------------------------------------------------------------------- */

/* Vectors of one or two lanes. Lane l of row i is the start of row i + l BLOCK of the matrix, so
 * that transposing inside the lanes transposes LANES blocks, one below the other. */
#if defined(__AVX2__)
enum { LANES = 2 };
#define LOW32(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH32(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#else
enum { LANES = 1 };
#define LOW32(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH32(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif
enum { LANE = 16, VECTOR = LANES * LANE, WORD = 4, BLOCK = LANE / WORD };

typedef uint32_t vector32 __attribute__((vector_size(VECTOR)));

SIMD_INLINE void load_lanes(void *vector, const char *from, int64_t lane_stride) {
#pragma GCC unroll 2
    for (int lane = 0; lane < LANES; lane++)
        memcpy((char *)vector + lane * LANE, from + lane * lane_stride, LANE);
}

/* to[column][row] = from[row][column] for BLOCK columns of LANES BLOCK rows. Riffling row i with row
 * i + n / 2 rotates the bits of (row, column) left by one: after log2(n) rounds the two have changed
 * places. Strides in bytes. */
SIMD_INLINE void transpose_block(
        const char *from, int64_t from_stride, char *to, int64_t to_stride) {
    vector32 row[BLOCK];
    vector32 riffled[BLOCK];
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK; i++)
        load_lanes(&row[i], from + i * from_stride, BLOCK * from_stride);
#pragma GCC unroll 2
    for (int round = 0; round < 2; round++) {
#pragma GCC unroll 2
        for (int i = 0; i < BLOCK / 2; i++) {
            riffled[2 * i] = LOW32(row[i], row[i + BLOCK / 2]);
            riffled[2 * i + 1] = HIGH32(row[i], row[i + BLOCK / 2]);
        }
        memcpy(row, riffled, sizeof row);
    }
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK; i++) memcpy(to + i * to_stride, &row[i], VECTOR);
}

/* All of a matrix of words; n_rows and n_columns are multiples of 8. */
SIMD_INLINE void transpose(const char *from, int64_t from_stride, int64_t n_rows, int64_t n_columns,
        char *to, int64_t to_stride) {
    for (int64_t row = 0; row < n_rows; row += LANES * BLOCK)
        for (int64_t column = 0; column < n_columns; column += BLOCK)
            transpose_block(from + row * from_stride + column * WORD, from_stride,
                    to + column * to_stride + row * WORD, to_stride);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Tokens [first, first + n) of one panel, [n_words][16], to rows of n_words words. */
SIMD_INLINE void unpack_keys(
        const char *panel, int64_t first, int64_t n, int64_t n_words, char *rows) {
    if (n == PANEL) {
        transpose(panel, PANEL * WORD, n_words, PANEL, rows, n_words * WORD);
        return;
    }
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < n_words; i++)
            memcpy(rows + (t * n_words + i) * WORD, panel + (i * PANEL + first + t) * WORD, WORD);
}

SIMD_INLINE void pack_keys(
        const char *rows, int64_t first, int64_t n, int64_t n_words, char *panel) {
    if (n == PANEL) {
        transpose(rows, n_words * WORD, PANEL, n_words, panel, PANEL * WORD);
        return;
    }
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < n_words; i++)
            memcpy(panel + (i * PANEL + first + t) * WORD, rows + (t * n_words + i) * WORD, WORD);
}

/* ---- values ---------------------------------------------------------------------------------- */

typedef uint16_t vector16 __attribute__((vector_size(LANE)));
enum { LANE_HALVES = LANE / 2 };

/* n tokens of a panel of bf16, from token `first` of it on, to or from rows of 16 numbers; tokens of a pair that is not
 * taken whole number by number. Rows' stride in numbers. */
SIMD_INLINE void unpack_pairs(
        const uint16_t *panel, int64_t first, int64_t n, uint16_t *rows, int64_t stride) {
    int64_t t = 0;
    while (t < n) {
        const uint16_t *from = panel + (first + t) / 2 * 2 * PANEL;
        const bool is_whole = (first + t) % 2 == 0 && t + 1 < n;
        uint16_t *to = rows + t * stride;
        for (int i = 0; i < PANEL && !is_whole; i++) to[i] = from[2 * i + (first + t) % 2];
        for (int i = 0; i < PANEL && is_whole; i += LANE_HALVES) {
            vector16 a, b;
            memcpy(&a, from + 2 * i, LANE);
            memcpy(&b, from + 2 * i + LANE_HALVES, LANE);
            const vector16 even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
            const vector16 odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
            memcpy(to + i, &even, LANE);
            memcpy(to + stride + i, &odd, LANE);
        }
        t += is_whole ? 2 : 1;
    }
}

SIMD_INLINE void pack_pairs(
        const uint16_t *rows, int64_t stride, int64_t first, int64_t n, uint16_t *panel) {
    int64_t t = 0;
    while (t < n) {
        uint16_t *to = panel + (first + t) / 2 * 2 * PANEL;
        const bool is_whole = (first + t) % 2 == 0 && t + 1 < n;
        const uint16_t *from = rows + t * stride;
        for (int i = 0; i < PANEL && !is_whole; i++) to[2 * i + (first + t) % 2] = from[i];
        for (int i = 0; i < PANEL && is_whole; i += LANE_HALVES) {
            vector16 a, b;
            memcpy(&a, from + i, LANE);
            memcpy(&b, from + stride + i, LANE);
            const vector16 low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
            const vector16 high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
            memcpy(to + 2 * i, &low, LANE);
            memcpy(to + 2 * i + LANE_HALVES, &high, LANE);
        }
        t += is_whole ? 2 : 1;
    }
}

/* n tokens of a panel of fp32, 16 numbers each; strides in numbers. */
SIMD_INLINE void copy_values(
        float *to, int64_t to_stride, const float *from, int64_t from_stride, int64_t n) {
    for (int64_t t = 0; t < n; t++)
        memcpy(to + t * to_stride, from + t * from_stride, PANEL * sizeof *to);
}

/* ---- both ------------------------------------------------------------------------------------ */

/* Where a panel of 16 tokens' keys begins, and one of 16 dims of all tokens' values. */
static int64_t key_panel_of(const attn_page_tokens *tokens) {
    return attn_key_index(tokens->shape, tokens->kv_head, tokens->token / PANEL * PANEL, 0);
}

static int64_t value_panel_of(const attn_page_tokens *tokens, int32_t d) {
    return attn_value_index(tokens->shape, tokens->kv_head, 0, d);
}

static void unpack(const attn_page_tokens *tokens, const void *page, void *k, void *v) {
    const int64_t dim = tokens->shape->head_dim;
    const int64_t bytes = rt_dtype_bytes(attn_open_dtype(tokens->shape));
    unpack_keys((const char *)page + key_panel_of(tokens) * bytes, tokens->token % PANEL, tokens->n,
            dim * bytes / WORD, k);
    for (int32_t d = 0; d < dim; d += PANEL)
        if (bytes == WORD)
            copy_values((float *)v + d, dim,
                    (const float *)page + value_panel_of(tokens, d) + tokens->token * PANEL, PANEL,
                    tokens->n);
        else
            unpack_pairs((const uint16_t *)page + value_panel_of(tokens, d), tokens->token,
                    tokens->n, (uint16_t *)v + d, dim);
}

static void pack(const attn_page_tokens *tokens, void *page, const void *k, const void *v) {
    const int64_t dim = tokens->shape->head_dim;
    const int64_t bytes = rt_dtype_bytes(attn_open_dtype(tokens->shape));
    pack_keys(k, tokens->token % PANEL, tokens->n, dim * bytes / WORD,
            (char *)page + key_panel_of(tokens) * bytes);
    for (int32_t d = 0; d < dim; d += PANEL)
        if (bytes == WORD)
            copy_values((float *)page + value_panel_of(tokens, d) + tokens->token * PANEL, PANEL,
                    (const float *)v + d, dim, tokens->n);
        else
            pack_pairs((const uint16_t *)v + d, dim, tokens->token, tokens->n,
                    (uint16_t *)page + value_panel_of(tokens, d));
}

extern const attn_page_kernels SIMD_NAME(attn_page_kernels);
const attn_page_kernels SIMD_NAME(attn_page_kernels) = {unpack, pack};

/* A page <-> canonical rows [token][head_dim]: the loops over numbers.
 *
 * V is copied 16 numbers at a time. K is transposed, a panel being [head_dim][16 tokens]: blocks of
 * numbers stay in registers, 8 x 8 of 2 bytes or 4 x 4 of 4 in each 16-byte lane. Tokens of a panel
 * that is not taken whole go one number at a time. */
#include <string.h>

#include "attn_page.h"
#include "runtime/base/simd.h"

enum { PANEL = ATTN_PANEL };

/* ---- transposing ----------------------------------------------------------------------------- */

/* Vectors of one or two lanes. Lane l of row i is the start of row i + l BLOCK of the matrix, so
 * that transposing inside the lanes transposes LANES blocks, one below the other. */
#if defined(__AVX2__)
enum { LANES = 2 };
#define LOW16(a, b) \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 8, 24, 9, 25, 10, 26, 11, 27)
#define HIGH16(a, b) \
    __builtin_shufflevector(a, b, 4, 20, 5, 21, 6, 22, 7, 23, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOW32(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH32(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#else
enum { LANES = 1 };
#define LOW16(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH16(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LOW32(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH32(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif
enum { LANE = 16, VECTOR = LANES * LANE, BLOCK16 = LANE / 2, BLOCK32 = LANE / 4 };

typedef uint16_t vector16 __attribute__((vector_size(VECTOR)));
typedef uint32_t vector32 __attribute__((vector_size(VECTOR)));

SIMD_INLINE void load_lanes(void *vector, const char *from, int64_t lane_stride) {
#pragma GCC unroll 2
    for (int lane = 0; lane < LANES; lane++)
        memcpy((char *)vector + lane * LANE, from + lane * lane_stride, LANE);
}

/* to[column][row] = from[row][column] for BLOCK columns of LANES BLOCK rows. Riffling row i with row
 * i + n / 2 rotates the bits of (row, column) left by one: after log2(n) rounds the two have changed
 * places. Strides in bytes. */
SIMD_INLINE void transpose16(const char *from, int64_t from_stride, char *to, int64_t to_stride) {
    vector16 row[BLOCK16];
    vector16 riffled[BLOCK16];
#pragma GCC unroll 8
    for (int i = 0; i < BLOCK16; i++)
        load_lanes(&row[i], from + i * from_stride, BLOCK16 * from_stride);
#pragma GCC unroll 3
    for (int round = 0; round < 3; round++) {
#pragma GCC unroll 4
        for (int i = 0; i < BLOCK16 / 2; i++) {
            riffled[2 * i] = LOW16(row[i], row[i + BLOCK16 / 2]);
            riffled[2 * i + 1] = HIGH16(row[i], row[i + BLOCK16 / 2]);
        }
        memcpy(row, riffled, sizeof row);
    }
#pragma GCC unroll 8
    for (int i = 0; i < BLOCK16; i++) memcpy(to + i * to_stride, &row[i], VECTOR);
}

SIMD_INLINE void transpose32(const char *from, int64_t from_stride, char *to, int64_t to_stride) {
    vector32 row[BLOCK32];
    vector32 riffled[BLOCK32];
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK32; i++)
        load_lanes(&row[i], from + i * from_stride, BLOCK32 * from_stride);
#pragma GCC unroll 2
    for (int round = 0; round < 2; round++) {
#pragma GCC unroll 2
        for (int i = 0; i < BLOCK32 / 2; i++) {
            riffled[2 * i] = LOW32(row[i], row[i + BLOCK32 / 2]);
            riffled[2 * i + 1] = HIGH32(row[i], row[i + BLOCK32 / 2]);
        }
        memcpy(row, riffled, sizeof row);
    }
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK32; i++) memcpy(to + i * to_stride, &row[i], VECTOR);
}

/* All of a matrix of numbers of `bytes` bytes; n_rows and n_columns are multiples of 16. */
SIMD_INLINE void transpose(const char *from, int64_t from_stride, int64_t n_rows, int64_t n_columns,
        char *to, int64_t to_stride, const int64_t bytes) {
    const int64_t block = LANE / bytes;
    for (int64_t row = 0; row < n_rows; row += LANES * block)
        for (int64_t column = 0; column < n_columns; column += block) {
            const char *corner = from + row * from_stride + column * bytes;
            char *target = to + column * to_stride + row * bytes;
            if (bytes == 2)
                transpose16(corner, from_stride, target, to_stride);
            else
                transpose32(corner, from_stride, target, to_stride);
        }
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Tokens [first, first + n) of one panel, [head_dim][16], to rows. */
SIMD_INLINE void unpack_keys(const char *panel, int64_t first, int64_t n, int64_t head_dim,
        char *rows, const int64_t bytes) {
    if (n == PANEL) {
        transpose(panel, PANEL * bytes, head_dim, PANEL, rows, head_dim * bytes, bytes);
        return;
    }
    for (int64_t t = 0; t < n; t++)
        for (int64_t d = 0; d < head_dim; d++)
            memcpy(rows + (t * head_dim + d) * bytes, panel + (d * PANEL + first + t) * bytes,
                    (size_t)bytes);
}

SIMD_INLINE void pack_keys(const char *rows, int64_t first, int64_t n, int64_t head_dim,
        char *panel, const int64_t bytes) {
    if (n == PANEL) {
        transpose(rows, head_dim * bytes, PANEL, head_dim, panel, PANEL * bytes, bytes);
        return;
    }
    for (int64_t t = 0; t < n; t++)
        for (int64_t d = 0; d < head_dim; d++)
            memcpy(panel + (d * PANEL + first + t) * bytes, rows + (t * head_dim + d) * bytes,
                    (size_t)bytes);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* n tokens of one panel of values, 16 numbers each. */
SIMD_INLINE void copy_values(char *to, int64_t to_stride, const char *from, int64_t from_stride,
        int64_t n, const int64_t bytes) {
    for (int64_t t = 0; t < n; t++)
        memcpy(to + t * to_stride, from + t * from_stride, (size_t)(PANEL * bytes));
}

/* ---- both ------------------------------------------------------------------------------------ */

SIMD_INLINE void unpack_as(
        const attn_page_tokens *tokens, const void *page, void *k, void *v, const int64_t bytes) {
    const attn_shape *shape = tokens->shape;
    const int64_t slot = tokens->token % PANEL;
    const int64_t keys = attn_key_index(shape, tokens->kv_head, tokens->token - slot, 0);
    unpack_keys((const char *)page + keys * bytes, slot, tokens->n, shape->head_dim, k, bytes);
    for (int32_t d = 0; d < shape->head_dim; d += PANEL) {
        const int64_t values = attn_value_index(shape, tokens->kv_head, tokens->token, d);
        copy_values((char *)v + d * bytes, shape->head_dim * bytes,
                (const char *)page + values * bytes, PANEL * bytes, tokens->n, bytes);
    }
}

SIMD_INLINE void pack_as(const attn_page_tokens *tokens, void *page, const void *k, const void *v,
        const int64_t bytes) {
    const attn_shape *shape = tokens->shape;
    const int64_t slot = tokens->token % PANEL;
    const int64_t keys = attn_key_index(shape, tokens->kv_head, tokens->token - slot, 0);
    pack_keys(k, slot, tokens->n, shape->head_dim, (char *)page + keys * bytes, bytes);
    for (int32_t d = 0; d < shape->head_dim; d += PANEL) {
        const int64_t values = attn_value_index(shape, tokens->kv_head, tokens->token, d);
        copy_values((char *)page + values * bytes, PANEL * bytes, (const char *)v + d * bytes,
                shape->head_dim * bytes, tokens->n, bytes);
    }
}

static void unpack(const attn_page_tokens *tokens, const void *page, void *k, void *v) {
    if (rt_dtype_bytes(attn_open_dtype(tokens->shape)) == 2)
        unpack_as(tokens, page, k, v, 2);
    else
        unpack_as(tokens, page, k, v, 4);
}

static void pack(const attn_page_tokens *tokens, void *page, const void *k, const void *v) {
    if (rt_dtype_bytes(attn_open_dtype(tokens->shape)) == 2)
        pack_as(tokens, page, k, v, 2);
    else
        pack_as(tokens, page, k, v, 4);
}

extern const attn_page_kernels SIMD_NAME(attn_page_kernels);
const attn_page_kernels SIMD_NAME(attn_page_kernels) = {unpack, pack};

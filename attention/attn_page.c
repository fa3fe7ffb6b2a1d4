/* A page <-> canonical rows [token][head_dim].
 *
 * V is copied 16 numbers at a time. K is transposed: a panel is [head_dim][16 tokens]. Blocks of
 * 8 x 8 numbers of 2 bytes, or 4 x 4 of 4, stay in registers; tokens of a panel that is not taken
 * whole go one number at a time. Vectors of 16 bytes, which every machine has, keep up with DRAM. */
#include <string.h>

#include "attn_page.h"
#include "runtime/base/size.h"

enum { PAGE = ATTN_PAGE_TOKENS, PANEL = ATTN_PANEL };

int64_t attn_page_bytes(const attn_shape *shape) {
    return 2 * (int64_t)shape->n_kv_heads * PAGE * shape->head_dim *
           rt_dtype_bytes(shape->kv_dtype);
}

/* ---- transposing ----------------------------------------------------------------------------- */

typedef uint16_t vector16 __attribute__((vector_size(16)));
typedef uint32_t vector32 __attribute__((vector_size(16)));

enum { BLOCK16 = 8, BLOCK32 = 4 };

/* Riffling row i with row i + n / 2 rotates the bits of (row, column) left by one: after log2(n)
 * rounds the two have changed places. Strides in bytes. */
static inline void transpose16(const char *from, int64_t from_stride, char *to, int64_t to_stride) {
    vector16 row[BLOCK16];
    vector16 riffled[BLOCK16];
#pragma GCC unroll 8
    for (int i = 0; i < BLOCK16; i++) memcpy(&row[i], from + i * from_stride, sizeof row[i]);
#pragma GCC unroll 3
    for (int round = 0; round < 3; round++) {
#pragma GCC unroll 4
        for (int i = 0; i < BLOCK16 / 2; i++) {
            const vector16 a = row[i];
            const vector16 b = row[i + BLOCK16 / 2];
            riffled[2 * i] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
            riffled[2 * i + 1] = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
        }
        memcpy(row, riffled, sizeof row);
    }
#pragma GCC unroll 8
    for (int i = 0; i < BLOCK16; i++) memcpy(to + i * to_stride, &row[i], sizeof row[i]);
}

static inline void transpose32(const char *from, int64_t from_stride, char *to, int64_t to_stride) {
    vector32 row[BLOCK32];
    vector32 riffled[BLOCK32];
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK32; i++) memcpy(&row[i], from + i * from_stride, sizeof row[i]);
#pragma GCC unroll 2
    for (int round = 0; round < 2; round++) {
#pragma GCC unroll 2
        for (int i = 0; i < BLOCK32 / 2; i++) {
            const vector32 a = row[i];
            const vector32 b = row[i + BLOCK32 / 2];
            riffled[2 * i] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            riffled[2 * i + 1] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        }
        memcpy(row, riffled, sizeof row);
    }
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK32; i++) memcpy(to + i * to_stride, &row[i], sizeof row[i]);
}

/* to[column][row] = from[row][column] for numbers of `bytes` bytes; n_rows and n_columns are
 * multiples of 8, strides in bytes. */
static void transpose(const char *from, int64_t from_stride, int64_t n_rows, int64_t n_columns,
        char *to, int64_t to_stride, int64_t bytes) {
    const int64_t block = bytes == 2 ? BLOCK16 : BLOCK32;
    for (int64_t row = 0; row < n_rows; row += block)
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

static void copy_number(
        char *to, int64_t to_index, const char *from, int64_t from_index, int64_t bytes) {
    if (bytes == 2)
        memcpy(to + to_index * 2, from + from_index * 2, 2);
    else
        memcpy(to + to_index * 4, from + from_index * 4, 4);
}

/* Tokens first .. first + n of one panel, [head_dim][16], to rows. */
static void unpack_panel(
        const char *panel, int64_t first, int64_t n, int64_t head_dim, int64_t bytes, char *rows) {
    if (n == PANEL) {
        transpose(panel, PANEL * bytes, head_dim, PANEL, rows, head_dim * bytes, bytes);
        return;
    }
    for (int64_t t = 0; t < n; t++)
        for (int64_t d = 0; d < head_dim; d++)
            copy_number(rows, t * head_dim + d, panel, d * PANEL + first + t, bytes);
}

static void pack_panel(
        const char *rows, int64_t first, int64_t n, int64_t head_dim, int64_t bytes, char *panel) {
    if (n == PANEL) {
        transpose(rows, head_dim * bytes, PANEL, head_dim, panel, PANEL * bytes, bytes);
        return;
    }
    for (int64_t t = 0; t < n; t++)
        for (int64_t d = 0; d < head_dim; d++)
            copy_number(panel, d * PANEL + first + t, rows, t * head_dim + d, bytes);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* n tokens of one panel of values, 16 numbers each; a constant size lets memcpy be two moves. */
static void copy_panel(char *to, int64_t to_stride, const char *from, int64_t from_stride,
        int64_t n, int64_t bytes) {
    if (bytes == 2)
        for (int64_t t = 0; t < n; t++)
            memcpy(to + t * to_stride, from + t * from_stride, PANEL * 2);
    else
        for (int64_t t = 0; t < n; t++)
            memcpy(to + t * to_stride, from + t * from_stride, PANEL * 4);
}

/* ---- both ------------------------------------------------------------------------------------ */

/* Tokens of one KV head, all in one panel of keys: what is worked on at a time, so that the rows
 * stay in the first-level cache while each panel of values adds its 16 numbers to them. */
typedef struct panel_tokens {
    int32_t kv_head;
    int64_t token; /* in the page */
    int64_t n;
} panel_tokens;

static panel_tokens next_tokens(int32_t kv_head, int64_t token, int64_t end) {
    return (panel_tokens){kv_head, token, rt_min64(PANEL - token % PANEL, end - token)};
}

static void unpack_tokens(
        const attn_shape *shape, const char *page, const panel_tokens *tokens, char *k, char *v) {
    const int64_t bytes = rt_dtype_bytes(shape->kv_dtype);
    const int64_t slot = tokens->token % PANEL;
    const int64_t keys = attn_key_index(shape, tokens->kv_head, tokens->token - slot, 0);
    unpack_panel(page + keys * bytes, slot, tokens->n, shape->head_dim, bytes, k);
    for (int32_t d = 0; d < shape->head_dim; d += PANEL) {
        const int64_t values = attn_value_index(shape, tokens->kv_head, tokens->token, d);
        copy_panel(v + d * bytes, shape->head_dim * bytes, page + values * bytes, PANEL * bytes,
                tokens->n, bytes);
    }
}

static void pack_tokens(const attn_shape *shape, char *page, const panel_tokens *tokens,
        const char *k, const char *v) {
    const int64_t bytes = rt_dtype_bytes(shape->kv_dtype);
    const int64_t slot = tokens->token % PANEL;
    const int64_t keys = attn_key_index(shape, tokens->kv_head, tokens->token - slot, 0);
    pack_panel(k, slot, tokens->n, shape->head_dim, bytes, page + keys * bytes);
    for (int32_t d = 0; d < shape->head_dim; d += PANEL) {
        const int64_t values = attn_value_index(shape, tokens->kv_head, tokens->token, d);
        copy_panel(page + values * bytes, PANEL * bytes, v + d * bytes, shape->head_dim * bytes,
                tokens->n, bytes);
    }
}

void attn_page_unpack(const attn_shape *shape, const void *page, int32_t kv_head,
        int32_t first_token, int32_t n_tokens, void *k, void *v) {
    const int64_t end = (int64_t)first_token + n_tokens;
    rt_assert(first_token >= 0 && n_tokens >= 0 && end <= PAGE);
    const int64_t row_bytes = shape->head_dim * rt_dtype_bytes(shape->kv_dtype);
    panel_tokens tokens;
    for (int64_t token = first_token; token < end; token += tokens.n) {
        tokens = next_tokens(kv_head, token, end);
        const int64_t at = (token - first_token) * row_bytes;
        unpack_tokens(shape, page, &tokens, (char *)k + at, (char *)v + at);
    }
}

void attn_page_pack(const attn_shape *shape, void *page, int32_t kv_head, int32_t first_token,
        int32_t n_tokens, const void *k, const void *v) {
    const int64_t end = (int64_t)first_token + n_tokens;
    rt_assert(first_token >= 0 && n_tokens >= 0 && end <= PAGE);
    const int64_t row_bytes = shape->head_dim * rt_dtype_bytes(shape->kv_dtype);
    panel_tokens tokens;
    for (int64_t token = first_token; token < end; token += tokens.n) {
        tokens = next_tokens(kv_head, token, end);
        const int64_t at = (token - first_token) * row_bytes;
        pack_tokens(shape, page, &tokens, (const char *)k + at, (const char *)v + at);
    }
}

/* Inside a page: where the numbers of a KV head lie. See attn_page_bytes in attention.h.
 *
 * Of bf16 two lines of a panel, 64 bytes, lie together pair by pair, which is how tiles multiply them (amx_tiles.h): the
 * other kernels take either number of 16 pairs by one instruction.
 *
 * A sealed head is, one after the other: codes of K, scales and zeros of K, codes of V, scales and
 * zeros of V. Panels of K are [head_dim][16 keys], of V [128 tokens][16 dims]: n_lines of 16 numbers.
 * Of int8 and int4 a line of up to four panels side by side, 64 numbers, is a group: one scale and one zero, bf16.
 * The 16 codes of a line lie together: 16 bytes of int8, or 8 of int4, byte j holding codes j (low)
 * and j + 8 (high).
 *
 * Of fp8 (attn_fp8.h) it is codes of K, codes of V, a byte each, the two scales and 8 bytes of 0. */
#ifndef ATTN_PAGE_H
#define ATTN_PAGE_H

#include "attention.h"
#include "runtime/base/size.h"

enum { ATTN_PANEL = 16 }; /* keys, or dims of values, stored together */

/* Sealed pages hold a scale and a zero for each group of numbers. */
static inline bool attn_is_int(const attn_shape *shape) {
    return shape->kv_dtype == RT_INT8 || shape->kv_dtype == RT_INT4;
}

/* How open pages store numbers; without lossy storage, all pages. */
static inline rt_dtype attn_open_dtype(const attn_shape *shape) {
    return attn_is_lossy(shape) ? RT_BF16 : shape->kv_dtype;
}

/* Element index of number `column` of line `line` of a panel. */
static inline int64_t attn_panel_index(const attn_shape *shape, int64_t line, int64_t column) {
    if (attn_open_dtype(shape) != RT_BF16) return line * ATTN_PANEL + column;
    return line / 2 * 2 * ATTN_PANEL + 2 * column + line % 2;
}

/* And of K[token][d] and V[token][d] in an open page. */
static inline int64_t attn_key_index(
        const attn_shape *shape, int32_t kv_head, int64_t token, int32_t d) {
    const int64_t head = 2 * (int64_t)kv_head * ATTN_PAGE_TOKENS * shape->head_dim;
    const int64_t panel = token / ATTN_PANEL * shape->head_dim * ATTN_PANEL;
    return head + panel + attn_panel_index(shape, d, token % ATTN_PANEL);
}

static inline int64_t attn_value_index(
        const attn_shape *shape, int32_t kv_head, int64_t token, int32_t d) {
    const int64_t head = (2 * (int64_t)kv_head + 1) * ATTN_PAGE_TOKENS * shape->head_dim;
    const int64_t panel = (int64_t)(d / ATTN_PANEL) * ATTN_PAGE_TOKENS * ATTN_PANEL;
    return head + panel + attn_panel_index(shape, token, d % ATTN_PANEL);
}

/* K or V of one sealed head; places are bytes from the start of the page. */
typedef struct attn_sealed {
    rt_dtype dtype;
    int64_t n_panels;
    int64_t n_lines;
    int64_t line_bytes; /* of the codes of one line of a panel */
    int64_t codes;      /* [n_panels][n_lines][line_bytes] */
    int64_t scales;     /* bf16 [n_groups][n_lines]; fp8: one fp32 */
    int64_t zeros;      /* the same; fp8: bytes of 0, to the end */
    int64_t end;
} attn_sealed;

enum {
    ATTN_GROUP_PANELS = ATTN_SEAL_GROUP / ATTN_PANEL,
    ATTN_FP8_TAIL_BYTES = 16 /* of a head, behind its codes */
};

/* simd_load_e4m3 (base/simd.h) gives a code's number over this. */
#define ATTN_FP8_UNIT 256.0f

static inline int64_t attn_code_bytes(const attn_sealed *sealed) {
    return sealed->n_panels * sealed->n_lines * sealed->line_bytes;
}

static inline attn_sealed attn_sealed_at(
        const attn_shape *shape, int64_t n_panels, int64_t n_lines, int64_t place) {
    const int64_t n_groups = rt_div_up(n_panels, ATTN_GROUP_PANELS);
    attn_sealed sealed = {.dtype = shape->kv_dtype,
            .n_panels = n_panels,
            .n_lines = n_lines,
            .line_bytes = ATTN_PANEL * rt_dtype_bits(shape->kv_dtype) / 8,
            .codes = place};
    sealed.scales = place + attn_code_bytes(&sealed);
    sealed.zeros = sealed.scales + n_groups * n_lines * 2;
    sealed.end = sealed.zeros + n_groups * n_lines * 2;
    return sealed;
}

static inline attn_sealed attn_sealed_keys(const attn_shape *shape, int32_t kv_head) {
    const int64_t place = kv_head * attn_page_canonical_bytes(shape);
    attn_sealed sealed =
            attn_sealed_at(shape, ATTN_PAGE_TOKENS / ATTN_PANEL, shape->head_dim, place);
    if (sealed.dtype != RT_FP8) return sealed;
    sealed.scales = place + 2 * attn_code_bytes(&sealed);
    sealed.zeros = sealed.end = sealed.scales + 4;
    return sealed;
}

static inline attn_sealed attn_sealed_values(const attn_shape *shape, int32_t kv_head) {
    const attn_sealed keys = attn_sealed_keys(shape, kv_head);
    const int64_t n_panels = shape->head_dim / ATTN_PANEL;
    if (keys.dtype != RT_FP8) return attn_sealed_at(shape, n_panels, ATTN_PAGE_TOKENS, keys.end);
    attn_sealed sealed =
            attn_sealed_at(shape, n_panels, ATTN_PAGE_TOKENS, keys.codes + attn_code_bytes(&keys));
    sealed.scales = keys.end;
    sealed.zeros = keys.end + 4;
    sealed.end = sealed.codes + attn_code_bytes(&sealed) + ATTN_FP8_TAIL_BYTES;
    return sealed;
}

/* Tokens of one KV head of a page, all in one panel of keys: what is worked on at a time, so that
 * rows stay in the first-level cache while each panel of values adds its 16 numbers to them. */
typedef struct attn_page_tokens {
    const attn_shape *shape;
    int32_t kv_head;
    int64_t token; /* the first, in the page */
    int64_t n;
} attn_page_tokens;

/* k and v: rows of these tokens. */
typedef struct attn_page_kernels {
    void (*unpack)(const attn_page_tokens *tokens, const void *page, void *k, void *v);
    void (*pack)(const attn_page_tokens *tokens, void *page, const void *k, const void *v);
} attn_page_kernels;

/* All numbers of K or V, as they lie in an open page -> codes, scales and zeros in `page`. */
typedef struct attn_seal_kernels {
    void (*seal)(const attn_sealed *sealed, const uint16_t *numbers, void *page);
} attn_seal_kernels;

extern const attn_seal_kernels attn_seal_kernels_portable;
#if defined(__x86_64__)
extern const attn_seal_kernels attn_seal_kernels_avx2;
extern const attn_seal_kernels attn_seal_kernels_avx512;
#endif

extern const attn_page_kernels attn_page_kernels_portable;
#if defined(__x86_64__)
extern const attn_page_kernels attn_page_kernels_avx2;
extern const attn_page_kernels attn_page_kernels_avx512;
#endif

#endif

/* Pages: how large, to rows and back 16 tokens at a time, sealed, to canonical bytes and back. */
#include "attn_page.h"

#include <string.h>

#include "runtime/base/size.h"
#include "runtime/base/told.h"

enum { PAGE = ATTN_PAGE_TOKENS, PANEL = ATTN_PANEL };

/* ---- sizes ----------------------------------------------------------------------------------- */

bool attn_is_lossy(const attn_shape *shape) {
    return shape->kv_dtype == RT_INT8 || shape->kv_dtype == RT_INT4 || shape->kv_dtype == RT_FP8;
}

int64_t attn_page_canonical_bytes(const attn_shape *shape) {
    const int64_t n_numbers = 2 * (int64_t)PAGE * shape->head_dim;
    const int64_t n_groups = (int64_t)PAGE / ATTN_SEAL_GROUP * shape->head_dim +
                             rt_div_up(shape->head_dim, ATTN_SEAL_GROUP) * PAGE;
    const int64_t bytes = n_numbers * rt_dtype_bits(shape->kv_dtype) / 8;
    if (shape->kv_dtype == RT_FP8) return bytes + ATTN_FP8_TAIL_BYTES;
    return attn_is_lossy(shape) ? bytes + 4 * n_groups : bytes;
}

int64_t attn_page_bytes(const attn_shape *shape) {
    return shape->n_kv_heads * attn_page_canonical_bytes(shape);
}

int64_t attn_open_page_bytes(const attn_shape *shape) {
    return 2 * (int64_t)shape->n_kv_heads * PAGE * shape->head_dim *
           rt_dtype_bytes(attn_open_dtype(shape));
}

/* ---- rows ------------------------------------------------------------------------------------ */

static const attn_page_kernels *page_kernels(void) {
#if defined(__x86_64__)
    if (rt_machine_isa() >= RT_ISA_AVX512) return &attn_page_kernels_avx512;
    if (rt_machine_isa() == RT_ISA_AVX2) return &attn_page_kernels_avx2;
#endif
    return &attn_page_kernels_portable;
}

void attn_page_unpack(const attn_shape *shape, const void *page, int32_t kv_head,
        int32_t first_token, int32_t n_tokens, void *k, void *v) {
    const int64_t end = (int64_t)first_token + n_tokens;
    rt_assert(first_token >= 0 && n_tokens >= 0 && end <= PAGE);
    const int64_t row_bytes = shape->head_dim * rt_dtype_bytes(attn_open_dtype(shape));
    const attn_page_kernels *kernels = page_kernels();
    attn_page_tokens tokens = {.shape = shape, .kv_head = kv_head, .token = first_token};
    for (; tokens.token < end; tokens.token += tokens.n) {
        const int64_t at = (tokens.token - first_token) * row_bytes;
        tokens.n = rt_min64(PANEL - tokens.token % PANEL, end - tokens.token);
        kernels->unpack(&tokens, page, (char *)k + at, (char *)v + at);
    }
}

void attn_page_pack(const attn_shape *shape, void *page, int32_t kv_head, int32_t first_token,
        int32_t n_tokens, const void *k, const void *v) {
    const int64_t end = (int64_t)first_token + n_tokens;
    rt_assert(first_token >= 0 && n_tokens >= 0 && end <= PAGE);
    const int64_t row_bytes = shape->head_dim * rt_dtype_bytes(attn_open_dtype(shape));
    const attn_page_kernels *kernels = page_kernels();
    attn_page_tokens tokens = {.shape = shape, .kv_head = kv_head, .token = first_token};
    for (; tokens.token < end; tokens.token += tokens.n) {
        const int64_t at = (tokens.token - first_token) * row_bytes;
        tokens.n = rt_min64(PANEL - tokens.token % PANEL, end - tokens.token);
        kernels->pack(&tokens, page, (const char *)k + at, (const char *)v + at);
    }
}

/* ---- sealed pages ---------------------------------------------------------------------------- */

static const attn_seal_kernels *seal_kernels(void) {
#if defined(__x86_64__)
    if (rt_machine_isa() >= RT_ISA_AVX512) return &attn_seal_kernels_avx512;
    if (rt_machine_isa() == RT_ISA_AVX2) return &attn_seal_kernels_avx2;
#endif
    return &attn_seal_kernels_portable;
}

void attn_page_seal(const attn_shape *shape, const void *open_page, void *page) {
    rt_assert(attn_is_lossy(shape));
    const attn_seal_kernels *kernels = seal_kernels();
    const uint16_t *numbers = open_page;
    for (int32_t kv_head = 0; kv_head < shape->n_kv_heads; kv_head++) {
        const attn_sealed keys = attn_sealed_keys(shape, kv_head);
        const attn_sealed values = attn_sealed_values(shape, kv_head);
        kernels->seal(&keys, numbers + attn_key_index(shape, kv_head, 0, 0), page);
        kernels->seal(&values, numbers + attn_value_index(shape, kv_head, 0, 0), page);
    }
}

/* Lines of codes between [panel][line][16] and [line][panel][16]: n_outer x n_inner of them, from
 * [inner][outer] to [outer][inner]. A constant size lets memcpy be one move. */
RT_TOLD static void swap_lines(
        char *to, const char *from, int64_t n_outer, int64_t n_inner, int64_t line_bytes) {
    rt_reads(from, n_outer * n_inner * line_bytes);
    rt_writes(to, n_outer * n_inner * line_bytes);
    for (int64_t outer = 0; outer < n_outer; outer++)
        for (int64_t inner = 0; inner < n_inner; inner++) {
            char *target = to + (outer * n_inner + inner) * line_bytes;
            const char *source = from + (inner * n_outer + outer) * line_bytes;
            if (line_bytes == PANEL)
                memcpy(target, source, PANEL);
            else
                memcpy(target, source, PANEL / 2);
        }
}

void attn_page_unpack_sealed(
        const attn_shape *shape, const void *page, int32_t kv_head, void *bytes) {
    rt_assert(attn_is_lossy(shape));
    const attn_sealed parts[] = {
            attn_sealed_keys(shape, kv_head), attn_sealed_values(shape, kv_head)};
    const char *head = page;
    for (int i = 0; i < 2; i++) {
        char *to = (char *)bytes - parts[0].codes;
        swap_lines(to + parts[i].codes, head + parts[i].codes, parts[i].n_lines, parts[i].n_panels,
                parts[i].line_bytes);
        memcpy(to + parts[i].scales, head + parts[i].scales,
                (size_t)(parts[i].end - parts[i].scales));
    }
}

void attn_page_pack_sealed(
        const attn_shape *shape, void *page, int32_t kv_head, const void *bytes) {
    rt_assert(attn_is_lossy(shape));
    const attn_sealed parts[] = {
            attn_sealed_keys(shape, kv_head), attn_sealed_values(shape, kv_head)};
    char *head = page;
    for (int i = 0; i < 2; i++) {
        const char *from = (const char *)bytes - parts[0].codes;
        swap_lines(head + parts[i].codes, from + parts[i].codes, parts[i].n_panels,
                parts[i].n_lines, parts[i].line_bytes);
        memcpy(head + parts[i].scales, from + parts[i].scales,
                (size_t)(parts[i].end - parts[i].scales));
    }
}

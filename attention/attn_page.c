/* A page <-> canonical rows [token][head_dim], 16 tokens at a time. */
#include "attn_page.h"

#include "runtime/base/size.h"

enum { PAGE = ATTN_PAGE_TOKENS, PANEL = ATTN_PANEL };

int64_t attn_page_bytes(const attn_shape *shape) {
    return 2 * (int64_t)shape->n_kv_heads * PAGE * shape->head_dim *
           rt_dtype_bytes(shape->kv_dtype);
}

static const attn_page_kernels *page_kernels(void) {
#if defined(__x86_64__)
    if (rt_machine_isa() == RT_ISA_AVX512) return &attn_page_kernels_avx512;
    if (rt_machine_isa() == RT_ISA_AVX2) return &attn_page_kernels_avx2;
#endif
    return &attn_page_kernels_portable;
}

void attn_page_unpack(const attn_shape *shape, const void *page, int32_t kv_head,
        int32_t first_token, int32_t n_tokens, void *k, void *v) {
    const int64_t end = (int64_t)first_token + n_tokens;
    rt_assert(first_token >= 0 && n_tokens >= 0 && end <= PAGE);
    const int64_t row_bytes = shape->head_dim * rt_dtype_bytes(shape->kv_dtype);
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
    const int64_t row_bytes = shape->head_dim * rt_dtype_bytes(shape->kv_dtype);
    const attn_page_kernels *kernels = page_kernels();
    attn_page_tokens tokens = {.shape = shape, .kv_head = kv_head, .token = first_token};
    for (; tokens.token < end; tokens.token += tokens.n) {
        const int64_t at = (tokens.token - first_token) * row_bytes;
        tokens.n = rt_min64(PANEL - tokens.token % PANEL, end - tokens.token);
        kernels->pack(&tokens, page, (const char *)k + at, (const char *)v + at);
    }
}

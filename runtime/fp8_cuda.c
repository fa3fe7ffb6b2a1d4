/* e4m3 pages on a GPU: sealing what is full, and prefill, whose kernels read bf16 pages: as many as GLM_CUDA_WIDE at
 * a time are widened, exactly, and attended to by all rows of the call. */
#include "engine_cuda.h"

static rt_stream compute_of(const glm_cuda *cuda) {
    return cuda->device.compute;
}

/* ---- sealing --------------------------------------------------------------------------------- */

rt_status glm_cuda_seal_listed(
        glm_cuda *cuda, void *const *open_pages, void *const *pages, int64_t n) {
    const attn_cuda_seal_args args = {.open_pages = open_pages, .pages = pages, .n_pages = n};
    return attn_cuda_seal_fp8(&cuda->shape, &args, compute_of(cuda));
}

rt_status glm_cuda_seal(glm_cuda *cuda, void *const *both, int64_t n) {
    void *const *sent = NULL;
    if (n == 0) return RT_OK;
    RT_TRY(glm_cuda_tables_send(&cuda->seal_tables, both, 2 * n, compute_of(cuda), &sent));
    return glm_cuda_seal_listed(cuda, sent, sent + n, n);
}

/* ---- prefill --------------------------------------------------------------------------------- */

/* Of the call's pages, those that some query reads sealed: all before the last query's own. */
static int64_t n_sealed(const attn_cuda_prefill_args *args) {
    const int64_t last = (args->pos + args->n_tokens - 1) / ATTN_PAGE_TOKENS;
    return rt_min64(
            last - args->first_pos / ATTN_PAGE_TOKENS, rt_div_up(args->n_keys, ATTN_PAGE_TOKENS));
}

/* Keys [key, key + n) of the call. */
static rt_status prefill_part(
        glm_cuda *cuda, const attn_cuda_prefill_args *args, int64_t key, int64_t n) {
    const int64_t page = key / ATTN_PAGE_TOKENS;
    const attn_cuda_seal_args wide = {.open_pages = cuda->wide_list,
            .pages = args->pages + page,
            .n_pages =
                    rt_max64(rt_min64(n_sealed(args) - page, rt_div_up(n, ATTN_PAGE_TOKENS)), 0)};
    attn_cuda_prefill_args part = *args;
    part.pages = cuda->wide_list;
    part.first_pos += key;
    part.n_keys = n;
    part.is_first = args->is_first && key == 0;
    part.is_last = args->is_last && key + n == args->n_keys;
    RT_TRY(attn_cuda_widen_fp8(&cuda->shape, &wide, compute_of(cuda)));
    return glm_cuda_prefill(cuda, &part);
}

rt_status glm_cuda_prefill_fp8(glm_cuda *cuda, const attn_cuda_prefill_args *args) {
    const int64_t step = cuda->n_wide * ATTN_PAGE_TOKENS;
    for (int64_t key = 0; key < args->n_keys; key += step)
        RT_TRY(prefill_part(cuda, args, key, rt_min64(step, args->n_keys - key)));
    return RT_OK;
}

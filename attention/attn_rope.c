/* Rotary positions and the writing of pages. */
#include <math.h>

#include "attn_cpu.h"
#include "runtime/base/told.h"

enum { PAGE = ATTN_PAGE_TOKENS, PANEL = ATTN_PANEL };

typedef struct append_job {
    const attn_cpu *cpu;
    float *q;  /* NULL: none to rotate */
    float *kv; /* NULL: none to store */
    int64_t q_stride;
    int64_t kv_stride;
    int64_t n_tokens;
    int64_t pos;
    void *const *pages;
} append_job;

/* What an item touches of its tokens: their queries, or keys and values and these where they go; of a page's panels,
 * which others read, only the tokens' own numbers. */
static void tell_pages(const append_job *job, int64_t token, int64_t n) {
    const attn_shape *shape = &job->cpu->shape;
    const int64_t slot = (job->pos + token) % PAGE;
    const int64_t bytes = rt_dtype_bytes(attn_open_dtype(shape));
    char *page = job->pages[(job->pos + token) / PAGE - job->pos / PAGE];
    for (int32_t g = 0; g < shape->n_kv_heads; g++) {
        for (int32_t d = 0; d < shape->head_dim; d++)
            for (int64_t t = slot; t < slot + n; t++) {
                rt_writes(page + attn_key_index(shape, g, t, d) * bytes, bytes);
                rt_writes(page + attn_value_index(shape, g, t, d) * bytes, bytes);
            }
    }
}

static void tell(const append_job *job, int64_t begin, int64_t end) {
    const attn_shape *shape = &job->cpu->shape;
    const int64_t head_bytes = shape->head_dim * (int64_t)sizeof(float);
    for (int64_t t = begin; t < end && job->q; t++)
        rt_writes(job->q + t * job->q_stride, shape->n_heads * head_bytes);
    for (int64_t t = begin; t < end && job->kv; t++)
        rt_writes(job->kv + t * job->kv_stride, 2 * shape->n_kv_heads * head_bytes);
    if (job->kv) tell_pages(job, begin, end - begin);
}

/* (x0, x1) -> (x0 cos - x1 sin, x1 cos + x0 sin) for pairs (2j, 2j+1) of the leading dims. */
RT_TOLD static void rotate(
        const attn_shape *shape, const float *cosine, const float *sine, float *head) {
    for (int32_t j = 0; j < shape->rope_dim / 2; j++) {
        const float x0 = head[2 * j];
        const float x1 = head[2 * j + 1];
        head[2 * j] = x0 * cosine[j] - x1 * sine[j];
        head[2 * j + 1] = x1 * cosine[j] + x0 * sine[j];
    }
}

RT_TOLD static void store_float(rt_dtype dtype, void *page, int64_t index, float value) {
    if (dtype == RT_F32)
        ((float *)page)[index] = value;
    else
        ((uint16_t *)page)[index] = rt_float_to_bf16(value);
}

RT_TOLD static void store_row(
        const append_job *job, const float *cosine, const float *sine, float *kv, int64_t token) {
    const attn_shape *shape = &job->cpu->shape;
    const int64_t first_page = job->pos / PAGE;
    void *page = job->pages[(job->pos + token) / PAGE - first_page];
    const int64_t slot = (job->pos + token) % PAGE;
    const int64_t v_offset = (int64_t)shape->n_kv_heads * shape->head_dim;
    const rt_dtype dtype = attn_open_dtype(shape);
    for (int32_t g = 0; g < shape->n_kv_heads; g++) {
        float *k = kv + (int64_t)g * shape->head_dim;
        const float *v = k + v_offset;
        rotate(shape, cosine, sine, k);
        for (int32_t d = 0; d < shape->head_dim; d++) {
            store_float(dtype, page, attn_key_index(shape, g, slot, d), k[d]);
            store_float(dtype, page, attn_value_index(shape, g, slot, d), v[d]);
        }
    }
}

/* Items are absolute groups of 16 positions: no two threads write one panel of keys. */
RT_TOLD static void append_item(void *context, int64_t item, int thread) {
    (void)thread;
    const append_job *job = context;
    const attn_shape *shape = &job->cpu->shape;
    const int64_t group = job->pos / PANEL + item;
    const int64_t begin = rt_max64(group * PANEL - job->pos, 0);
    const int64_t end = rt_min64((group + 1) * PANEL - job->pos, job->n_tokens);
    tell(job, begin, end);
    float cosine[ATTN_HEAD_DIM_MAX / 2];
    float sine[ATTN_HEAD_DIM_MAX / 2];
    for (int64_t t = begin; t < end; t++) {
        const float position = (float)(job->pos + t); /* exact up to 2^24 */
        for (int32_t j = 0; j < shape->rope_dim / 2; j++)
            sincosf(position * job->cpu->theta[j], &sine[j], &cosine[j]);
        if (job->q)
            for (int32_t h = 0; h < shape->n_heads; h++)
                rotate(shape, cosine, sine,
                        job->q + t * job->q_stride + (int64_t)h * shape->head_dim);
        if (job->kv) store_row(job, cosine, sine, job->kv + t * job->kv_stride, t);
    }
}

static void run_append(const append_job *job) {
    if (job->n_tokens == 0) return;
    const int64_t n_items = (job->pos + job->n_tokens - 1) / PANEL - job->pos / PANEL + 1;
    rt_pool_run(job->cpu->pool, n_items, append_item, (void *)(uintptr_t)job);
}

void attn_append_kv(attn_cpu *cpu, float *kv, int64_t stride, int64_t n_tokens, int64_t pos,
        void *const *pages) {
    const append_job job = {.cpu = cpu,
            .kv = kv,
            .kv_stride = stride,
            .n_tokens = n_tokens,
            .pos = pos,
            .pages = pages};
    run_append(&job);
}

void attn_rotate_q(attn_cpu *cpu, float *q, int64_t stride, int64_t n_tokens, int64_t pos) {
    const append_job job = {
            .cpu = cpu, .q = q, .q_stride = stride, .n_tokens = n_tokens, .pos = pos};
    run_append(&job);
}

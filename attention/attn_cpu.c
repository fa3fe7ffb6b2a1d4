/* Attention on the CPU: how the work is cut into pieces for threads and vectors.
 *
 * Prefill: an item is one KV head and a tile of tokens (96 rows or fewer, all query heads of the
 * group), which walks its splits in ascending order. Decode: an item is one KV head, one split and
 * the sequences that share its pages; a second loop folds the splits, ascending. The arithmetic of
 * a row is the same in both (attention.h), so their bits are too. */
#include "attention.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn_simd.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { PAGE = ATTN_PAGE_TOKENS, SPLIT = ATTN_SPLIT_TOKENS, PANEL = 16 };

struct attn_cpu {
    attn_shape shape;
    const attn_kernels *kernels;
    rt_pool *pool;
    int32_t group;         /* query heads per KV head */
    float q_scale;         /* log2(e) / sqrt(head_dim) */
    float *theta;          /* [rope_dim / 2] */
    attn_scratch *scratch; /* one per thread */
    rt_arena arena;
};

/* ---- setting up ------------------------------------------------------------------------------ */

static rt_status check_shape(const attn_shape *shape) {
    if (shape->head_dim <= 0 || shape->head_dim % PANEL != 0 || shape->head_dim > ATTN_HEAD_DIM_MAX)
        return rt_fail(RT_EUSAGE,
                "attention: head_dim %" PRId32 " is not supported; multiples of 16 up to %d are",
                shape->head_dim, ATTN_HEAD_DIM_MAX);
    if (shape->n_kv_heads <= 0 || shape->n_heads <= 0 || shape->n_heads % shape->n_kv_heads != 0 ||
            shape->n_heads / shape->n_kv_heads > ATTN_ROWS_MAX)
        return rt_fail(RT_EUSAGE,
                "attention: %" PRId32 " query heads over %" PRId32
                " KV heads: the first must be a multiple of the second, at most %d times it",
                shape->n_heads, shape->n_kv_heads, ATTN_ROWS_MAX);
    if (shape->rope_dim < 0 || shape->rope_dim % 2 != 0 || shape->rope_dim > shape->head_dim)
        return rt_fail(RT_EUSAGE,
                "attention: %" PRId32 " rotated dims of %" PRId32 ": must be even and fit",
                shape->rope_dim, shape->head_dim);
    if (shape->kv_dtype == RT_F16)
        return rt_fail(RT_EUSAGE, "attention: f16 pages are not supported; bf16 and f32 are");
    return RT_OK;
}

static int64_t thread_scratch_bytes(const attn_shape *shape) {
    const int64_t d = shape->head_dim;
    const int64_t rows = ATTN_ROWS_MAX;
    const int64_t row_vector = rt_arena_cost(rows * 4);
    return 3 * rt_arena_cost(rows * d * 4) + rt_arena_cost(rows * PAGE * 4) +
           2 * rt_arena_cost(d * PAGE * 4) + 4 * row_vector + rt_arena_cost(rows * 8);
}

int64_t attn_cpu_scratch_bytes(const attn_shape *shape, int n_threads) {
    return rt_arena_cost((int64_t)n_threads * (int64_t)sizeof(attn_scratch)) +
           rt_arena_cost((int64_t)shape->rope_dim * 4) + n_threads * thread_scratch_bytes(shape);
}

static void carve_scratch(rt_arena *arena, const attn_shape *shape, attn_scratch *scratch) {
    const int64_t d = shape->head_dim;
    const int64_t rows = ATTN_ROWS_MAX;
    scratch->q = rt_arena_take(arena, rows * d * 4);
    scratch->part_out = rt_arena_take(arena, rows * d * 4);
    scratch->row_out = rt_arena_take(arena, rows * d * 4);
    scratch->scores = rt_arena_take(arena, rows * PAGE * 4);
    scratch->keys = rt_arena_take(arena, d * PAGE * 4);
    scratch->values = rt_arena_take(arena, d * PAGE * 4);
    scratch->part_max = rt_arena_take(arena, rows * 4);
    scratch->part_sum = rt_arena_take(arena, rows * 4);
    scratch->row_max = rt_arena_take(arena, rows * 4);
    scratch->row_sum = rt_arena_take(arena, rows * 4);
    scratch->limit = rt_arena_take(arena, rows * 8);
}

static const attn_kernels *kernels_for(rt_isa isa) {
    rt_assert(isa <= rt_machine_isa());
#if defined(__x86_64__)
    if (isa == RT_ISA_AVX512) return &attn_kernels_avx512;
    if (isa == RT_ISA_AVX2) return &attn_kernels_avx2;
#endif
    return &attn_kernels_portable;
}

rt_status attn_cpu_create(const attn_shape *shape, rt_isa isa, rt_pool *pool, attn_cpu **out) {
    RT_TRY(check_shape(shape));
    attn_cpu *cpu = NULL;
    RT_TRY(rt_calloc(1, sizeof *cpu, "attention", &cpu));
    cpu->shape = *shape;
    cpu->kernels = kernels_for(isa);
    cpu->pool = pool;
    cpu->group = shape->n_heads / shape->n_kv_heads;
    cpu->q_scale = (float)(1.4426950408889634 / sqrt((double)shape->head_dim));

    const int n_threads = rt_pool_threads(pool);
    const rt_status status = rt_arena_create(
            &cpu->arena, attn_cpu_scratch_bytes(shape, n_threads), "attention scratch");
    if (status != RT_OK) {
        free(cpu);
        return status;
    }
    cpu->scratch = rt_arena_take(&cpu->arena, (int64_t)n_threads * (int64_t)sizeof(attn_scratch));
    for (int i = 0; i < n_threads; i++) carve_scratch(&cpu->arena, shape, &cpu->scratch[i]);

    /* As the reference forms them: fp32 exponent, fp32 power, fp32 reciprocal. */
    cpu->theta = rt_arena_take(&cpu->arena, (int64_t)shape->rope_dim * 4);
    for (int32_t j = 0; j < shape->rope_dim / 2; j++) {
        const float exponent = (float)(2 * j) / (float)shape->rope_dim;
        cpu->theta[j] = 1.0f / powf((float)shape->rope_base, exponent);
    }
    *out = cpu;
    return RT_OK;
}

void attn_cpu_free(attn_cpu *cpu) {
    if (!cpu) return;
    rt_arena_free(&cpu->arena);
    free(cpu);
}

/* ---- pages ----------------------------------------------------------------------------------- */

int64_t attn_page_bytes(const attn_shape *shape) {
    return 2 * (int64_t)shape->n_kv_heads * PAGE * shape->head_dim *
           rt_dtype_bytes(shape->kv_dtype);
}

/* Element index in a page of K[token][d] and V[token][d] of a KV head (the layout in attention.h). */
static int64_t key_index(const attn_shape *shape, int32_t kv_head, int64_t token, int32_t d) {
    const int64_t head = 2 * (int64_t)kv_head * PAGE * shape->head_dim;
    return head + (token / PANEL * shape->head_dim + d) * PANEL + token % PANEL;
}

static int64_t value_index(const attn_shape *shape, int32_t kv_head, int64_t token, int32_t d) {
    const int64_t head = (2 * (int64_t)kv_head + 1) * PAGE * shape->head_dim;
    return head + ((int64_t)(d / PANEL) * PAGE + token) * PANEL + d % PANEL;
}

static void store_float(const attn_shape *shape, void *page, int64_t index, float value) {
    if (shape->kv_dtype == RT_F32)
        ((float *)page)[index] = value;
    else
        ((uint16_t *)page)[index] = rt_float_to_bf16(value);
}

static void copy_number(
        void *to, int64_t to_index, const void *from, int64_t from_index, int64_t bytes) {
    memcpy((char *)to + to_index * bytes, (const char *)from + from_index * bytes, (size_t)bytes);
}

void attn_page_unpack(const attn_shape *shape, const void *page, int32_t kv_head,
        int32_t first_token, int32_t n_tokens, void *k, void *v) {
    rt_assert(first_token >= 0 && n_tokens >= 0 && first_token + n_tokens <= PAGE);
    const int64_t bytes = rt_dtype_bytes(shape->kv_dtype);
    for (int32_t t = 0; t < n_tokens; t++)
        for (int32_t d = 0; d < shape->head_dim; d++) {
            const int64_t row = (int64_t)t * shape->head_dim + d;
            copy_number(k, row, page, key_index(shape, kv_head, first_token + t, d), bytes);
            copy_number(v, row, page, value_index(shape, kv_head, first_token + t, d), bytes);
        }
}

void attn_page_pack(const attn_shape *shape, void *page, int32_t kv_head, int32_t first_token,
        int32_t n_tokens, const void *k, const void *v) {
    rt_assert(first_token >= 0 && n_tokens >= 0 && first_token + n_tokens <= PAGE);
    const int64_t bytes = rt_dtype_bytes(shape->kv_dtype);
    for (int32_t t = 0; t < n_tokens; t++)
        for (int32_t d = 0; d < shape->head_dim; d++) {
            const int64_t row = (int64_t)t * shape->head_dim + d;
            copy_number(page, key_index(shape, kv_head, first_token + t, d), k, row, bytes);
            copy_number(page, value_index(shape, kv_head, first_token + t, d), v, row, bytes);
        }
}

/* ---- rope and append ------------------------------------------------------------------------- */

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

/* (x0, x1) -> (x0 cos - x1 sin, x1 cos + x0 sin) for pairs (2j, 2j+1) of the leading dims. */
static void rotate(const attn_shape *shape, const float *cosine, const float *sine, float *head) {
    for (int32_t j = 0; j < shape->rope_dim / 2; j++) {
        const float x0 = head[2 * j];
        const float x1 = head[2 * j + 1];
        head[2 * j] = x0 * cosine[j] - x1 * sine[j];
        head[2 * j + 1] = x1 * cosine[j] + x0 * sine[j];
    }
}

static void store_row(
        const append_job *job, const float *cosine, const float *sine, float *kv, int64_t token) {
    const attn_shape *shape = &job->cpu->shape;
    const int64_t first_page = job->pos / PAGE;
    void *page = job->pages[(job->pos + token) / PAGE - first_page];
    const int64_t slot = (job->pos + token) % PAGE;
    const int64_t v_offset = (int64_t)shape->n_kv_heads * shape->head_dim;
    for (int32_t g = 0; g < shape->n_kv_heads; g++) {
        float *k = kv + (int64_t)g * shape->head_dim;
        const float *v = k + v_offset;
        rotate(shape, cosine, sine, k);
        for (int32_t d = 0; d < shape->head_dim; d++) {
            store_float(shape, page, key_index(shape, g, slot, d), k[d]);
            store_float(shape, page, value_index(shape, g, slot, d), v[d]);
        }
    }
}

/* Items are absolute groups of 16 positions: no two threads write one panel of keys. */
static void append_item(void *context, int64_t item, int thread) {
    (void)thread;
    const append_job *job = context;
    const attn_shape *shape = &job->cpu->shape;
    const int64_t group = job->pos / PANEL + item;
    const int64_t begin = rt_max64(group * PANEL - job->pos, 0);
    const int64_t end = rt_min64((group + 1) * PANEL - job->pos, job->n_tokens);
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

void attn_append(attn_cpu *cpu, float *qkv, int64_t n_tokens, int64_t pos, void *const *pages) {
    const attn_shape *shape = &cpu->shape;
    const int64_t q_width = (int64_t)shape->n_heads * shape->head_dim;
    const int64_t stride = q_width + 2 * (int64_t)shape->n_kv_heads * shape->head_dim;
    const append_job job = {.cpu = cpu,
            .q = qkv,
            .kv = qkv + q_width,
            .q_stride = stride,
            .kv_stride = stride,
            .n_tokens = n_tokens,
            .pos = pos,
            .pages = pages};
    run_append(&job);
}

void attn_append_kv(attn_cpu *cpu, float *kv, int64_t n_tokens, int64_t pos, void *const *pages) {
    const int64_t stride = 2 * (int64_t)cpu->shape.n_kv_heads * cpu->shape.head_dim;
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

/* ---- prefill --------------------------------------------------------------------------------- */

typedef struct prefill_job {
    const attn_cpu *cpu;
    const float *q;
    int64_t stride;
    int64_t n_tokens;
    int64_t pos;
    const attn_segment *segment;
    attn_state *state;
    int64_t tile_tokens;
} prefill_job;

static void scale_row(const attn_cpu *cpu, const float *from, float *to) {
    for (int32_t d = 0; d < cpu->shape.head_dim; d++) to[d] = from[d] * cpu->q_scale;
}

/* Row r of a tile is token r / group, query head r % group of the KV head's group. */
static int64_t state_row(const prefill_job *job, int32_t kv_head, int64_t token, int64_t row) {
    const int32_t group = job->cpu->group;
    return (token + row / group) * job->cpu->shape.n_heads + kv_head * group + row % group;
}

static void load_rows(
        const prefill_job *job, int32_t kv_head, int64_t token, int64_t n_rows, attn_scratch *s) {
    const attn_cpu *cpu = job->cpu;
    const int64_t d = cpu->shape.head_dim;
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t at = state_row(job, kv_head, token, r);
        const int64_t head = kv_head * cpu->group + r % cpu->group;
        scale_row(cpu, job->q + (token + r / cpu->group) * job->stride + head * d, s->q + r * d);
        s->limit[r] = job->pos + token + r / cpu->group + 1;
        s->row_max[r] = job->state->max[at];
        s->row_sum[r] = job->state->sum[at];
        memcpy(s->row_out + r * d, job->state->out + at * d, (size_t)d * 4);
    }
}

static void store_rows(const prefill_job *job, int32_t kv_head, int64_t token, int64_t n_rows,
        const attn_scratch *s) {
    const int64_t d = job->cpu->shape.head_dim;
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t at = state_row(job, kv_head, token, r);
        job->state->max[at] = s->row_max[r];
        job->state->sum[at] = s->row_sum[r];
        memcpy(job->state->out + at * d, s->row_out + r * d, (size_t)d * 4);
    }
}

static void prefill_item(void *context, int64_t item, int thread) {
    const prefill_job *job = context;
    const attn_cpu *cpu = job->cpu;
    attn_scratch *s = &cpu->scratch[thread];
    /* Latest tokens first: they have the most keys. */
    const int64_t n_tiles = rt_div_up(job->n_tokens, job->tile_tokens);
    const int32_t kv_head = (int32_t)(item / n_tiles);
    const int64_t token = (n_tiles - 1 - item % n_tiles) * job->tile_tokens;
    const int64_t n_tokens = rt_min64(job->tile_tokens, job->n_tokens - token);
    const int64_t n_rows = n_tokens * cpu->group;
    const attn_segment *segment = job->segment;
    const int64_t last = job->pos + token + n_tokens; /* no row of the tile sees further */
    const int64_t end = rt_min64(segment->first_pos + segment->n_tokens, last);

    load_rows(job, kv_head, token, n_rows, s);
    int64_t next = 0;
    for (int64_t pos = segment->first_pos; pos < end; pos = next) {
        next = rt_min64((pos / SPLIT + 1) * SPLIT, end);
        const attn_split split = {.shape = &cpu->shape,
                .kv_head = kv_head,
                .n_rows = n_rows,
                .pages = segment->pages + (pos - segment->first_pos) / PAGE,
                .first_pos = pos,
                .n_tokens = next - pos};
        if (cpu->kernels->scan(&split, s))
            cpu->kernels->fold(s->row_max, s->row_sum, s->row_out, s->part_max, s->part_sum,
                    s->part_out, n_rows, cpu->shape.head_dim);
    }
    store_rows(job, kv_head, token, n_rows, s);
}

void attn_prefill(attn_cpu *cpu, const float *q, int64_t stride, int64_t n_tokens, int64_t pos,
        const attn_segment *segment, attn_state *state) {
    rt_assert(segment->first_pos % PAGE == 0 && segment->n_tokens >= 0);
    if (n_tokens == 0 || segment->n_tokens == 0) return;
    prefill_job job = {.cpu = cpu,
            .q = q,
            .stride = stride,
            .n_tokens = n_tokens,
            .pos = pos,
            .segment = segment,
            .state = state,
            .tile_tokens = ATTN_ROWS_MAX / cpu->group};
    const int64_t n_tiles = rt_div_up(n_tokens, job.tile_tokens);
    rt_pool_run(cpu->pool, n_tiles * cpu->shape.n_kv_heads, prefill_item, &job);
}

void attn_reset(attn_cpu *cpu, attn_state *state, int64_t n_tokens) {
    const int64_t n_rows = n_tokens * cpu->shape.n_heads;
    for (int64_t r = 0; r < n_rows; r++) state->max[r] = -INFINITY;
    memset(state->sum, 0, (size_t)n_rows * 4);
    memset(state->out, 0, (size_t)(n_rows * cpu->shape.head_dim) * 4);
}

static void finish_row(float max, float sum, float *out, int32_t head_dim, float *lse) {
    if (sum == 0.0f) memset(out, 0, (size_t)head_dim * sizeof *out);
    for (int32_t d = 0; d < head_dim && sum != 0.0f; d++) out[d] /= sum;
    if (lse) *lse = sum == 0.0f ? -INFINITY : max * 0.6931471806f + logf(sum);
}

typedef struct finish_job {
    const attn_cpu *cpu;
    attn_state *state;
    int64_t n_rows;
    float *lse;
} finish_job;

enum { ROWS_PER_FINISH_ITEM = 512 };

static void finish_item(void *context, int64_t item, int thread) {
    (void)thread;
    const finish_job *job = context;
    const int32_t head_dim = job->cpu->shape.head_dim;
    const int64_t end = rt_min64((item + 1) * ROWS_PER_FINISH_ITEM, job->n_rows);
    for (int64_t r = item * ROWS_PER_FINISH_ITEM; r < end; r++)
        finish_row(job->state->max[r], job->state->sum[r], job->state->out + r * head_dim, head_dim,
                job->lse ? job->lse + r : NULL);
}

void attn_finish(attn_cpu *cpu, attn_state *state, int64_t n_tokens, float *lse) {
    finish_job job = {
            .cpu = cpu, .state = state, .n_rows = n_tokens * cpu->shape.n_heads, .lse = lse};
    rt_pool_run(cpu->pool, rt_div_up(job.n_rows, ROWS_PER_FINISH_ITEM), finish_item, &job);
}

void attn_merge(attn_cpu *cpu, attn_state *acc, const attn_state *part, int64_t n_rows) {
    cpu->kernels->fold(acc->max, acc->sum, acc->out, part->max, part->sum, part->out, n_rows,
            cpu->shape.head_dim);
}

/* ---- decode ---------------------------------------------------------------------------------- */

/* Sequences order[first .. first + n) hold the same pages in split `split`. */
typedef struct decode_pass {
    int64_t split;
    int32_t first;
    int32_t n;
} decode_pass;

typedef struct decode_job {
    const attn_cpu *cpu;
    const float *q;
    int64_t stride;
    const attn_segment *keys;
    int32_t n_seqs;
    float *out;
    decode_pass *passes;
    int32_t *order;
    float *max; /* partial states [split][seq][n_heads] */
    float *sum;
    float *part;
} decode_job;

static int64_t n_splits_of(int64_t n_tokens) {
    return rt_div_up(n_tokens, SPLIT);
}

int64_t attn_decode_scratch_bytes(const attn_shape *shape, int64_t max_tokens, int32_t max_seqs) {
    const int64_t cells = n_splits_of(max_tokens) * max_seqs;
    const int64_t rows = cells * shape->n_heads;
    return rt_round_up(cells * (int64_t)sizeof(decode_pass), 64) + rt_round_up(cells * 4, 64) +
           2 * rt_round_up(rows * 4, 64) + rows * shape->head_dim * 4;
}

static void carve_decode(decode_job *job, void *scratch, int64_t cells) {
    char *next = scratch;
    const int64_t rows = cells * job->cpu->shape.n_heads;
    job->passes = (decode_pass *)(void *)next;
    next += rt_round_up(cells * (int64_t)sizeof(decode_pass), 64);
    job->order = (int32_t *)(void *)next;
    next += rt_round_up(cells * 4, 64);
    job->max = (float *)(void *)next;
    next += rt_round_up(rows * 4, 64);
    job->sum = (float *)(void *)next;
    next += rt_round_up(rows * 4, 64);
    job->part = (float *)(void *)next;
}

static int64_t split_tokens(const attn_segment *keys, int64_t split) {
    return rt_min64(keys->n_tokens - split * SPLIT, SPLIT);
}

static bool is_same_split(const attn_segment *a, const attn_segment *b, int64_t split) {
    const int64_t n_tokens = split_tokens(a, split);
    if (n_tokens != split_tokens(b, split)) return false;
    const int64_t first = split * (SPLIT / PAGE);
    const size_t n_pages = (size_t)rt_div_up(n_tokens, PAGE);
    return memcmp(a->pages + first, b->pages + first, n_pages * sizeof *a->pages) == 0;
}

/* List the passes of every split: each takes the first sequence left and all that share its pages
 * there, as many as fit one piece. */
static int64_t list_passes(decode_job *job, int64_t n_splits) {
    const int32_t per_pass = ATTN_ROWS_MAX / job->cpu->group;
    int64_t n_passes = 0;
    int32_t filled = 0;
    for (int64_t split = 0; split < n_splits; split++) {
        const int32_t split_begin = filled;
        int32_t n_waiting = 0;
        for (int32_t i = 0; i < job->n_seqs; i++)
            if (job->keys[i].n_tokens > split * SPLIT) job->order[split_begin + n_waiting++] = i;
        while (filled < split_begin + n_waiting) {
            const int32_t first = filled;
            const attn_segment *leader = &job->keys[job->order[filled++]];
            for (int32_t i = filled; i < split_begin + n_waiting && filled - first < per_pass;
                    i++) {
                if (!is_same_split(leader, &job->keys[job->order[i]], split)) continue;
                const int32_t taken = job->order[i];
                job->order[i] = job->order[filled];
                job->order[filled++] = taken;
            }
            job->passes[n_passes++] = (decode_pass){split, first, filled - first};
        }
    }
    return n_passes;
}

static void decode_pass_item(void *context, int64_t item, int thread) {
    const decode_job *job = context;
    const attn_cpu *cpu = job->cpu;
    const int64_t d = cpu->shape.head_dim;
    attn_scratch *s = &cpu->scratch[thread];
    const decode_pass *pass = &job->passes[item / cpu->shape.n_kv_heads];
    const int32_t kv_head = (int32_t)(item % cpu->shape.n_kv_heads);
    const int32_t *seqs = job->order + pass->first;
    const attn_segment *keys = &job->keys[seqs[0]];
    const int64_t n_rows = (int64_t)pass->n * cpu->group;

    for (int64_t r = 0; r < n_rows; r++) {
        const int32_t seq = seqs[r / cpu->group];
        const int64_t head = kv_head * cpu->group + r % cpu->group;
        scale_row(cpu, job->q + seq * job->stride + head * d, s->q + r * d);
        s->limit[r] = job->keys[seq].n_tokens;
    }
    const attn_split split = {.shape = &cpu->shape,
            .kv_head = kv_head,
            .n_rows = n_rows,
            .pages = keys->pages + pass->split * (SPLIT / PAGE),
            .first_pos = pass->split * SPLIT,
            .n_tokens = split_tokens(keys, pass->split)};
    (void)cpu->kernels->scan(&split, s);
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t at = (pass->split * job->n_seqs + seqs[r / cpu->group]) * cpu->shape.n_heads +
                           kv_head * cpu->group + r % cpu->group;
        job->max[at] = s->part_max[r];
        job->sum[at] = s->part_sum[r];
        memcpy(job->part + at * d, s->part_out + r * d, (size_t)d * 4);
    }
}

static void decode_fold_item(void *context, int64_t item, int thread) {
    (void)thread;
    const decode_job *job = context;
    const attn_cpu *cpu = job->cpu;
    const int32_t n_heads = cpu->shape.n_heads;
    const int64_t d = cpu->shape.head_dim;
    const int64_t seq = item / n_heads;
    float *out = job->out + item * d;
    float max = -INFINITY;
    float sum = 0.0f;
    memset(out, 0, (size_t)d * 4);
    for (int64_t split = 0; split < n_splits_of(job->keys[seq].n_tokens); split++) {
        const int64_t at = (split * job->n_seqs + seq) * n_heads + item % n_heads;
        cpu->kernels->fold(&max, &sum, out, job->max + at, job->sum + at, job->part + at * d, 1,
                cpu->shape.head_dim);
    }
    finish_row(max, sum, out, cpu->shape.head_dim, NULL);
}

void attn_decode(attn_cpu *cpu, const float *q, int64_t stride, const attn_segment *keys,
        int32_t n_seqs, float *out, void *scratch) {
    int64_t n_splits = 0;
    for (int32_t i = 0; i < n_seqs; i++) {
        rt_assert(keys[i].first_pos == 0 && keys[i].n_tokens > 0);
        n_splits = rt_max64(n_splits, n_splits_of(keys[i].n_tokens));
    }
    decode_job job = {
            .cpu = cpu, .q = q, .stride = stride, .keys = keys, .n_seqs = n_seqs, .out = out};
    carve_decode(&job, scratch, n_splits * n_seqs);
    const int64_t n_passes = list_passes(&job, n_splits);
    rt_pool_run(cpu->pool, n_passes * cpu->shape.n_kv_heads, decode_pass_item, &job);
    rt_pool_run(cpu->pool, (int64_t)n_seqs * cpu->shape.n_heads, decode_fold_item, &job);
}

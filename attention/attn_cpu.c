/* Attention on the CPU: how the work is cut into pieces for threads and vectors.
 *
 * Prefill: an item is one KV head and a tile of tokens (96 rows or fewer, all query heads of the
 * group), which walks its splits in ascending order. Decode (attn_decode.c): an item is one KV head,
 * one split and the sequences that share its pages. The arithmetic of a row is the same in both
 * (attention.h), so their bits are too. */
#include "attn_cpu.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn_page.h"
#include "runtime/base/ends.h"
#include "runtime/base/size.h"
#include "runtime/base/told.h"

enum { PAGE = ATTN_PAGE_TOKENS, SPLIT = ATTN_SPLIT_TOKENS };

/* ---- setting up ------------------------------------------------------------------------------ */

rt_status attn_cpu_check(const attn_shape *shape) {
    if (shape->head_dim <= 0 || shape->head_dim % ATTN_PANEL != 0 ||
            shape->head_dim > ATTN_HEAD_DIM_MAX)
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
        return rt_fail(RT_EUSAGE,
                "attention: f16 pages are not supported; bf16, f32, int8, int4 and fp8 are");
    return RT_OK;
}

static int64_t thread_scratch_bytes(const attn_shape *shape) {
    const int64_t d = shape->head_dim;
    const int64_t rows = ATTN_ROWS_MAX;
    const int64_t row_vector = rt_arena_cost(rows * 4);
    return 2 * rt_arena_cost(rows * d * 4) + rt_arena_cost(rows * PAGE * 4) +
           2 * rt_arena_cost(d * PAGE * 4) + 2 * row_vector + rt_arena_cost(rows * 8);
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
    scratch->scores = rt_arena_take(arena, rows * PAGE * 4);
    scratch->keys = rt_arena_take(arena, d * PAGE * 4);
    scratch->values = rt_arena_take(arena, d * PAGE * 4);
    scratch->part_max = rt_arena_take(arena, rows * 4);
    scratch->part_sum = rt_arena_take(arena, rows * 4);
    scratch->limit = rt_arena_take(arena, rows * 8);
}

bool attn_cpu_has_tiles(const attn_shape *shape) {
    return shape->kv_dtype != RT_F32 && shape->head_dim % 32 == 0;
}

rt_isa attn_cpu_isa(const attn_shape *shape, rt_isa isa) {
    if (isa < RT_ISA_AMX) return isa;
#if defined(GLM_WITH_AMX)
    if (attn_cpu_has_tiles(shape)) return RT_ISA_AMX;
#endif
    (void)shape;
    return RT_ISA_AVX512;
}

static const attn_kernels *kernels_for(const attn_shape *shape, rt_isa isa) {
    rt_assert(isa <= rt_machine_isa());
    switch (attn_cpu_isa(shape, isa)) {
#if defined(GLM_WITH_AMX)
    case RT_ISA_AMX:
        return attn_is_int(shape) ? &attn_kernels_int_amx : &attn_kernels_amx;
#endif
#if defined(__x86_64__)
    case RT_ISA_AVX512:
        return &attn_kernels_avx512;
    case RT_ISA_AVX2:
        return &attn_kernels_avx2;
#endif
    default:
        return &attn_kernels_portable;
    }
}

rt_status attn_cpu_create(const attn_shape *shape, rt_isa isa, rt_pool *pool, attn_cpu **out) {
    RT_TRY(attn_cpu_check(shape));
    attn_cpu *cpu = NULL;
    RT_TRY(rt_calloc(1, sizeof *cpu, "attention", &cpu));
    cpu->shape = *shape;
    cpu->kernels = kernels_for(shape, isa);
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

    cpu->theta = rt_arena_take(&cpu->arena, (int64_t)shape->rope_dim * 4);
    attn_rope_theta(shape, cpu->theta);
    *out = cpu;
    return RT_OK;
}

void attn_cpu_free(attn_cpu *cpu) {
    if (!cpu) return;
    rt_arena_free(&cpu->arena);
    free(cpu);
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
    int64_t block_tokens; /* tiles do not reach over multiples of this after block_pos */
    int64_t block_pos;
    bool is_continued;  /* the segment starts where the state's split in progress ends */
    int64_t open_split; /* the split in progress at the segment's end; -1: none */
    int64_t n_items;    /* tiles of all KV heads */
    rt_ends ends; /* a tile's queries and sums are in the caches of the core that took it before */
} prefill_job;

/* All query heads of one KV head's group for a few tokens; row r is token r / group, query head
 * r % group of the group. */
typedef struct prefill_tile {
    int32_t kv_head;
    int64_t token;
    int64_t n_rows;
    const void *open_page; /* lossy: the tile's own page, where it is of the segment */
    int64_t open_pos;
} prefill_tile;

/* Where a token's rows of a KV head are in the state: `group` of them, one after the other. */
static int64_t state_row(const attn_cpu *cpu, int32_t kv_head, int64_t token) {
    return token * cpu->shape.n_heads + (int64_t)kv_head * cpu->group;
}

/* And in the split in progress, where the rows of a tile lie as in the scratch. */
static int64_t part_row(const attn_cpu *cpu, int64_t n_tokens, int32_t kv_head, int64_t token) {
    return (kv_head * n_tokens + token) * cpu->group;
}

static void load_rows(const prefill_job *job, const prefill_tile *tile, attn_scratch *s) {
    const attn_cpu *cpu = job->cpu;
    const float *rows[ATTN_ROWS_MAX];
    for (int64_t r = 0; r < tile->n_rows; r++) {
        const int64_t token = tile->token + r / cpu->group;
        const int64_t head = tile->kv_head * cpu->group + r % cpu->group;
        rows[r] = job->q + token * job->stride + head * cpu->shape.head_dim;
        s->limit[r] = job->pos + token + 1;
    }
    cpu->kernels->load_queries(rows, tile->n_rows, cpu->shape.head_dim, cpu->q_scale, s->q);
}

/* Between windows that meet inside a split it is scanned in the state itself: a window of a few pages
 * costs no copies. */
static void use_state_parts(const prefill_job *job, const prefill_tile *tile, attn_scratch *s) {
    const attn_state *state = job->state;
    const int64_t at = part_row(job->cpu, job->n_tokens, tile->kv_head, tile->token);
    s->part_max = state->part_max + at;
    s->part_sum = state->part_sum + at;
    s->part_out = state->part_out + at * job->cpu->shape.head_dim;
}

/* Rows that have seen nothing of the open split are told by their maximum alone. */
static void clear_parts(const prefill_tile *tile, const attn_scratch *s) {
    for (int64_t r = 0; r < tile->n_rows; r++) s->part_max[r] = -INFINITY;
}

static void fold_parts(const prefill_job *job, const prefill_tile *tile, const attn_scratch *s) {
    const attn_cpu *cpu = job->cpu;
    const attn_state *state = job->state;
    const int64_t d = cpu->shape.head_dim;
    for (int64_t r = 0; r < tile->n_rows; r += cpu->group) {
        const int64_t at = state_row(cpu, tile->kv_head, tile->token + r / cpu->group);
        cpu->kernels->fold(state->max + at, state->sum + at, state->out + at * d, s->part_max + r,
                s->part_sum + r, s->part_out + r * d, cpu->group, cpu->shape.head_dim);
    }
}

/* Fold the segment's keys below `end`, split by split. Returns whether the parts end up being those
 * of the open split. */
static bool walk_splits(
        const prefill_job *job, const prefill_tile *tile, int64_t end, attn_scratch *s) {
    const attn_segment *segment = job->segment;
    bool is_begun = job->is_continued;
    int64_t next = 0;
    for (int64_t pos = segment->first_pos; pos < end; pos = next) {
        next = rt_min64((pos / SPLIT + 1) * SPLIT, end);
        const attn_split split = {.shape = &job->cpu->shape,
                .kv_head = tile->kv_head,
                .n_rows = tile->n_rows,
                .pages = segment->pages + (pos - segment->first_pos) / PAGE,
                .first_pos = pos,
                .n_tokens = next - pos,
                .is_continued = is_begun,
                .open_page = tile->open_page,
                .open_pos = tile->open_pos};
        const bool is_any = job->cpu->kernels->scan(&split, s);
        is_begun = pos / SPLIT == job->open_split;
        if (!is_begun && is_any) fold_parts(job, tile, s);
    }
    return is_begun;
}

static int64_t tiles_per_block(const prefill_job *job) {
    return rt_div_up(job->block_tokens, job->tile_tokens);
}

static int64_t n_tiles_of(const prefill_job *job) {
    const int64_t n_blocks =
            rt_div_up(job->pos + job->n_tokens - job->block_pos, job->block_tokens);
    return n_blocks * tiles_per_block(job);
}

/* n_rows is 0 where tokens of a block are not of this call. */
static prefill_tile tile_of(const prefill_job *job, int32_t kv_head, int64_t index) {
    const attn_segment *segment = job->segment;
    const int64_t block = job->block_pos + index / tiles_per_block(job) * job->block_tokens;
    const int64_t begin = block + index % tiles_per_block(job) * job->tile_tokens;
    const int64_t end = rt_min64(rt_min64(begin + job->tile_tokens, block + job->block_tokens),
            job->pos + job->n_tokens);
    const int64_t first = rt_max64(begin, job->pos);
    prefill_tile tile = {.kv_head = kv_head,
            .token = first - job->pos,
            .n_rows = rt_max64(end - first, 0) * job->cpu->group};
    if (!attn_is_lossy(&job->cpu->shape)) return tile;
    tile.open_pos = block;
    if (block >= segment->first_pos && block < segment->first_pos + segment->n_tokens)
        tile.open_page = segment->open_pages[(block - segment->open_pos) / PAGE];
    return tile;
}

static void prefill_item(void *context, int64_t any, int thread) {
    prefill_job *job = context;
    const int64_t item = rt_ends_take(&job->ends, job->n_items, thread);
    (void)any;
    const attn_cpu *cpu = job->cpu;
    attn_scratch s = cpu->scratch[thread];
    /* Latest tokens first: they have the most keys. */
    const int64_t n_tiles = n_tiles_of(job);
    const prefill_tile tile = tile_of(job, (int32_t)(item / n_tiles), n_tiles - 1 - item % n_tiles);
    if (tile.n_rows == 0) return;
    const attn_segment *segment = job->segment;
    /* No row of the tile sees further. */
    const int64_t last = job->pos + tile.token + tile.n_rows / cpu->group;
    const int64_t end = rt_min64(segment->first_pos + segment->n_tokens, last);

    load_rows(job, &tile, &s);
    if (job->is_continued || job->open_split >= 0) use_state_parts(job, &tile, &s);
    bool is_begun = walk_splits(job, &tile, end, &s);
    /* A tile that sees nothing of the segment still has the split before it to end. */
    if (segment->first_pos >= end && is_begun && segment->first_pos / SPLIT != job->open_split) {
        fold_parts(job, &tile, &s);
        is_begun = false;
    }
    if (job->open_split >= 0 && !is_begun) clear_parts(&tile, &s);
}

/* Lossy: the page of every query that the segment reaches is there open. */
static bool has_open_pages(const prefill_job *job) {
    const attn_segment *segment = job->segment;
    const int64_t own = rt_max64(job->pos - job->pos % PAGE, segment->first_pos);
    if (own >= segment->first_pos + segment->n_tokens) return true;
    return segment->open_pages && segment->open_pos % PAGE == 0 && segment->open_pos <= own;
}

void attn_prefill(attn_cpu *cpu, const float *q, int64_t stride, int64_t n_tokens, int64_t pos,
        const attn_segment *segment, attn_state *state) {
    rt_assert(segment->first_pos % PAGE == 0 && segment->n_tokens >= 0);
    if (n_tokens == 0 || segment->n_tokens == 0) return;
    const int64_t end = segment->first_pos + segment->n_tokens;
    const bool is_last = end >= pos + n_tokens; /* then every split ends here, whole or not */
    const bool is_open = !is_last && end % SPLIT != 0;
    rt_assert(is_last || end % PAGE == 0);
    rt_assert(state->part_end == 0 || state->part_end == segment->first_pos);
    rt_assert(!is_open || state->part_out);
    const bool is_lossy = attn_is_lossy(&cpu->shape);
    prefill_job job = {.cpu = cpu,
            .q = q,
            .stride = stride,
            .n_tokens = n_tokens,
            .pos = pos,
            .segment = segment,
            .state = state,
            .tile_tokens = ATTN_ROWS_MAX / cpu->group,
            .block_tokens = is_lossy ? PAGE : n_tokens,
            .block_pos = is_lossy ? pos - pos % PAGE : pos,
            .is_continued = state->part_end != 0,
            .open_split = is_open ? end / SPLIT : -1};
    rt_assert(!is_lossy || has_open_pages(&job));
    job.n_items = n_tiles_of(&job) * cpu->shape.n_kv_heads;
    rt_pool_run(cpu->pool, job.n_items, prefill_item, &job);
    state->part_end = is_open ? end : 0;
}

void attn_reset(attn_cpu *cpu, attn_state *state, int64_t n_tokens) {
    const int64_t n_rows = n_tokens * cpu->shape.n_heads;
    state->part_end = 0;
    for (int64_t r = 0; r < n_rows; r++) state->max[r] = -INFINITY;
    memset(state->sum, 0, (size_t)n_rows * 4);
    memset(state->out, 0, (size_t)(n_rows * cpu->shape.head_dim) * 4);
}

RT_TOLD void attn_finish_row(float max, float sum, float *out, int32_t head_dim, float *lse) {
    rt_writes(out, head_dim * (int64_t)sizeof *out);
    if (lse) rt_writes(lse, sizeof *lse);
    if (sum == 0.0f) memset(out, 0, (size_t)head_dim * sizeof *out);
    for (int32_t d = 0; d < head_dim && sum != 0.0f; d++)
        out[d] = out[d] / sum + 0.0f; /* -0 becomes 0: pages left out would have added 0 to it */
    if (lse) *lse = sum == 0.0f ? -INFINITY : max * 0.6931471806f + logf(sum);
}

typedef struct finish_job {
    const attn_cpu *cpu;
    attn_state *state;
    int64_t n_tokens;
    float *lse;
} finish_job;

enum { TOKENS_PER_FINISH_ITEM = 16 };

static void fold_last_parts(const finish_job *job, int64_t token) {
    const attn_cpu *cpu = job->cpu;
    const attn_state *state = job->state;
    const int64_t d = cpu->shape.head_dim;
    for (int32_t kv_head = 0; kv_head < cpu->shape.n_kv_heads; kv_head++) {
        const int64_t at = state_row(cpu, kv_head, token);
        const int64_t from = part_row(cpu, job->n_tokens, kv_head, token);
        cpu->kernels->fold(state->max + at, state->sum + at, state->out + at * d,
                state->part_max + from, state->part_sum + from, state->part_out + from * d,
                cpu->group, cpu->shape.head_dim);
    }
}

static void finish_item(void *context, int64_t item, int thread) {
    (void)thread;
    const finish_job *job = context;
    const attn_state *state = job->state;
    const attn_shape *shape = &job->cpu->shape;
    const int64_t begin = item * TOKENS_PER_FINISH_ITEM;
    const int64_t end = rt_min64(begin + TOKENS_PER_FINISH_ITEM, job->n_tokens);
    for (int64_t token = begin; token < end && state->part_end != 0; token++)
        fold_last_parts(job, token);
    for (int64_t r = begin * shape->n_heads; r < end * shape->n_heads; r++)
        attn_finish_row(state->max[r], state->sum[r], state->out + r * shape->head_dim,
                shape->head_dim, job->lse ? job->lse + r : NULL);
}

void attn_finish(attn_cpu *cpu, attn_state *state, int64_t n_tokens, float *lse) {
    finish_job job = {.cpu = cpu, .state = state, .n_tokens = n_tokens, .lse = lse};
    rt_pool_run(cpu->pool, rt_div_up(n_tokens, TOKENS_PER_FINISH_ITEM), finish_item, &job);
    state->part_end = 0;
}

/* Runs what a prefill and a decode spend their time with on numbers it makes up: a matrix times enough rows, by whom the plan
 * has chosen, for linear layers; queries of one KV head's group against some pages, by the kernels that the model's shape and
 * type of keys and values get, for attention; and, for decode, our linear kernel with a single row over as many weights as a
 * token reads. */
#include "plan_speed.h"

#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "linear_onednn.h"

enum { WIDTH = 1024, ROWS = 192, OUTPUTS_MAX = 32768 };

/* Of attention: pages that lie in a second-level cache; tiles of attn_cpu.c for each thread, of so many rows. */
enum { PAGES = 16, TILES_A_THREAD = 2, TILE_ROWS = 128, KEYS = PAGES * ATTN_PAGE_TOKENS };
_Static_assert(KEYS <= (int)ATTN_SPLIT_TOKENS, "a part of one split");

static const double trials_s = 0.02;

typedef struct trial {
    glm_speed_trial of;
    glm_ops ops;
    rt_arena arena;
    /* linear layers */
    glm_linear weight;
    int64_t n_outs;
    glm_rows x;
    glm_rows y;
    /* attention */
    void *pages[PAGES];
    int64_t n_tokens;
    float *q;
    attn_state state;
} trial;

typedef void work(const trial *t, int64_t n_rows);

/* The best of three, and of as many more as there is time for: threads that have just begun are late, and
 * other programs take a core for some milliseconds. */
static double seconds_of(const trial *t, work *run, int64_t n_rows) {
    const double end = rt_now() + trials_s;
    double best = 1e9;
    for (int i = 0; i < 3 || rt_now() < end; i++) {
        const double start = rt_now();
        run(t, n_rows);
        const double seconds = rt_now() - start;
        if (seconds < best) best = seconds;
    }
    return best;
}

/* A thread of a server's CPU, about, from bench/results/ (*_linear.txt): what is chosen by it must not change from
 * one run to the next. */
static double usual_thread_flops(void) {
    switch (rt_machine_isa()) {
    case RT_ISA_AMX:
    case RT_ISA_AVX512:
        return 200e9;
    case RT_ISA_AVX2:
        return 80e9;
    case RT_ISA_PORTABLE:
        break;
    }
    return 10e9;
}

/* ---- linear layers --------------------------------------------------------------------------- */

static int64_t weight_bytes(int64_t n_outs) {
    return glm_linear_bytes(n_outs, WIDTH, RT_BF16, GLM_LINEAR_OWN);
}

static int64_t n_outs_for(int64_t read_bytes) {
    const int64_t n = read_bytes / weight_bytes(WIDTH) * WIDTH;
    return rt_min64(rt_max64(n, WIDTH), OUTPUTS_MAX);
}

static int64_t x_bytes(void) {
    return ROWS * glm_row_stride(WIDTH) * 4;
}

static int64_t y_bytes(void) {
    return (int64_t)ROWS * WIDTH * 4;
}
_Static_assert(
        ROWS *WIDTH >= OUTPUTS_MAX, "a row of all outputs has the room of many rows of some");

static int64_t linear_arena_bytes(int64_t n_outs) {
    return rt_arena_cost(weight_bytes(n_outs)) + rt_arena_cost(x_bytes()) +
           rt_arena_cost(y_bytes());
}

static void take_linear(trial *t) {
    t->weight = (glm_linear){.panels = rt_arena_take(&t->arena, weight_bytes(t->n_outs)),
            .n_out = t->n_outs,
            .n_in = WIDTH,
            .dtype = RT_BF16};
    memset(t->weight.panels, 0x3c,
            (size_t)weight_bytes(t->n_outs)); /* ordinary numbers, pages touched */
    t->x = (glm_rows){rt_arena_take(&t->arena, x_bytes()), glm_row_stride(WIDTH)};
    t->y = (glm_rows){rt_arena_take(&t->arena, y_bytes()), WIDTH};
    memset(t->x.data, 0, (size_t)x_bytes());
    memset(t->y.data, 0, (size_t)y_bytes());
}

static void multiply_square(const trial *t, int64_t n_rows) {
    t->ops.linear(&t->ops, &t->weight, NULL, 0, WIDTH, t->x, n_rows, t->y);
}

static void multiply_all(const trial *t, int64_t n_rows) {
    t->ops.linear(&t->ops, &t->weight, NULL, 0, t->n_outs, t->x, n_rows, t->y);
}

/* The numbers of a square are the same in anybody's order. */
static void measure_linear(trial *t, glm_speed *out) {
    take_linear(t);
    t->weight.by = t->of.linear_by;
    out->flops = 2.0 * ROWS * WIDTH * WIDTH / seconds_of(t, multiply_square, ROWS);
    t->weight.by = GLM_LINEAR_OWN;
    t->y.stride = t->n_outs;
    out->bytes_per_s = (double)weight_bytes(t->n_outs) / seconds_of(t, multiply_all, 1);
}

/* ---- attention ------------------------------------------------------------------------------- */

static int64_t group_of(const attn_shape *shape) {
    return shape->n_heads / shape->n_kv_heads;
}

static attn_shape one_group(const attn_shape *shape) {
    attn_shape one = *shape;
    one.n_heads = (int32_t)group_of(shape);
    one.n_kv_heads = 1;
    return one;
}

static int64_t n_query_tokens(const glm_speed_trial *of) {
    return (int64_t)of->n_threads * TILES_A_THREAD * (TILE_ROWS / group_of(&of->attention));
}

/* Of the rows of one query. */
static int64_t q_bytes(const attn_shape *one) {
    return (int64_t)one->n_heads * one->head_dim * 4;
}

static int64_t attention_arena_bytes(const glm_speed_trial *of) {
    const attn_shape one = one_group(&of->attention);
    const int64_t n_tokens = n_query_tokens(of);
    return rt_arena_cost(PAGES * attn_page_bytes(&one)) + rt_arena_cost(q_bytes(&one)) +
           rt_arena_cost(n_tokens * q_bytes(&one)) + 2 * rt_arena_cost(n_tokens * one.n_heads * 4);
}

static void take_attention(trial *t) {
    const attn_shape one = one_group(&t->of.attention);
    const int64_t page_bytes = attn_page_bytes(&one);
    char *pages = rt_arena_take(&t->arena, PAGES * page_bytes);
    memset(pages, 0x3c, (size_t)(PAGES * page_bytes));
    for (int i = 0; i < PAGES; i++) t->pages[i] = pages + i * page_bytes;
    t->n_tokens = n_query_tokens(&t->of);
    t->q = rt_arena_take(&t->arena, q_bytes(&one));
    memset(t->q, 0, (size_t)q_bytes(&one));
    t->state.out = rt_arena_take(&t->arena, t->n_tokens * q_bytes(&one));
    t->state.max = rt_arena_take(&t->arena, t->n_tokens * one.n_heads * 4);
    t->state.sum = rt_arena_take(&t->arena, t->n_tokens * one.n_heads * 4);
    attn_reset(t->ops.attention, &t->state, t->n_tokens);
}

/* The last pages of a split, for tokens behind it, which have the same query. */
static void attend(const trial *t, int64_t n_tokens) {
    const attn_segment keys = {
            .pages = t->pages, .first_pos = ATTN_SPLIT_TOKENS - KEYS, .n_tokens = KEYS};
    attn_state state = t->state;
    attn_prefill(t->ops.attention, t->q, 0, n_tokens, ATTN_SPLIT_TOKENS, &keys, &state);
}

static void measure_attention(trial *t, glm_speed *out) {
    const attn_shape one = one_group(&t->of.attention);
    take_attention(t);
    out->attention_flops = 4.0 * KEYS * (double)t->n_tokens * one.n_heads * one.head_dim /
                           seconds_of(t, attend, t->n_tokens);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int64_t onednn_bytes(const glm_speed_trial *of) {
    const int64_t width = WIDTH;
    if (of->linear_by != GLM_LINEAR_ONEDNN) return 0;
    return glm_linear_onednn_scratch_bytes(&width, 1, of->n_threads);
}

int64_t glm_measure_speed_bytes(const glm_speed_trial *of) {
    const attn_shape one = one_group(&of->attention);
    const int64_t linear = rt_mem_cost(linear_arena_bytes(n_outs_for(of->read_bytes)));
    return rt_max64(linear, rt_mem_cost(attention_arena_bytes(of))) + onednn_bytes(of) +
           glm_ops_cpu_bytes(&one, rt_machine_isa(), of->n_threads);
}

/* It has taken the model's widths, and may refuse this one. */
static rt_status add_onednn(trial *t) {
    const int64_t width = WIDTH;
    if (t->of.linear_by != GLM_LINEAR_ONEDNN) return RT_OK;
    const rt_status status = glm_ops_add_onednn(&t->ops, &width, 1);
    if (status != RT_EUNSUPPORTED) return status;
    t->of.linear_by = GLM_LINEAR_OWN;
    return RT_OK;
}

static rt_status measure(trial *t, glm_speed *out) {
    RT_TRY(add_onednn(t));
    RT_TRY(rt_arena_create(&t->arena, linear_arena_bytes(t->n_outs), "a speed measurement"));
    measure_linear(t, out);
    rt_arena_free(&t->arena);
    RT_TRY(rt_arena_create(&t->arena, attention_arena_bytes(&t->of), "a speed measurement"));
    measure_attention(t, out);
    return RT_OK;
}

rt_status glm_usual_speed(int32_t n_threads, glm_speed *out) {
    *out = (glm_speed){.usual_flops = n_threads * usual_thread_flops()};
    return RT_OK;
}

rt_status glm_measure_speed(const glm_speed_trial *of, glm_speed *out) {
    const attn_shape one = one_group(&of->attention);
    rt_pool *pool = NULL;
    RT_TRY(rt_pool_create(of->n_threads, &pool));
    trial t = {.of = *of, .n_outs = n_outs_for(of->read_bytes)};
    rt_status status = glm_ops_cpu_create(&one, rt_machine_isa(), pool, &t.ops);
    if (status == RT_OK) status = measure(&t, out);
    rt_arena_free(&t.arena);
    if (t.ops.pool) glm_ops_free(&t.ops);
    rt_pool_free(pool);
    return status;
}

void glm_speed_share(glm_speed *speed, int32_t n_ranks, int32_t n_threads, int32_t n_cores) {
    const double wanted = (double)n_ranks * (double)rt_min64(n_threads, n_cores);
    if (wanted <= (double)n_cores) return;
    speed->flops *= (double)n_cores / wanted;
    speed->attention_flops *= (double)n_cores / wanted;
    speed->usual_flops *= (double)n_cores / wanted;
    speed->bytes_per_s *= (double)n_cores / wanted;
}

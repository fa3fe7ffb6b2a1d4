/* Runs our linear kernel on a matrix it makes up: wide enough rows for prefill's speed, a single row over
 * as many weights as a token reads for decode's. Attention, which is most of the work of a long context, runs
 * at that speed also where oneDNN multiplies faster. */
#include "plan_speed.h"

#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "ops.h"

enum { WIDTH = 1024, ROWS = 192, OUTPUTS_MAX = 32768 };

static const double trials_s = 0.02;

typedef struct trial {
    glm_ops ops;
    glm_linear weight;
    int64_t n_outs;
    rt_arena arena;
    glm_rows x;
    glm_rows y;
} trial;

/* The best of three, and of as many more as there is time for: threads that have just begun are late, and
 * other programs take a core for some milliseconds. */
static double seconds_of(const trial *t, int64_t n_outs, int64_t n_rows) {
    const double end = rt_now() + trials_s;
    double best = 1e9;
    for (int i = 0; i < 3 || rt_now() < end; i++) {
        const double start = rt_now();
        t->ops.linear(&t->ops, &t->weight, NULL, 0, n_outs, t->x, n_rows, t->y);
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

static const attn_shape small_shape = {
        .n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .kv_dtype = RT_BF16};

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

static int64_t arena_bytes(int64_t n_outs) {
    return rt_arena_cost(weight_bytes(n_outs)) + rt_arena_cost(x_bytes()) +
           rt_arena_cost(y_bytes());
}

int64_t glm_measure_speed_bytes(int32_t n_threads, int64_t read_bytes) {
    return rt_mem_cost(arena_bytes(n_outs_for(read_bytes))) +
           glm_ops_cpu_bytes(&small_shape, n_threads);
}

static rt_status measure(trial *t, glm_speed *out) {
    const int64_t n_outs = t->n_outs;
    RT_TRY(rt_arena_create(&t->arena, arena_bytes(n_outs), "a speed measurement"));
    t->weight = (glm_linear){.panels = rt_arena_take(&t->arena, weight_bytes(n_outs)),
            .n_out = n_outs,
            .n_in = WIDTH,
            .dtype = RT_BF16};
    memset(t->weight.panels, 0x3c,
            (size_t)weight_bytes(n_outs)); /* ordinary numbers, pages touched */
    t->x = (glm_rows){rt_arena_take(&t->arena, x_bytes()), glm_row_stride(WIDTH)};
    t->y = (glm_rows){rt_arena_take(&t->arena, y_bytes()), WIDTH};
    memset(t->x.data, 0, (size_t)x_bytes());
    memset(t->y.data, 0, (size_t)y_bytes());
    out->flops = 2.0 * ROWS * WIDTH * WIDTH / seconds_of(t, WIDTH, ROWS);
    t->y.stride = n_outs;
    out->bytes_per_s = (double)weight_bytes(n_outs) / seconds_of(t, n_outs, 1);
    return RT_OK;
}

rt_status glm_usual_speed(int32_t n_threads, glm_speed *out) {
    *out = (glm_speed){.usual_flops = n_threads * usual_thread_flops()};
    return RT_OK;
}

rt_status glm_measure_speed(int32_t n_threads, int64_t read_bytes, glm_speed *out) {
    rt_pool *pool = NULL;
    RT_TRY(rt_pool_create(n_threads, &pool));
    trial t = {.n_outs = n_outs_for(read_bytes)};
    rt_status status = glm_ops_cpu_create(&small_shape, rt_machine_isa(), pool, &t.ops);
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
    speed->usual_flops *= (double)n_cores / wanted;
    speed->bytes_per_s *= (double)n_cores / wanted;
}

/* The CPU's ops: which thread does what. The arithmetic is in ops_simd.c. */
#include <string.h>

#include "base/memory.h"
#include "linear_onednn.h"
#include "ops_simd.h"

enum { ROWS_PER_ITEM = 16 };

/* Below this much work waking threads costs more than it gives, FLOP. */
static const int64_t flop_worth_threads = 1 << 18;

const glm_kernels *glm_ops_kernels(const glm_ops *ops) {
#if defined(__x86_64__)
    if (ops->isa >= RT_ISA_AVX512) return &glm_kernels_avx512;
    if (ops->isa == RT_ISA_AVX2) return &glm_kernels_avx2;
#endif
    return &glm_kernels_portable;
}

void glm_ops_run(const glm_ops *ops, int64_t n_items, int64_t flop, rt_pool_work *work, void *job) {
    if (flop < flop_worth_threads)
        for (int64_t item = 0; item < n_items; item++) work(job, item, 0);
    else
        rt_pool_run(ops->pool, n_items, work, job);
}

/* ---- weights --------------------------------------------------------------------------------- */

int64_t glm_linear_bytes(int64_t n_out, int64_t n_in, rt_dtype dtype, glm_linear_by by) {
    if (glm_linear_by_of(by, dtype) == GLM_LINEAR_ONEDNN)
        return glm_linear_onednn_bytes(n_out, n_in);
    return glm_pad(n_out) * n_in * rt_dtype_bytes(dtype);
}

typedef uint16_t eight __attribute__((vector_size(16)));

#define LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)

/* Rows to columns: merging the rows i and i + 4 three times turns the bits of an index around. */
static void transpose(eight r[8]) {
    for (int round = 0; round < 3; round++) {
        const eight t[8] = {LOW(r[0], r[4]), HIGH(r[0], r[4]), LOW(r[1], r[5]), HIGH(r[1], r[5]),
                LOW(r[2], r[6]), HIGH(r[2], r[6]), LOW(r[3], r[7]), HIGH(r[3], r[7])};
        memcpy(r, t, sizeof t);
    }
}

/* 8 inputs of 8 rows, n_in apart, to half a panel. */
static void pack_eight(uint16_t *panel, int64_t n_in, const uint16_t *rows) {
    eight r[8];
    for (int i = 0; i < 8; i++) memcpy(&r[i], rows + i * n_in, sizeof r[i]);
    transpose(r);
    for (int k = 0; k < 8; k++) memcpy(panel + k * GLM_PANEL, &r[k], sizeof r[k]);
}

/* The 16 rows of a panel side by side; lanes past the last row stay as they are (zero). */
static void pack_panel_16bit(uint16_t *panel, int64_t n_in, int64_t n_rows, const uint16_t *rows) {
    int64_t k = 0;
    for (; n_rows == GLM_PANEL && k + 8 <= n_in; k += 8) {
        pack_eight(panel + k * GLM_PANEL, n_in, rows + k);
        pack_eight(panel + k * GLM_PANEL + 8, n_in, rows + 8 * n_in + k);
    }
    for (; k < n_in; k++)
        for (int64_t lane = 0; lane < n_rows; lane++)
            panel[k * GLM_PANEL + lane] = rows[lane * n_in + k];
}

static void pack_panel_f32(
        float *panel, int64_t n_in, int64_t n_rows, const void *rows, rt_dtype dtype) {
    for (int64_t k = 0; k < n_in; k++)
        for (int64_t lane = 0; lane < n_rows; lane++)
            panel[k * GLM_PANEL + lane] = rt_load_float(rows, lane * n_in + k, dtype);
}

/* The same, two inputs side by side (ops_amx.c). */
static void pack_panel_pairs(uint16_t *panel, int64_t n_in, int64_t n_rows, const uint16_t *rows) {
    for (int64_t k = 0; k < n_in; k += 2)
        for (int64_t lane = 0; lane < n_rows; lane++)
            memcpy(panel + (k / 2 * GLM_PANEL + lane) * 2, rows + lane * n_in + k, 4);
}

/* What multiplies by tiles of AMX. */
static const struct {
    void (*linear_block)(const glm_block *block);
    void (*split)(glm_rows x, int64_t n, int64_t k, int64_t n_k, uint16_t *halves);
    void (*multiply)(const glm_block *block, const uint16_t *halves, int64_t k, int64_t n_k);
}
#if defined(GLM_WITH_AMX)
tiles = {glm_linear_block_amx, glm_tiles_split_amx, glm_tiles_multiply_amx};
#else
tiles = {NULL, NULL, NULL};
#endif

bool glm_ops_has_tiles(rt_isa isa) {
    return isa == RT_ISA_AMX && tiles.multiply;
}

/* Whether tiles of AMX multiply it, if there are any. */
static bool is_for_tiles(const glm_linear *linear) {
    return linear->by == GLM_LINEAR_OWN && linear->dtype == RT_BF16 && linear->n_in % 2 == 0;
}

static void pack_own(const glm_linear *linear, int64_t row, int64_t n_rows, const void *rows,
        rt_dtype dtype, bool is_paired) {
    const int64_t n_in = linear->n_in;
    for (int64_t done = 0; done < n_rows; done += GLM_PANEL) {
        const int64_t n = rt_min64(GLM_PANEL, n_rows - done);
        const int64_t at = (row + done) * n_in;
        const void *from = (const char *)rows + done * n_in * rt_dtype_bytes(dtype);
        if (linear->dtype == RT_F32)
            pack_panel_f32((float *)linear->panels + at, n_in, n, from, dtype);
        else if (is_paired)
            pack_panel_pairs((uint16_t *)linear->panels + at, n_in, n, from);
        else
            pack_panel_16bit((uint16_t *)linear->panels + at, n_in, n, from);
    }
}

static void pack(
        const glm_linear *linear, int64_t row, int64_t n_rows, const void *rows, rt_dtype dtype) {
    rt_assert(row % GLM_PANEL == 0 && row + n_rows <= linear->n_out);
    rt_assert(linear->dtype == dtype || linear->dtype == RT_F32);
    if (linear->by == GLM_LINEAR_ONEDNN)
        glm_linear_onednn_pack(linear, row, n_rows, rows);
    else
        pack_own(linear, row, n_rows, rows, dtype, false);
}

/* Where there are tiles. */
static void pack_for_tiles(
        const glm_linear *linear, int64_t row, int64_t n_rows, const void *rows, rt_dtype dtype) {
    if (!is_for_tiles(linear)) {
        pack(linear, row, n_rows, rows, dtype);
        return;
    }
    rt_assert(row % GLM_PANEL == 0 && row + n_rows <= linear->n_out && linear->dtype == dtype);
    pack_own(linear, row, n_rows, rows, dtype, true);
}

/* ---- linear ---------------------------------------------------------------------------------- */

typedef struct linear_job {
    const glm_ops *ops;
    const glm_linear *weight;
    const float *bias;
    int64_t first_out;
    int64_t n_outs;
    glm_rows x;
    int64_t n;
    glm_rows y;
    int64_t n_panels;
    int64_t block_panels; /* of them an item's, */
    int64_t n_blocks;
    int64_t block_rows; /* and its rows */
    int n_rounds;       /* few rows */
    void (*linear_block)(const glm_block *block);
} linear_job;

static float *wide_of(const glm_ops *ops, int thread) {
    return (float *)ops->scratch + (int64_t)thread * GLM_WIDE_FLOATS;
}

/* n_panels from `panel` on times rows from `row` on; the scratch is for the caller. */
static glm_block block_at(const linear_job *job, int64_t panel, int64_t n_panels, int64_t row) {
    const glm_linear *weight = job->weight;
    const int64_t out = panel * GLM_PANEL;
    const int64_t at = (job->first_out + out) * weight->n_in * rt_dtype_bytes(weight->dtype);
    return (glm_block){.panels = (const char *)weight->panels + at,
            .dtype = weight->dtype,
            .n_panels = n_panels,
            .n_in = weight->n_in,
            .bias = job->bias ? job->bias + job->first_out + out : NULL,
            .x = {job->x.data + row * job->x.stride, job->x.stride},
            .n = rt_min64(job->block_rows, job->n - row),
            .y = {job->y.data + row * job->y.stride + out, job->y.stride}};
}

/* ---- few rows ----
 *
 * A range of neighbouring panels an item: the longer, the nearer to the speed of memory, as each begins with lines
 * that nobody has asked for. So that the threads end together all the same, each takes a range in every round, of half
 * of what is left, and in the last one, of ranges as long as those of the round before, all of it:
 *
 *     3 rounds of 2 threads:   1/4 1/4   1/8 1/8   1/8 1/8 */

/* A matrix is cut no finer than this. */
static const int64_t range_bytes_min = RT_MIB;

/* Where range `item` begins. In parts as long as the last ranges, of which a round leaves a power of two a thread. */
static int64_t range_begin(const linear_job *job, int64_t item) {
    const int64_t n_threads = rt_pool_threads(job->ops->pool);
    const int last = job->n_rounds - 1;
    const int round = (int)rt_min64(item / n_threads, last);
    const int64_t n_parts = n_threads << last;
    const int64_t length = round < last ? (int64_t)1 << (last - 1 - round) : 1;
    const int64_t part =
            n_parts - (n_threads << (last - round)) + (item - round * n_threads) * length;
    return part == n_parts ? job->n_panels
                           : job->n_panels * part / n_parts / GLM_STREAMS_MAX * GLM_STREAMS_MAX;
}

static void range_item(void *context, int64_t item, int thread) {
    const linear_job *job = context;
    const int64_t begin = range_begin(job, item);
    glm_block block = block_at(job, begin, range_begin(job, item + 1) - begin, 0);
    block.wide = wide_of(job->ops, thread);
    if (block.n_panels > 0) job->linear_block(&block);
}

static int64_t cut_ranges(linear_job *job) {
    const int64_t n_threads = rt_pool_threads(job->ops->pool);
    const int64_t bytes =
            glm_linear_bytes(job->n_outs, job->weight->n_in, job->weight->dtype, GLM_LINEAR_OWN);
    job->n_panels = rt_div_up(job->n_outs, GLM_PANEL);
    job->block_rows = job->n;
    job->n_rounds = 1;
    while (n_threads > 1 && bytes / (n_threads << job->n_rounds) >= range_bytes_min)
        job->n_rounds++;
    return n_threads * job->n_rounds;
}

/* ---- many rows ---- */

static void linear_item(void *context, int64_t item, int thread) {
    const linear_job *job = context;
    const int64_t panel = item % job->n_blocks * job->block_panels;
    const int64_t row = item / job->n_blocks * job->block_rows;
    glm_block block = block_at(job, panel, rt_min64(job->block_panels, job->n_panels - panel), row);
    block.wide = wide_of(job->ops, thread);
    job->linear_block(&block);
}

/* Enough items for the threads to balance: blocks of outputs, and blocks of rows where the matrix
 * is narrow. */
static int64_t cut_linear(linear_job *job) {
    job->n_panels = rt_div_up(job->n_outs, GLM_PANEL);
    job->block_panels = GLM_BLOCK_PANELS;
    job->n_blocks = rt_div_up(job->n_panels, job->block_panels);
    const int64_t wanted = 4 * (int64_t)rt_pool_threads(job->ops->pool);
    const int64_t parts = rt_div_up(wanted, job->n_blocks);
    job->block_rows = rt_round_up(rt_div_up(job->n, parts), GLM_BLOCK_ROWS);
    return job->n_blocks * rt_div_up(job->n, job->block_rows);
}

/* ---- many rows by tiles ----
 *
 * Some rows at a time, and some of their inputs: all threads make halves of them, then each multiplies them by some panels. */

typedef struct tiles_job {
    linear_job of; /* of these rows */
    uint16_t *halves;
    int64_t k;
    int64_t n_k;
} tiles_job;

enum { SPLIT_ROWS = 16 };

static uint16_t *halves_at(const tiles_job *job, int64_t row) {
    return job->halves + row * rt_round_up(job->n_k, 32) * 2;
}

static void split_item(void *context, int64_t item, int thread) {
    (void)thread;
    const tiles_job *job = context;
    const int64_t row = item * SPLIT_ROWS;
    const glm_rows x = {job->of.x.data + row * job->of.x.stride, job->of.x.stride};
    tiles.split(x, rt_min64(SPLIT_ROWS, job->of.n - row), job->k, job->n_k, halves_at(job, row));
}

static void tiles_item(void *context, int64_t item, int thread) {
    (void)thread;
    const tiles_job *job = context;
    const linear_job *of = &job->of;
    const int64_t panel = item % of->n_blocks * of->block_panels;
    const int64_t row = item / of->n_blocks * of->block_rows;
    const int64_t n_panels = rt_min64(of->block_panels, of->n_panels - panel);
    if (n_panels <= 0) return;
    const glm_block block = block_at(of, panel, n_panels, row);
    tiles.multiply(&block, halves_at(job, row), job->k, job->n_k);
}

/* `n` in parts of at most `most`, as long as one another but for the last one, and for being multiples of `of`. */
static int64_t part_of(int64_t n, int64_t most, int64_t of) {
    return rt_round_up(rt_div_up(n, rt_div_up(n, most)), of);
}

static int64_t cut_tiles(linear_job *job) {
    const int64_t n_threads = rt_pool_threads(job->ops->pool);
    job->block_rows = part_of(job->n, GLM_TILES_ROWS, 32);
    job->n_panels = rt_div_up(job->n_outs, GLM_PANEL);
    const int64_t n_row_blocks = rt_div_up(job->n, job->block_rows);
    const int64_t wanted = n_threads > 1 ? rt_div_up(4 * n_threads, n_row_blocks) : 1;
    const int64_t most = rt_min64(GLM_TILES_PANELS, rt_div_up(job->n_panels, wanted));
    job->block_panels = part_of(job->n_panels, most, 2);
    job->n_blocks = rt_div_up(job->n_panels, job->block_panels);
    return job->n_blocks * n_row_blocks;
}

static void linear_by_tiles(const linear_job *of) {
    const int64_t room = of->ops->scratch_bytes / (int64_t)sizeof(float);
    const int64_t rows = part_of(of->n, room / GLM_TILES_INPUTS / 32 * 32, 32);
    const int64_t n_in = of->weight->n_in;
    tiles_job job = {.of = *of, .halves = of->ops->scratch};
    for (int64_t row = 0; row < of->n; row += rows) {
        job.of.x.data = of->x.data + row * of->x.stride;
        job.of.y.data = of->y.data + row * of->y.stride;
        job.of.n = rt_min64(rows, of->n - row);
        const int64_t n_items = cut_tiles(&job.of);
        const int64_t most = rt_min64(room / rt_round_up(job.of.n, 32),
                GLM_TILES_ROWS * GLM_TILES_INPUTS / job.of.block_rows);
        const int64_t inputs = part_of(n_in, most / 32 * 32, 32);
        for (job.k = 0; job.k < n_in; job.k += inputs) {
            job.n_k = rt_min64(inputs, n_in - job.k);
            glm_ops_run(of->ops, rt_div_up(job.of.n, SPLIT_ROWS), 8 * job.of.n * job.n_k,
                    split_item, &job);
            glm_ops_run(of->ops, n_items, 2 * job.of.n * of->n_outs * job.n_k, tiles_item, &job);
        }
    }
}

static void linear(const glm_ops *ops, const glm_linear *weight, const float *bias,
        int64_t first_out, int64_t n_outs, glm_rows x, int64_t n, glm_rows y) {
    if (n == 0) return;
    if (weight->by == GLM_LINEAR_ONEDNN) {
        glm_linear_onednn_multiply(ops, weight, bias, first_out, n_outs, x, n, y);
        return;
    }
    const bool is_by_tiles = glm_ops_has_tiles(ops->isa) && is_for_tiles(weight);
    linear_job job = {.ops = ops,
            .weight = weight,
            .bias = bias,
            .first_out = first_out,
            .n_outs = n_outs,
            .x = x,
            .n = n,
            .y = y,
            .linear_block = is_by_tiles ? tiles.linear_block : glm_ops_kernels(ops)->linear_block};
    if (is_by_tiles && n > GLM_TILES_FEW) {
        linear_by_tiles(&job);
        return;
    }
    const bool is_few = n <= glm_ops_kernels(ops)->few_rows;
    const int64_t n_items = is_few ? cut_ranges(&job) : cut_linear(&job);
    glm_ops_run(
            ops, n_items, 2 * n * n_outs * weight->n_in, is_few ? range_item : linear_item, &job);
}

/* ---- rows ------------------------------------------------------------------------------------ */

typedef struct row_job {
    const glm_ops *ops;
    const glm_kernels *kernels;
    const void *table;
    const int32_t *ids;
    rt_dtype table_dtype;
    void *hidden;
    rt_dtype hidden_dtype;
    const float *weight;
    float eps;
    int64_t n;
    int64_t width;
    glm_rows rows;
    glm_rows more;
    void (*one)(const struct row_job *job, int64_t row);
} row_job;

static void row_item(void *context, int64_t item, int thread) {
    (void)thread;
    const row_job *job = context;
    const int64_t end = rt_min64((item + 1) * ROWS_PER_ITEM, job->n);
    for (int64_t row = item * ROWS_PER_ITEM; row < end; row++) job->one(job, row);
}

static void run_rows(const row_job *job) {
    glm_ops_run(job->ops, rt_div_up(job->n, ROWS_PER_ITEM), 8 * job->n * job->width, row_item,
            (void *)(uintptr_t)job);
}

static void *hidden_row(const row_job *job, int64_t row) {
    return (char *)job->hidden + row * job->width * rt_dtype_bytes(job->hidden_dtype);
}

static void embed_one(const row_job *job, int64_t row) {
    const int64_t at = job->ids[row] * job->width;
    for (int64_t i = 0; i < job->width; i++) {
        const float value = rt_load_float(job->table, at + i, job->table_dtype);
        if (job->hidden_dtype == RT_F32)
            ((float *)hidden_row(job, row))[i] = value;
        else
            ((uint16_t *)hidden_row(job, row))[i] = rt_float_to_bf16(value);
    }
}

static void embed(const glm_ops *ops, const void *table, rt_dtype table_dtype, const int32_t *ids,
        int64_t n, int64_t width, void *hidden, rt_dtype hidden_dtype) {
    const row_job job = {.ops = ops,
            .table = table,
            .table_dtype = table_dtype,
            .ids = ids,
            .hidden = hidden,
            .hidden_dtype = hidden_dtype,
            .n = n,
            .width = width,
            .one = embed_one};
    run_rows(&job);
}

static void norm_one(const row_job *job, int64_t row) {
    float *out = job->rows.data + row * job->rows.stride;
    job->kernels->norm_row(
            hidden_row(job, row), job->hidden_dtype, job->weight, job->eps, job->width, out);
}

static void norm(const glm_ops *ops, const void *hidden, rt_dtype hidden_dtype, const float *weight,
        float eps, int64_t n, int64_t width, glm_rows out) {
    const row_job job = {.ops = ops,
            .kernels = glm_ops_kernels(ops),
            .hidden = (void *)(uintptr_t)hidden,
            .hidden_dtype = hidden_dtype,
            .weight = weight,
            .eps = eps,
            .n = n,
            .width = width,
            .rows = out,
            .one = norm_one};
    run_rows(&job);
}

static void norm_rows_one(const row_job *job, int64_t row) {
    float *y = job->rows.data + row * job->rows.stride;
    job->kernels->norm_row(y, RT_F32, job->weight, job->eps, job->width, y);
}

static void norm_rows(
        const glm_ops *ops, glm_rows y, const float *weight, float eps, int64_t n, int64_t width) {
    const row_job job = {.ops = ops,
            .kernels = glm_ops_kernels(ops),
            .weight = weight,
            .eps = eps,
            .n = n,
            .width = width,
            .rows = y,
            .one = norm_rows_one};
    run_rows(&job);
}

static void swiglu_one(const row_job *job, int64_t row) {
    job->kernels->swiglu_row(job->rows.data + row * job->rows.stride,
            job->more.data + row * job->more.stride, glm_pad(job->width));
}

static void swiglu(const glm_ops *ops, glm_rows gate, glm_rows up, int64_t n, int64_t width) {
    const row_job job = {.ops = ops,
            .kernels = glm_ops_kernels(ops),
            .n = n,
            .width = width,
            .rows = gate,
            .more = up,
            .one = swiglu_one};
    run_rows(&job);
}

static void add_one(const row_job *job, int64_t row) {
    job->kernels->add_row(hidden_row(job, row), job->hidden_dtype,
            job->rows.data + row * job->rows.stride, job->width);
}

static void add(const glm_ops *ops, void *hidden, rt_dtype hidden_dtype, glm_rows y, int64_t n,
        int64_t width) {
    const row_job job = {.ops = ops,
            .kernels = glm_ops_kernels(ops),
            .hidden = hidden,
            .hidden_dtype = hidden_dtype,
            .n = n,
            .width = width,
            .rows = y,
            .one = add_one};
    run_rows(&job);
}

/* ---- setting up ------------------------------------------------------------------------------ */

/* A block of weights each, widened, or what all of them multiply by tiles. */
static int64_t scratch_bytes(rt_isa isa, int n_threads) {
    const int64_t wide = (int64_t)n_threads * GLM_WIDE_FLOATS;
    const int64_t halves = glm_ops_has_tiles(isa) ? GLM_TILES_FLOATS : 0;
    return rt_max64(wide, halves) * (int64_t)sizeof(float);
}

int64_t glm_ops_cpu_bytes(const attn_shape *shape, rt_isa isa, int n_threads) {
    return rt_mem_cost(scratch_bytes(isa, n_threads)) +
           rt_mem_cost(attn_cpu_scratch_bytes(shape, n_threads));
}

rt_status glm_ops_cpu_create(const attn_shape *shape, rt_isa isa, rt_pool *pool, glm_ops *out) {
    *out = (glm_ops){.pool = pool,
            .isa = isa,
            .pack = glm_ops_has_tiles(isa) ? pack_for_tiles : pack,
            .embed = embed,
            .norm = norm,
            .linear = linear,
            .swiglu = swiglu,
            .add = add,
            .norm_rows = norm_rows};
    out->scratch_bytes = scratch_bytes(isa, rt_pool_threads(pool));
    RT_TRY(attn_cpu_create(shape, isa, pool, &out->attention));
    const rt_status status =
            rt_mem_alloc(out->scratch_bytes, "widened weight blocks", &out->scratch);
    if (status != RT_OK) glm_ops_free(out);
    return status;
}

rt_status glm_ops_add_onednn(glm_ops *ops, const int64_t *widths, int n_widths) {
    return glm_linear_onednn_open(widths, n_widths, rt_pool_threads(ops->pool), &ops->onednn);
}

void glm_ops_free(glm_ops *ops) {
    glm_linear_onednn_close(ops->onednn);
    attn_cpu_free(ops->attention);
    rt_mem_free(ops->scratch, ops->scratch_bytes);
    *ops = (glm_ops){0};
}

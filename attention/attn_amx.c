/* Attention of one piece by tiles of bf16 (base/amx_product.h): up to ATTN_ROWS_MAX rows of one KV head against the pages of one
 * split, which are bf16, fp8, int8 or int4.
 *
 * What is fp32, queries times their scale and weights, is two bf16, to 2^-17 of the number; scores, maxima, exponentials,
 * sums and the state are fp32 as everywhere (attn_simd.c).
 *
 *   scores   S[16 rows][16 keys] += Q [16][32 dims]  K [32 dims][16 keys]      32 dims after one another, high, then low
 *   output   O[16 rows][16 dims] += P [16][32 keys]  V [32 keys][16 dims]      32 keys after one another, high, then low
 *
 * Beside the weights of one block of 32 rows, the block before is output and the next one scored (attn_amx_steps.h): tiles
 * and vectors are units apart.
 *
 * Pages of bf16 lie as tiles want them, and are read where they are; others are widened first (attn_amx_pages.h), of int8 and
 * int4 without scales and zeros, which queries and weights meet instead (attn_amx_scaled.h). A tile of keys or values is a
 * kilobyte.
 *
 * A row's numbers meet no other row's, and a page is the same blocks of 32 whoever sees how much of it: what a row
 * comes to does not depend on what it shares a pass with. Keys that no row sees count as 0, whatever their bytes say; and
 * of Inf and NaN rows get what they see (attn_amx_infinite.h). */
#include "attn_amx_pages.h"
#include "attn_amx_weights.h"
#include "attn_scan.h"

/* ---- queries --------------------------------------------------------------------------------- */

RT_TOLD static void load_queries(
        const float *const *rows, int64_t n_rows, int32_t head_dim, float scale, float *panels) {
    uint16_t *to = (uint16_t *)panels;
    memset(to, 0, (size_t)(rt_div_up(n_rows, PANEL) * amx_panel_halves(head_dim)) * sizeof *to);
    for (int64_t r = 0; r < n_rows; r++) {
        rt_reads(rows[r], head_dim * (int64_t)sizeof(float));
        amx_split_row(rows[r], head_dim, scale,
                to + r / PANEL * amx_panel_halves(head_dim) + r % PANEL * AMX_STEP);
    }
}

/* In fp32, for pages of int8 and int4; of NaN one kind, that its high half shows. */
RT_TOLD static void load_query_rows(
        const float *const *rows, int64_t n_rows, int32_t head_dim, float scale, float *to) {
    for (int64_t r = 0; r < n_rows; r++) {
        rt_reads(rows[r], head_dim * (int64_t)sizeof(float));
        for (int32_t d = 0; d < head_dim; d += SIMD_LANES) {
            const vfloat x = simd_load(rows[r] + d) * simd_set(scale);
            simd_store(to + r * head_dim + d, choose(x == x, x, simd_set(NAN)));
        }
    }
}

/* Which rows have a number that is Inf. Returns whether any has. */
static bool find_infinite(const attn_split *split, const attn_scratch *scratch, bool *is_row) {
    const int32_t head_dim = split->shape->head_dim;
    bool is_any_row = false;
    for (int64_t r = 0; r < split->n_rows; r++) {
        vint any = {0};
        for (int32_t d = 0; d < head_dim; d += SIMD_LANES)
            any |= ((vint)simd_load(scratch->q + r * head_dim + d) & 0x7fffffff) == 0x7f800000;
        is_row[r] = is_any(any);
        is_any_row |= is_row[r];
    }
    return is_any_row;
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* Blocks against a split's pages: all blocks see a page, then the next. */
typedef struct walk {
    const attn_split *split;
    attn_scratch *scratch;
    int64_t n_pages; /* of which any row sees a key */
    int64_t n_blocks;
    int64_t page, block;
    int64_t n_begun;
    copies keys, values;
    bool is_infinite[ATTN_ROWS_MAX]; /* pages of int8 and int4: rows */
    bool is_any_infinite;
} walk;

static void begin_walk(const attn_split *split, attn_scratch *scratch, walk *w) {
    w->split = split;
    w->scratch = scratch;
    w->n_pages = w->page = w->block = w->n_begun = 0;
    w->n_blocks = rt_div_up(split->n_rows, ROWS);
    for (int i = 0; i < COPIES; i++) w->keys.pos[i] = w->values.pos[i] = -1;
    const int64_t n_pages = rt_div_up(split->n_tokens, PAGE);
    while (w->n_pages < n_pages &&
            visible_keys(split, scratch, split->first_pos + w->n_pages * PAGE) > 0)
        w->n_pages++;
    w->is_any_infinite = attn_is_int(split->shape) && find_infinite(split, scratch, w->is_infinite);
}

/* A block's share of numbers that all of them will read, asked for in n_steps. */
static ahead share_of(const walk *w, const stored *numbers, int64_t n_steps) {
    const int64_t n_lines = rt_div_up(numbers->n_bytes / CACHE_LINE, n_steps * w->n_blocks);
    return (ahead){
            numbers->base + numbers->sealed.codes + w->block * n_steps * n_lines * CACHE_LINE,
            n_lines};
}

/* What is asked for meanwhile: the next page. */
static void look_ahead(const walk *w, block *b) {
    if (w->page + 1 >= w->n_pages) return;
    const source from = source_of(w->split, w->split->first_pos + (w->page + 1) * PAGE);
    const stored keys = stored_keys(w->split, from), values = stored_values(w->split, from);
    const int64_t n_steps = steps_of(b, w->split->shape->head_dim);
    b->after_scores = share_of(w, &keys, n_steps);
    b->after_output = share_of(w, &values, n_steps);
}

/* The next block and page; false at the end. Scores of a block stay until the one after the next has begun. */
static bool next_block(walk *w, block *b) {
    if (w->page == w->n_pages) return false;
    const int32_t head_dim = w->split->shape->head_dim;
    const int64_t pos = w->split->first_pos + w->page * PAGE, first = w->block * ROWS;
    const int64_t n_keys = visible_keys(w->split, w->scratch, pos);
    const bool is_by_rows = attn_is_int(w->split->shape);
    *b = (block){.first = first,
            .n_rows = rt_min64(w->split->n_rows - first, ROWS),
            .page_pos = pos,
            .n_keys = n_keys,
            .n_end = rt_round_up(n_keys, AMX_STEP),
            .is_infinite = w->is_any_infinite ? w->is_infinite + first : NULL,
            .scores = w->scratch->scores + w->n_begun++ % 2 * ROWS * PAGE};
    if (is_by_rows)
        b->q_rows = w->scratch->q + first * head_dim;
    else
        b->q = (const uint16_t *)w->scratch->q + first / PANEL * amx_panel_halves(head_dim);
    set_keys(w->split, &w->keys, w->scratch, b);
    look_ahead(w, b);
    if (++w->block == w->n_blocks) {
        w->block = 0;
        w->page++;
    }
    return true;
}

static bool scan(const attn_split *split, attn_scratch *scratch) {
    walk w;
    block blocks[3], *before = NULL;
    begin_walk(split, scratch, &w);
    bool is_any_seen = split->is_continued;
    rt_writes(scratch->part_out, split->n_rows * split->shape->head_dim * (int64_t)sizeof(float));
    if (!split->is_continued) clear_part(split, scratch);
    if (w.n_pages == 0) return is_any_seen;
    const unsigned mode = amx_begin();
    (void)next_block(&w, &blocks[0]);
    beside work = beside_of(NULL, &blocks[0], split, scratch);
    do_rest(&work);
    for (int64_t i = 0, has_next = true; has_next; i++) {
        block *own = &blocks[i % 3], *next = &blocks[(i + 1) % 3];
        has_next = next_block(&w, next);
        work = beside_of(before, has_next ? next : NULL, split, scratch);
        tell_weighed(split, scratch);
        if (weigh_block(scratch, own, &work)) {
            set_values(split, &w.values, scratch, own);
            is_any_seen = true;
        }
        before = own;
    }
    work = beside_of(before, NULL, split, scratch);
    do_rest(&work);
    amx_end(mode);
    return is_any_seen;
}

extern const attn_kernels SIMD_NAME(attn_kernels), SIMD_NAME(attn_kernels_int);
const attn_kernels SIMD_NAME(attn_kernels) = {load_queries, scan, fold};
const attn_kernels SIMD_NAME(attn_kernels_int) = {load_query_rows, scan, fold};

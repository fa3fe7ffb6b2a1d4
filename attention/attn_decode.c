/* Decode on the CPU: one token of each of several sequences against all keys, window by window.
 *
 * An item is one KV head, one split and the sequences that share its pages; its partial states lie
 * in the caller's scratch from window to window. attn_decode_finish folds the splits, ascending. */
#include <math.h>
#include <string.h>

#include "attn_cpu.h"
#include "runtime/base/size.h"

enum { PAGE = ATTN_PAGE_TOKENS, SPLIT = ATTN_SPLIT_TOKENS };

/* Sequences order[first .. first + n) hold the same pages in split `split`. */
typedef struct decode_pass {
    int64_t split;
    int32_t first;
    int32_t n;
} decode_pass;

/* The caller's scratch. */
typedef struct decode_scratch {
    int64_t *lengths; /* [seq], attn_decode's own */
    int64_t *seen;    /* [seq] keys that the windows so far have brought */
    decode_pass *passes;
    int32_t *order;
    float *max; /* partial states [split][seq][n_heads] */
    float *sum;
    float *out;
} decode_scratch;

typedef struct decode_job {
    const attn_cpu *cpu;
    const attn_decode_step *step;
    const attn_segment *window; /* [seq] */
    decode_scratch scratch;
    float *out;
} decode_job;

/* ---- scratch --------------------------------------------------------------------------------- */

static int64_t n_splits_of(int64_t n_tokens) {
    return rt_div_up(n_tokens, SPLIT);
}

int64_t attn_decode_scratch_bytes(const attn_shape *shape, int64_t max_tokens, int32_t max_seqs) {
    const int64_t cells = n_splits_of(max_tokens) * max_seqs;
    const int64_t rows = cells * shape->n_heads;
    return 2 * rt_round_up((int64_t)max_seqs * 8, 64) +
           rt_round_up(cells * (int64_t)sizeof(decode_pass), 64) + rt_round_up(cells * 4, 64) +
           2 * rt_round_up(rows * 4, 64) + rows * shape->head_dim * 4;
}

static void *carve(char **next, int64_t bytes) {
    void *place = *next;
    *next += rt_round_up(bytes, 64);
    return place;
}

static decode_scratch carve_scratch(
        const attn_cpu *cpu, const int64_t *lengths, int32_t n_seqs, void *scratch) {
    int64_t n_splits = 0;
    for (int32_t i = 0; i < n_seqs; i++) n_splits = rt_max64(n_splits, n_splits_of(lengths[i]));
    const int64_t cells = n_splits * n_seqs;
    const int64_t rows = cells * cpu->shape.n_heads;
    char *next = scratch;
    decode_scratch s = {0};
    s.lengths = carve(&next, (int64_t)n_seqs * 8);
    s.seen = carve(&next, (int64_t)n_seqs * 8);
    s.passes = carve(&next, cells * (int64_t)sizeof(decode_pass));
    s.order = carve(&next, cells * 4);
    s.max = carve(&next, rows * 4);
    s.sum = carve(&next, rows * 4);
    s.out = carve(&next, rows * cpu->shape.head_dim * 4);
    return s;
}

static decode_job job_of(const attn_cpu *cpu, const attn_decode_step *step) {
    return (decode_job){.cpu = cpu,
            .step = step,
            .scratch = carve_scratch(cpu, step->lengths, step->n_seqs, step->scratch)};
}

/* ---- who shares what ------------------------------------------------------------------------- */

/* The part of a split that a window brings of one sequence. */
typedef struct key_piece {
    int64_t first_pos;
    int64_t n_tokens; /* 0: nothing */
    void *const *pages;
    const void *open_page; /* lossy: the sequence's own page, where it is of the piece: its last */
    int64_t open_pos;
} key_piece;

static key_piece piece_of(const decode_job *job, int32_t seq, int64_t split) {
    const attn_segment *window = &job->window[seq];
    const int64_t begin = rt_max64(window->first_pos, split * SPLIT);
    const int64_t end = rt_min64(window->first_pos + window->n_tokens, (split + 1) * SPLIT);
    if (begin >= end) return (key_piece){0};
    key_piece piece = {.first_pos = begin,
            .n_tokens = end - begin,
            .pages = window->pages + (begin - window->first_pos) / PAGE};
    if (!attn_is_lossy(&job->cpu->shape)) return piece;
    piece.open_pos = (job->step->lengths[seq] - 1) / PAGE * PAGE;
    if (piece.open_pos >= begin && piece.open_pos < end)
        piece.open_page = window->open_pages[(piece.open_pos - window->open_pos) / PAGE];
    return piece;
}

static bool is_same_piece(const key_piece *a, const key_piece *b) {
    if (a->first_pos != b->first_pos || a->n_tokens != b->n_tokens) return false;
    if (a->open_page != b->open_page) return false;
    const int64_t n_pages = rt_div_up(a->n_tokens, PAGE) - (a->open_page ? 1 : 0);
    return memcmp(a->pages, b->pages, (size_t)n_pages * sizeof *a->pages) == 0;
}

/* Of the sequences order[first .. end), the first and all that share its piece, as many as fit one
 * item, change places to the front. Returns how many. */
static int32_t gather_sharers(const decode_job *job, int64_t split, int32_t first, int32_t end) {
    int32_t *order = job->scratch.order;
    const int32_t most = ATTN_ROWS_MAX / job->cpu->group;
    const key_piece leader = piece_of(job, order[first], split);
    int32_t filled = first + 1;
    for (int32_t i = filled; i < end && filled - first < most; i++) {
        const key_piece other = piece_of(job, order[i], split);
        if (!is_same_piece(&leader, &other)) continue;
        const int32_t taken = order[i];
        order[i] = order[filled];
        order[filled++] = taken;
    }
    return filled - first;
}

/* List the passes of every split that the window touches. */
static int64_t list_passes(const decode_job *job) {
    const attn_segment *window = job->window;
    const int32_t n_seqs = job->step->n_seqs;
    int64_t begin = INT64_MAX;
    int64_t end = 0;
    for (int32_t i = 0; i < n_seqs; i++) {
        if (window[i].n_tokens == 0) continue;
        begin = rt_min64(begin, window[i].first_pos / SPLIT);
        end = rt_max64(end, n_splits_of(window[i].first_pos + window[i].n_tokens));
    }
    int64_t n_passes = 0;
    int32_t filled = 0;
    for (int64_t split = begin; split < end; split++) {
        int32_t waiting_end = filled;
        for (int32_t i = 0; i < n_seqs; i++)
            if (piece_of(job, i, split).n_tokens > 0) job->scratch.order[waiting_end++] = i;
        while (filled < waiting_end) {
            const int32_t n = gather_sharers(job, split, filled, waiting_end);
            job->scratch.passes[n_passes++] = (decode_pass){split, filled, n};
            filled += n;
        }
    }
    return n_passes;
}

/* ---- one item -------------------------------------------------------------------------------- */

typedef struct decode_item {
    const decode_job *job;
    int64_t split;
    const int32_t *seqs;
    int64_t n_rows; /* row r is sequence seqs[r / group], query head r % group of the KV head */
    int32_t kv_head;
} decode_item;

static int64_t state_row(const decode_item *item, int64_t row) {
    const decode_job *job = item->job;
    const int32_t group = job->cpu->group;
    const int64_t cell = item->split * job->step->n_seqs + item->seqs[row / group];
    return cell * job->cpu->shape.n_heads + item->kv_head * group + row % group;
}

static void load_queries(const decode_item *item, attn_scratch *s) {
    const attn_cpu *cpu = item->job->cpu;
    const attn_decode_step *step = item->job->step;
    const float *rows[ATTN_ROWS_MAX];
    for (int64_t r = 0; r < item->n_rows; r++) {
        const int32_t seq = item->seqs[r / cpu->group];
        const int64_t head = item->kv_head * cpu->group + r % cpu->group;
        rows[r] = step->q + seq * step->stride + head * cpu->shape.head_dim;
        s->limit[r] = step->lengths[seq];
    }
    cpu->kernels->load_queries(rows, item->n_rows, cpu->shape.head_dim, cpu->q_scale, s->q);
}

static void load_parts(const decode_item *item, attn_scratch *s) {
    const decode_scratch *from = &item->job->scratch;
    const int64_t d = item->job->cpu->shape.head_dim;
    for (int64_t r = 0; r < item->n_rows; r++) {
        const int64_t at = state_row(item, r);
        s->part_max[r] = from->max[at];
        s->part_sum[r] = from->sum[at];
        memcpy(s->part_out + r * d, from->out + at * d, (size_t)d * 4);
    }
}

static void store_parts(const decode_item *item, const attn_scratch *s) {
    const decode_scratch *to = &item->job->scratch;
    const int64_t d = item->job->cpu->shape.head_dim;
    for (int64_t r = 0; r < item->n_rows; r++) {
        const int64_t at = state_row(item, r);
        to->max[at] = s->part_max[r];
        to->sum[at] = s->part_sum[r];
        memcpy(to->out + at * d, s->part_out + r * d, (size_t)d * 4);
    }
}

static void decode_pass_item(void *context, int64_t index, int thread) {
    const decode_job *job = context;
    const attn_cpu *cpu = job->cpu;
    attn_scratch *s = &cpu->scratch[thread];
    const decode_pass *pass = &job->scratch.passes[index / cpu->shape.n_kv_heads];
    const decode_item item = {.job = job,
            .split = pass->split,
            .seqs = job->scratch.order + pass->first,
            .n_rows = (int64_t)pass->n * cpu->group,
            .kv_head = (int32_t)(index % cpu->shape.n_kv_heads)};
    const key_piece keys = piece_of(job, item.seqs[0], pass->split);
    const attn_split split = {.shape = &cpu->shape,
            .kv_head = item.kv_head,
            .n_rows = item.n_rows,
            .pages = keys.pages,
            .first_pos = keys.first_pos,
            .n_tokens = keys.n_tokens,
            .is_continued = keys.first_pos % SPLIT != 0,
            .open_page = keys.open_page,
            .open_pos = keys.open_pos};
    load_queries(&item, s);
    if (split.is_continued) load_parts(&item, s);
    (void)cpu->kernels->scan(&split, s);
    store_parts(&item, s);
}

/* ---- begin, window, finish ------------------------------------------------------------------- */

void attn_decode_begin(attn_cpu *cpu, const attn_decode_step *step) {
    const decode_job job = job_of(cpu, step);
    for (int32_t i = 0; i < step->n_seqs; i++) {
        rt_assert(step->lengths[i] > 0);
        job.scratch.seen[i] = 0;
    }
}

/* Lossy: a window that brings the last token brings its page open. */
static bool has_open_page(const attn_cpu *cpu, const attn_segment *window, int64_t length) {
    if (!attn_is_lossy(&cpu->shape)) return true;
    const int64_t own = (length - 1) / PAGE * PAGE;
    return window->open_pages && window->open_pos % PAGE == 0 && window->open_pos <= own;
}

void attn_decode_window(attn_cpu *cpu, const attn_decode_step *step, const attn_segment *window) {
    decode_job job = job_of(cpu, step);
    job.window = window;
    for (int32_t i = 0; i < step->n_seqs; i++) {
        if (window[i].n_tokens == 0) continue;
        int64_t *seen = &job.scratch.seen[i];
        rt_assert(window[i].first_pos == *seen && *seen % PAGE == 0 && window[i].n_tokens > 0);
        *seen += window[i].n_tokens;
        rt_assert(*seen <= step->lengths[i]);
        rt_assert(*seen < step->lengths[i] || has_open_page(cpu, &window[i], step->lengths[i]));
    }
    const int64_t n_passes = list_passes(&job);
    rt_pool_run(cpu->pool, n_passes * cpu->shape.n_kv_heads, decode_pass_item, &job);
}

static void decode_fold_item(void *context, int64_t item, int thread) {
    (void)thread;
    const decode_job *job = context;
    const attn_cpu *cpu = job->cpu;
    const decode_scratch *s = &job->scratch;
    const int32_t n_heads = cpu->shape.n_heads;
    const int64_t d = cpu->shape.head_dim;
    const int64_t seq = item / n_heads;
    float *out = job->out + item * d;
    float max = -INFINITY;
    float sum = 0.0f;
    memset(out, 0, (size_t)d * 4);
    for (int64_t split = 0; split < n_splits_of(job->step->lengths[seq]); split++) {
        const int64_t at = (split * job->step->n_seqs + seq) * n_heads + item % n_heads;
        cpu->kernels->fold(
                &max, &sum, out, s->max + at, s->sum + at, s->out + at * d, 1, cpu->shape.head_dim);
    }
    attn_finish_row(max, sum, out, cpu->shape.head_dim, NULL);
}

void attn_decode_finish(attn_cpu *cpu, const attn_decode_step *step, float *out) {
    decode_job job = job_of(cpu, step);
    job.out = out;
    for (int32_t i = 0; i < step->n_seqs; i++) rt_assert(job.scratch.seen[i] == step->lengths[i]);
    rt_pool_run(cpu->pool, (int64_t)step->n_seqs * cpu->shape.n_heads, decode_fold_item, &job);
}

void attn_decode(attn_cpu *cpu, const float *q, int64_t stride, const attn_segment *keys,
        int32_t n_seqs, float *out, void *scratch) {
    int64_t *lengths = scratch; /* where carve_scratch puts them, whatever they are */
    for (int32_t i = 0; i < n_seqs; i++) lengths[i] = keys[i].n_tokens;
    const attn_decode_step step = {
            .q = q, .stride = stride, .lengths = lengths, .n_seqs = n_seqs, .scratch = scratch};
    attn_decode_begin(cpu, &step);
    attn_decode_window(cpu, &step, keys);
    attn_decode_finish(cpu, &step, out);
}

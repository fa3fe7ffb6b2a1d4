/* How a budget is spent on a cache that it does not hold; a GPU's, which staging is no part of. In this order:
 *
 *   1. staging, one window, through which a chunk is appended, too (a GPU: pages for all of the chunk)
 *   2. the unfinished extents of one sequence, every layer: without them it is parked between walks
 *   3. what forks take, where that fits whole
 *   4. wider windows, up to WINDOW_TOKENS: fewer, larger reads
 *   5. the first tokens of the sequence, pinned: less to read
 *
 * Extents are as large as the budget lets them be (fewer, larger reads, better compression) with windows of
 * NARROW_TOKENS; where it has no such windows, as small as makes the widest. */
#include "plan_kv.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "engine.h"

/* Attention loads and stores the state of every row once a window: on a CPU 1024 keys make up for that. On a GPU those are
 * 277 MB of its memory for 8448 rows of 32 heads, 70 us, where 4096 keys are attended to in 800 us and 16384 in 3.2 ms. */
enum {
    EXTENT_TOKENS_MAX = 4096,
    WINDOW_TOKENS = 4096,
    NARROW_TOKENS = 1024,
    GPU_WINDOW_TOKENS = 16384
};

kv_config glm_plan_kv_config(const glm_config *part, const glm_plan *plan) {
    return (kv_config){.shape = {.dtype = plan->kv_dtype,
                               .n_kv_heads = part->n_kv_heads,
                               .head_dim = part->head_dim,
                               .page_tokens = ATTN_PAGE_TOKENS},
            .open = {.page_bytes = plan->kv_open_page_bytes,
                    .n_seqs = plan->max_seqs + 1,
                    .append_tokens = plan->chunk},
            .n_layers = part->n_layers,
            .page_bytes = plan->kv_page_bytes,
            .host_bytes_max = plan->kv_host_bytes,
            .overflow = {.n_dirs = plan->kv_overflows ? 1 : 0,
                    .bytes_max = plan->kv_overflow_max,
                    .host_bytes = plan->kv_overflows ? plan->kv_rows_bytes : 0,
                    .extent_tokens = plan->kv_extent_tokens,
                    .window_extents = plan->kv_window_extents,
                    .append_tokens = plan->chunk,
                    .appends_by_windows = !plan->on_gpu,
                    .pinned_tokens = plan->kv_pinned_tokens,
                    .n_threads = plan->threads,
                    .isa = rt_machine_isa()}};
}

/* ---- extents and windows --------------------------------------------------------------------- */

/* Beside a GPU staging is the host's memory, not the budget's. */
static int64_t staging_aside(const glm_config *part, const glm_plan *plan) {
    const kv_config kv = glm_plan_kv_config(part, plan);
    return plan->on_gpu ? kv_overflow_host_bytes(&kv) : 0;
}

static int64_t needed(const glm_config *part, const glm_plan *plan, bool has_tail) {
    const kv_config kv = glm_plan_kv_config(part, plan);
    return kv_open_bytes(&kv) + kv_overflow_bytes(&kv) - staging_aside(part, plan) +
           (has_tail ? kv_overflow_tail_bytes(&kv) : 0);
}

static int32_t window_tokens(const glm_plan *plan) {
    return plan->kv_window_extents * plan->kv_extent_tokens;
}

static int64_t most_extents(const glm_plan *plan) {
    const int64_t tokens = plan->on_gpu ? GPU_WINDOW_TOKENS : WINDOW_TOKENS;
    return (plan->kv_window_wanted ? plan->kv_window_wanted : tokens) / plan->kv_extent_tokens;
}

/* Up to NARROW_TOKENS, or to what was asked for, for all of the budget, further for half of it. */
static void widen_windows(
        const glm_config *part, int64_t budget_bytes, bool has_tail, glm_plan *plan) {
    const int64_t most = most_extents(plan);
    const int64_t narrow = plan->kv_window_wanted ? plan->kv_window_wanted : NARROW_TOKENS;
    while (plan->kv_window_extents < most) {
        const bool is_narrow = window_tokens(plan) < narrow;
        plan->kv_window_extents++;
        if (needed(part, plan, has_tail) <= (is_narrow ? budget_bytes : budget_bytes / 2)) continue;
        plan->kv_window_extents--;
        return;
    }
}

/* Extents for which everything up to point 2 (or 1) fits. */
static bool choose_extents(
        const glm_config *part, int64_t budget_bytes, bool has_tail, glm_plan *plan) {
    /* Segments are of so many; and a GPU's decode attends to whole splits. */
    const bool is_fixed = plan->kv_persists || plan->on_gpu;
    const int32_t least = is_fixed ? EXTENT_TOKENS_MAX : ATTN_PAGE_TOKENS;
    int32_t widest = 0;
    glm_plan trial = *plan;
    for (int32_t tokens = EXTENT_TOKENS_MAX; tokens >= least && widest < NARROW_TOKENS;
            tokens /= 2) {
        trial.kv_extent_tokens = tokens;
        trial.kv_window_extents = 1;
        if (needed(part, &trial, has_tail) > budget_bytes) continue;
        widen_windows(part, budget_bytes, has_tail, &trial);
        if (window_tokens(&trial) <= widest) continue;
        widest = window_tokens(&trial);
        plan->kv_extent_tokens = tokens;
    }
    plan->kv_window_extents = 1;
    return widest > 0;
}

static int64_t page_bytes_for(const glm_config *part, const glm_plan *plan, int64_t n_tokens) {
    const kv_config kv = glm_plan_kv_config(part, plan);
    return kv_pages_for(&kv, n_tokens) * plan->kv_page_bytes;
}

static void pin(const glm_config *part, int64_t left_bytes, glm_plan *plan) {
    const int64_t extent_bytes = page_bytes_for(part, plan, plan->kv_extent_tokens);
    const int64_t n = rt_max64(left_bytes, 0) / extent_bytes;
    plan->kv_pinned_tokens = rt_min64(n * plan->kv_extent_tokens,
            plan->max_len / plan->kv_extent_tokens * plan->kv_extent_tokens);
}

/* Of max_len tokens, those that do not stay where they are computed. */
static int64_t leaving_tokens(const glm_plan *plan) {
    return rt_max64(plan->max_len - plan->kv_pinned_tokens, 0);
}

/* Extents of forks, each of which may begin one of its own in every layer, and of a sequence's `own` tokens. */
static int64_t stored_tokens(const glm_plan *plan, int64_t own, int64_t extra_kv_tokens) {
    const int64_t per_fork = extra_kv_tokens > 0 ? 2 * plan->kv_extent_tokens : 0;
    return own + extra_kv_tokens + plan->max_seqs * per_fork;
}

/* Of the overflow: what is kept in segments needs none. */
static int64_t disk_bytes(const glm_config *part, const glm_plan *plan, int64_t extra_kv_tokens) {
    const kv_config kv = glm_plan_kv_config(part, plan);
    const int64_t own = plan->kv_persists ? plan->kv_extent_tokens : leaving_tokens(plan);
    return kv_overflow_disk_bytes(&kv, stored_tokens(plan, own, extra_kv_tokens));
}

/* Where segments should fail the overflow can take over half of the disk's budget, but for what must be kept. */
static int64_t taken_over(const glm_plan *plan) {
    const int64_t half = plan->kv_disk_limit_bytes / 2;
    if (plan->kv_pinned_tokens >= plan->max_len) return 0;
    return plan->kv_keeps_all ? rt_min64(half, plan->kv_disk_limit_bytes - plan->kv_keep_bytes)
                              : half;
}

/* The disk's budget: the overflow's and what is kept are two hard caps. */
static void split_disk(const glm_config *part, int64_t extra_kv_tokens, glm_plan *plan) {
    plan->kv_overflow_max = plan->kv_disk_limit_bytes;
    plan->kv_keep_max = plan->kv_keep_bytes = 0;
    plan->kv_disk_bytes = disk_bytes(part, plan, extra_kv_tokens);
    if (!plan->kv_persists) return;
    const kv_config kv = glm_plan_kv_config(part, plan);
    plan->kv_keep_bytes = kv_overflow_disk_bytes(&kv, plan->max_len);
    plan->kv_overflow_max = rt_max64(plan->kv_disk_bytes, taken_over(plan));
    plan->kv_keep_max = rt_max64(plan->kv_disk_limit_bytes - plan->kv_overflow_max, 0);
}

/* All of it in memory, and what reading and writing segments takes: of a book all of a wide window at a time, by as many
 * threads, for a GPU that has room for it. */
static bool keep_in_memory(const glm_config *part, int64_t budget_bytes, int64_t all_bytes,
        int64_t extra_kv_tokens, glm_plan *plan) {
    plan->kv_overflows = true;
    plan->kv_extent_tokens = EXTENT_TOKENS_MAX;
    plan->kv_window_extents = plan->on_gpu ? GPU_WINDOW_TOKENS / EXTENT_TOKENS_MAX : 1;
    plan->kv_pinned_tokens = plan->max_len;
    if (all_bytes + needed(part, plan, false) > budget_bytes) plan->kv_window_extents = 1;
    const int64_t wanted = all_bytes + needed(part, plan, false);
    plan->kv_host_bytes = wanted + staging_aside(part, plan);
    split_disk(part, extra_kv_tokens, plan);
    return wanted <= budget_bytes;
}

static bool overflow(
        const glm_config *part, int64_t budget_bytes, int64_t extra_kv_tokens, glm_plan *plan) {
    plan->kv_overflows = true;
    plan->kv_pinned_tokens = 0;
    const bool has_tail = choose_extents(part, budget_bytes, true, plan);
    if (!has_tail && !choose_extents(part, budget_bytes, false, plan)) return false;
    const int64_t forks = page_bytes_for(part, plan, extra_kv_tokens);
    const int64_t kept = needed(part, plan, has_tail) + forks <= budget_bytes ? forks : 0;
    widen_windows(part, budget_bytes - kept, has_tail, plan);
    if (has_tail) pin(part, budget_bytes - kept - needed(part, plan, true), plan);
    plan->kv_host_bytes = budget_bytes + staging_aside(part, plan);
    split_disk(part, extra_kv_tokens, plan);
    return true;
}

bool glm_plan_kv(const glm_config *part, int64_t budget_bytes, int64_t extra_kv_tokens,
        bool may_overflow, glm_plan *plan) {
    plan->kv_overflows = false;
    plan->kv_extent_tokens = plan->kv_window_extents = 0;
    plan->kv_pinned_tokens = plan->kv_disk_bytes = 0;
    plan->kv_keep_bytes = plan->kv_keep_max = plan->kv_overflow_max = 0;
    const int64_t pages =
            page_bytes_for(part, plan, plan->max_len) + page_bytes_for(part, plan, extra_kv_tokens);
    const kv_config kv = glm_plan_kv_config(part, plan);
    const int64_t all = pages + kv_open_bytes(&kv);
    plan->kv_host_bytes = all;
    if (plan->kv_persists && keep_in_memory(part, budget_bytes, pages, extra_kv_tokens, plan))
        return true;
    plan->kv_host_bytes = all;
    if (!plan->kv_persists && all <= budget_bytes) return true;
    if (may_overflow && overflow(part, budget_bytes, extra_kv_tokens, plan)) return true;
    plan->kv_overflows = false;
    plan->kv_host_bytes = all;
    return false;
}

int64_t glm_plan_kv_rounding(const glm_config *part, const glm_plan *plan) {
    const kv_config kv = glm_plan_kv_config(part, plan);
    const int64_t staging = kv_overflow_host_bytes(&kv);
    const int64_t open = kv_open_bytes(&kv);
    const int64_t pages = rt_max64(plan->kv_host_bytes - staging - open, 0);
    if (plan->on_gpu) return rt_mem_cost(staging) - staging;
    return rt_mem_cost(staging) + rt_mem_cost(open) + rt_mem_cost(pages) - staging - open - pages;
}

/* What is kept for good is on disk all the same. */
void glm_plan_kv_rows(
        const glm_config *part, int64_t budget_bytes, int64_t extra_kv_tokens, glm_plan *plan) {
    plan->kv_rows_bytes = 0;
    if (!plan->kv_overflows || plan->kv_pinned_tokens >= plan->max_len) return;
    const kv_config kv = glm_plan_kv_config(part, plan);
    const int64_t n_wanted =
            kv_overflow_extents(&kv, stored_tokens(plan, leaving_tokens(plan), extra_kv_tokens));
    const int64_t n = rt_min64(budget_bytes / kv_overflow_rows_bytes(&kv), n_wanted);
    plan->kv_rows_bytes = n * kv_overflow_rows_bytes(&kv);
    if (!plan->kv_persists) plan->kv_disk_bytes -= plan->kv_disk_bytes / n_wanted * n;
}

/* ---- the disk -------------------------------------------------------------------------------- */

/* Directories that are not there yet will be made in the nearest one that is. */
static bool ask(const char *dir, struct statvfs *fs) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path) return false;
    while (statvfs(path, fs) != 0) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) return statvfs("/", fs) == 0;
        *slash = '\0';
    }
    return true;
}

int64_t glm_plan_disk_free(const char *const *dirs, int n_dirs) {
    int64_t bytes = 0;
    for (int i = 0; i < n_dirs; i++) {
        struct statvfs fs;
        if (ask(dirs[i], &fs)) bytes += (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    }
    return bytes;
}

/* The engines of a walk: any options that plan and disk allow. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_random.h"
#include "help_walk.h"
#include "kvstore/kvstore.h"
#include "runtime/base/size.h"
#include "runtime/draft.h"
#include "runtime/engine.h"

int64_t walk_below(walk *w, int64_t n) {
    return random_below(&w->random, n);
}

void walk_say(walk *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)printf("%4" PRId64 "  ", w->counts->step);
    (void)vprintf(format, args);
    (void)printf("\n");
    (void)fflush(stdout);
    va_end(args);
}

void walk_fail(walk *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(w->counts->text, sizeof w->counts->text, format, args);
    va_end(args);
    (void)printf("FAIL: step %" PRId64 ": %s\n", w->counts->step, w->counts->text);
    (void)fflush(stdout);
    _Exit(1);
}

bool walk_went(walk *w, rt_status status, const char *what, rt_status may, rt_status may_too) {
    if (status == RT_OK) return true;
    walk_say(w, "    %s: %s", what, rt_error_text());
    const bool is_lost = status == RT_ECORRUPT && w->is_damaged;
    const bool has_failed = (status == RT_EDEVICE || status == RT_ENOMEM) && w->has_failed;
    if (status != may && status != may_too && !is_lost && !has_failed)
        walk_fail(w, "%s: %s", what, rt_error_text());
    w->counts->n_refused++;
    return false;
}

/* ---- being stopped ----------------------------------------------------------------------------------------------- */

static int64_t n_left = -1;

static int stops(void) {
    if (n_left < 0) return 0;
    return n_left-- == 0 ? 2 : 0;
}

void walk_stop_soon(walk *w) {
    if (walk_below(w, 8) == 0) n_left = walk_below(w, 6);
}

/* Where one rank's device fails, or NCCL does, the group ends: that is not for walks. */
void walk_fail_soon(walk *w) {
    w->has_failed = false;
    if (!w->kind->fail_at || w->n_ranks > 1 || w->options.nccl || walk_below(w, 10) > 0) return;
    const int64_t at = 1 + walk_below(w, walk_below(w, 2) ? 20 : 150);
    walk_say(w, "    call %" PRId64 " of the device fails", at);
    (void)w->kind->fail_at(at);
}

void walk_go_well(walk *w) {
    n_left = -1;
    w->has_failed = w->kind->fail_at && w->kind->fail_at(0);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static const char *one_of(walk *w, const char *const *texts, int64_t n) {
    return texts[walk_below(w, n)];
}

static int64_t kv_bytes(const walk *w) {
    return (w->longest + w->options.extra_kv_tokens) * walk_reference_token_bytes(w->reference);
}

static void choose_budgets(walk *w) {
    glm_options *o = &w->options;
    const bool is_cpu = strcmp(w->kind->device, "cpu") == 0;
    o->host_kv_bytes = o->device_kv_bytes = o->kv_disk_bytes = 0;
    if (!is_cpu && walk_below(w, 4) == 0) o->device_weights_bytes = 100000 + walk_below(w, 600000);
    if (walk_below(w, 8) == 0) return; /* memory for all */
    const int64_t budget = rt_max64(kv_bytes(w) >> (1 + walk_below(w, 6)), 4096);
    const int64_t other = walk_below(w, 3) ? rt_max64(kv_bytes(w) >> walk_below(w, 8), 1) : 0;
    o->host_kv_bytes = is_cpu ? budget : other;
    o->device_kv_bytes = is_cpu ? 0 : budget;
    if (walk_below(w, 3) == 0) o->kv_disk_bytes = kv_bytes(w) << walk_below(w, 4);
    if (!is_cpu && walk_below(w, 3) == 0) o->kv_window_tokens = 4096 * (1 + walk_below(w, 2));
}

/* Shapes of work: the first are common, the rest as odd as they may be. */
static void choose_sizes(walk *w) {
    static const int64_t chunks[] = {0, 128, 256, 384, 512, 17, 5, 1};
    static const int64_t spans[] = {0, 0, 4096, 8192};
    glm_options *o = &w->options;
    const int64_t n_chunks = w->longest > 4000 ? 5 : 8;
    o->max_len = walk_below(w, 4) ? w->longest
                                  : w->longest - walk_below(w, rt_min64(w->longest / 2, 300));
    o->chunk = walk_below(w, 4) ? chunks[walk_below(w, n_chunks)] : 100 + walk_below(w, 900);
    o->span = spans[walk_below(w, 4)];
    o->threads = 1 + (int32_t)walk_below(w, 3);
    o->max_seqs = 2 + (int32_t)walk_below(w, WALK_SEQS - 1);
    o->max_logits = 1 + walk_below(w, WALK_ROWS);
    o->n_speculative = (int32_t)walk_below(w, GLM_DRAFT_MAX + 1);
    o->extra_kv_tokens = walk_below(w, 4) ? walk_below(w, 3 * w->longest) : 0;
}

static void choose(walk *w, const char *const *dirs) {
    static const char *const ios[] = {"auto", "pread"};
    static const char *const packings[] = {"auto", "dense", "plain"};
    w->options = (glm_options){.model_dir = w->model,
            .device = w->kind->device,
            .kv_dtype = w->kv_dtype,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = w->n_dirs,
            .kv_io = one_of(w, ios, 2),
            .kv_packing = one_of(w, packings, 3),
            .tensor_parallel = w->n_ranks,
            .nccl = w->n_ranks == 1 && w->kind->ranks_max > 1 && walk_below(w, 8) == 0,
            .persists = w->persists && (w->n_book > 0 || walk_below(w, 8) > 0)};
    w->options.keeps_forks = w->options.persists && !w->kind->tells_how && walk_below(w, 2);
    choose_sizes(w);
    choose_budgets(w);
}

/* What does not fit gets a little more, until it does: so most have hardly more than the least. */
static rt_status open_at_last(walk *w) {
    rt_status status = RT_ENOFIT;
    glm_options *o = &w->options;
    for (int i = 0; i < 120 && status == RT_ENOFIT; i++) {
        status = glm_engine_open(o, &w->engine);
        if (status != RT_ENOFIT) break;
        if (i % 2 == 0) o->host_kv_bytes += o->host_kv_bytes / 10;
        if (i % 2 == 0) o->device_kv_bytes += o->device_kv_bytes / 10;
        if (i % 2 == 1) o->kv_disk_bytes += o->kv_disk_bytes / 3;
        if (i % 2 == 1) o->device_weights_bytes += o->device_weights_bytes / 3;
    }
    if (status != RT_ENOFIT) return status;
    o->host_kv_bytes = o->device_kv_bytes = o->kv_disk_bytes = o->device_weights_bytes = 0;
    return glm_engine_open(o, &w->engine);
}

void walk_open(walk *w) {
    const int64_t first = walk_below(w, w->n_dirs);
    const char *dirs[] = {w->dirs[first], w->dirs[(first + 1) % w->n_dirs]};
    choose(w, dirs);
    if (w->kind->unsettle) w->kind->unsettle(&w->random);
    if (open_at_last(w) != RT_OK) walk_fail(w, "open: %s", rt_error_text());
    const glm_options *o = &w->options;
    const glm_plan *p = glm_engine_plan(w->engine);
    glm_engine_stop_if(w->engine, stops);
    w->pages_used = kv_store_stats(w->engine->store).pages_used;
    w->counts->n_opened++;
    walk_say(w,
            "open: ranks %" PRId32 ", len %" PRId64 " + %" PRId64 ", chunk %" PRId64
            ", span %" PRId64 ", threads %" PRId32 ", seqs %" PRId32 ", budget %" PRId64
            " device %" PRId64 " weights %" PRId64 " disk %" PRId64 ", %s %s%s; extents of %" PRId32
            " x %" PRId32 ", pinned %" PRId64 ", rows %" PRId64,
            p->n_ranks, o->max_len, o->extra_kv_tokens, p->chunk, p->span, o->threads, o->max_seqs,
            o->host_kv_bytes, o->device_kv_bytes, o->device_weights_bytes, o->kv_disk_bytes,
            o->kv_io, o->kv_packing,
            o->keeps_forks ? ", kept, forks too"
            : o->persists  ? ", kept"
                           : "",
            p->kv_extent_tokens, p->kv_window_extents, p->kv_pinned_tokens, p->kv_rows_bytes);
}

void walk_write_book(const walk *w, const char *const *dirs, int32_t n_dirs) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    int32_t ids[WALK_TOKENS];
    const glm_options options = {.model_dir = w->model,
            .device = "cpu",
            .kv_dtype = w->kv_dtype,
            .max_len = w->longest,
            .persists = true,
            .needs_kept = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = n_dirs};
    for (int64_t i = 0; i < w->n_book; i++) ids[i] = walk_token(0, i);
    help_require(glm_engine_open(&options, &engine), "book: open");
    help_require(glm_session_create(engine, w->longest, &session), "book: session");
    help_require(glm_prefill(session, ids, w->n_book), "book: prefill");
    help_require(glm_session_keep(session, "cpu", "source=a walk\n"), "book: keep");
    glm_session_free(session);
    glm_engine_close(engine);
}

/* ---- the end of one ---------------------------------------------------------------------------------------------- */

static void free_all(walk *w) {
    const int64_t first = walk_below(w, WALK_SEQS);
    for (int64_t i = 0; i < WALK_SEQS; i++) {
        walk_seq *s = &w->seqs[(first + i) % WALK_SEQS];
        if (s->session) walk_remember(w, &s->tokens);
        glm_session_free(s->session);
        s->session = NULL;
    }
}

void walk_close(walk *w) {
    if (w->running) walk_suspend(w);
    free_all(w);
    const kv_stats stats = kv_store_stats(w->engine->store);
    if (stats.pages_used != w->pages_used)
        walk_fail(w, "%" PRId64 " pages are used by nobody, %" PRId64 " were in the beginning",
                stats.pages_used, w->pages_used);
    glm_engine_close(w->engine);
    w->engine = NULL;
}

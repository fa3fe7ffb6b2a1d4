#include "help_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_random.h"
#include "runtime/base/size.h"

glm_engine *help_engine_open(
        const char *dir, const char *device, const char *kv_dtype, int64_t max_len, int64_t chunk) {
    glm_engine *engine = NULL;
    const glm_options options = {.model_dir = dir,
            .device = device,
            .kv_dtype = kv_dtype,
            .max_len = max_len,
            .chunk = chunk,
            .max_logits = 8,
            .threads = 1};
    help_require(glm_engine_open(&options, &engine), device);
    return engine;
}

glm_engine *help_engine_open_in(const char *dir, glm_options options) {
    glm_engine *engine = NULL;
    options.threads = 1;
    if (options.device && strcmp(options.device, "cpu") == 0) options.linear = "own";
    options.persists = true;
    options.needs_kept = options.kv_disk_bytes == 0; /* a limit is there to be met */
    options.kv_disk_dirs = &dir;
    options.n_kv_disk_dirs = 1;
    help_require(glm_engine_open(&options, &engine), options.device);
    return engine;
}

static void take_rows(const glm_session *session, int64_t n, int64_t vocab, float *to) {
    const float *rows = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &rows, &n_rows), "logits");
    memcpy(to, rows, (size_t)(n * vocab) * sizeof *to);
}

float *help_engine_logits(glm_engine *engine, const int32_t *ids, int64_t n, const int64_t *wanted,
        int64_t n_wanted, int64_t n_steps) {
    const int64_t vocab = glm_engine_config(engine)->vocab;
    float *out = malloc((size_t)((n_wanted + n_steps) * vocab) * sizeof *out);
    glm_session *session = NULL;
    glm_prefill_progress progress = {0};
    if (!out) exit(1);
    help_require(glm_session_create(engine, n + n_steps, &session), "session");
    help_require(glm_prefill_begin(session, ids, n, wanted, n_wanted), "prefill");
    while (!progress.is_done) help_require(glm_prefill_step(session, &progress), "prefill");
    take_rows(session, n_wanted, vocab, out);
    for (int64_t i = 0; i < n_steps; i++) {
        help_require(glm_decode(&session, &ids[n + i], 1), "decode");
        take_rows(session, 1, vocab, out + (n_wanted + i) * vocab);
    }
    glm_session_free(session);
    return out;
}

void help_engine_keep(glm_engine *engine, const int32_t *ids, int64_t n, const char *name) {
    glm_session *session = NULL;
    help_require(glm_session_create(engine, n, &session), "session");
    help_require(glm_prefill(session, ids, n), "prefill");
    help_require(glm_session_keep(session, name, "source=a test\n"), "keep");
    glm_session_free(session);
}

void help_engine_go_on(glm_engine *engine, const int32_t *ids, int64_t n, int64_t n_kept,
        int64_t n_steps, float *rows) {
    const int64_t vocab = glm_engine_config(engine)->vocab;
    glm_session *session = NULL;
    glm_reuse reuse = {0};
    help_require(glm_session_create(engine, n + n_steps, &session), "session");
    help_require(glm_session_restore(session, ids, n, &reuse), "restore");
    if (reuse.n_tokens != n_kept) {
        printf("FAIL: %lld tokens were found, not %lld (%s)\n", (long long)reuse.n_tokens,
                (long long)n_kept, reuse.reason);
        exit(1);
    }
    help_require(glm_prefill(session, ids + n_kept, n - n_kept), "prefill");
    take_rows(session, 1, vocab, rows);
    for (int64_t i = 0; i < n_steps; i++) {
        const int32_t *id = &ids[n + i];
        const int64_t one = 1;
        help_require(i + 1 < n_steps ? glm_decode(&session, id, 1)
                                     : glm_prefill_together(&session, &id, &one, 1),
                "decode");
        take_rows(session, 1, vocab, rows + (1 + i) * vocab);
    }
    glm_session_free(session);
}

int64_t help_engine_little_kv(const glm_plan *plan, int32_t n_layers) {
    const int64_t of_windows = (plan->kv_window_extents - 1) * plan->kv_extent_tokens / 128;
    const int64_t pages = n_layers * rt_div_up(plan->max_len, 128) + of_windows;
    return glm_plan_kv_here(plan) - pages * plan->kv_page_bytes + RT_MIB / 2;
}

void help_engine_row(const glm_session *session, float *row, int64_t vocab) {
    take_rows(session, 1, vocab, row);
}

void help_engine_ids(int32_t *ids, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)random_below(&seed, 256);
}

bool help_engine_has_gpu(const char *dir) {
    const glm_options options = {.model_dir = dir, .device = "cuda", .max_len = 1024, .threads = 2};
    glm_engine *engine = NULL;
    if (glm_engine_open(&options, &engine) != RT_OK) {
        printf("no GPU to compute on: %s\n", rt_error_text());
        return false;
    }
    glm_engine_close(engine);
    return true;
}

/* help_one_prompt.h's job by glm1m. --variant: "own" or "onednn", who multiplies (--linear of glm1m). */
#include "help_measure.h"
#include "help_one_prompt.h"
#include "runtime/runtime.h"

static glm_engine *engine;
static glm_session *session;

static void open_model(const one_prompt *job, int64_t n_tokens_max) {
    const glm_options options = {.model_dir = job->model,
            .device = "cpu",
            .kv_dtype = job->kv,
            .max_len = n_tokens_max,
            .chunk = job->chunk,
            .linear = job->variant,
            .threads = job->n_threads,
            .kv_disk_dirs = &job->kept_in,
            .n_kv_disk_dirs = job->kept_in ? 1 : 0,
            .persists = job->kept_in,
            .needs_kept = job->kept_in};
    bench_must(glm_engine_open(&options, &engine));
    bench_must(glm_session_create(engine, n_tokens_max, &session));
}

static void prefill(const int32_t *ids, int64_t n) {
    bench_must(glm_prefill(session, ids, n));
}

static void decode(int32_t id) {
    bench_must(glm_decode(&session, &id, 1));
}

static void cut(int64_t n_tokens) {
    glm_session_truncate(session, n_tokens);
}

static const float *logits(void) {
    const float *rows = NULL;
    int64_t n_rows = 0;
    bench_must(glm_session_logits(session, &rows, &n_rows));
    return rows;
}

/* At most all but the last of the ids given is found. */
static int64_t restore(const one_prompt *job, const int32_t *ids) {
    glm_reuse reuse;
    bench_must(glm_session_restore(session, ids, job->n_kept + 1, &reuse));
    if (reuse.n_tokens < job->n_kept) glm_session_truncate(session, 0);
    return reuse.n_tokens < job->n_kept ? 0 : reuse.n_tokens;
}

static void keep(const one_prompt *job, const int32_t *ids) {
    (void)job, (void)ids;
    bench_must(glm_session_keep(session, "one-prompt", "source=made-up ids\n"));
}

static int32_t vocab(void) {
    return (int32_t)glm_engine_config(engine)->vocab;
}

int main(int argc, char **argv) {
    const one_prompt job = one_prompt_parse(argc, argv, "bench_one_prompt");
    one_prompt_run(&job,
            &(one_prompt_runtime){open_model, prefill, decode, cut, logits, restore, keep, vocab});
    glm_session_free(session);
    glm_engine_close(engine);
    return 0;
}

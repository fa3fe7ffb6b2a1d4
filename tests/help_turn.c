#include "help_turn.h"

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"

glm_engine *help_turn_engine(const char *dir, const char *kv_dtype, int64_t disk_bytes) {
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = "cpu",
            .kv_dtype = kv_dtype,
            .kv_disk_bytes = disk_bytes,
            .max_len = HELP_TURN_N + 1,
            .max_seqs = 4,
            .extra_kv_tokens = 4 * HELP_TURN_N};
    return help_engine_open_in(dir, options);
}

glm_session *help_turn_session(glm_engine *engine) {
    glm_session *session = NULL;
    help_require(glm_session_create(engine, HELP_TURN_N + 1, &session), "session");
    return session;
}

void help_turn_begin(glm_session *session, const int32_t *ids) {
    glm_prefill_progress progress;
    help_require(glm_prefill_begin(session, ids, HELP_TURN_N, NULL, 1), "begin");
    help_require(glm_prefill_step(session, &progress), "step");
}

void help_turn_prefill(glm_session *session, const int32_t *ids) {
    glm_prefill_progress progress = {0};
    help_turn_begin(session, ids);
    while (!progress.is_done) help_require(glm_prefill_step(session, &progress), "step");
}

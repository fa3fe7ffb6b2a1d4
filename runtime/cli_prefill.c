#include <inttypes.h>

#include "cli.h"

static rt_status step_until_done(
        glm_progress *bar, glm_session *session, glm_prefill_progress *progress) {
    while (!progress->is_done) {
        RT_TRY(glm_cli_check_interrupted());
        RT_TRY(glm_prefill_step(session, progress));
        glm_progress_update(bar, progress->tokens_done, progress->tokens_total, progress->work_done,
                progress->work_total);
    }
    return RT_OK;
}

rt_status glm_cli_prefill(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, const int64_t *logits_at, int64_t n_logits) {
    RT_TRY(glm_prefill_begin(session, ids, n_ids, logits_at, n_logits));
    glm_progress bar;
    glm_progress_begin(&bar, cli, "prefill", "tokens");
    glm_progress_update(&bar, 0, n_ids, 0.0, 1.0);

    glm_prefill_progress progress = {.tokens_total = n_ids};
    const rt_status status = step_until_done(&bar, session, &progress);
    glm_progress_end(&bar);
    if (status != RT_EINTERRUPTED) return status;

    glm_prefill_abort(session);
    return rt_fail(RT_EINTERRUPTED, "%s during prefill, at token %" PRId64 " of %" PRId64,
            rt_error_text(), progress.tokens_done, n_ids);
}

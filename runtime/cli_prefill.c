/* Prefill with progress and Ctrl-C; and before it, what is on disk already. */
#include <inttypes.h>
#include <stdio.h>

#include "base/size.h"
#include "cli_prefill.h"
#include "cli_progress.h"
#include "cli_signals.h"

enum { STOP_TEXT = 512 };

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

void glm_cli_say_unused(const glm_cli *cli, const glm_plan *plan) {
    const glm_options *given = &cli->engine;
    if (cli->quiet || plan->on_gpu) return;
    const char *name = given->device_kv_bytes        ? "--device-kv-space"
                       : given->device_weights_bytes ? "--device-weights-space"
                       : given->nccl                 ? "--nccl"
                                                     : NULL;
    if (name)
        (void)fprintf(stderr, "%s is of a GPU, and the CPU computes: it is not looked at\n", name);
}

void glm_cli_say_kv(const glm_cli *cli, const glm_engine *engine) {
    char text[STOP_TEXT];
    const glm_plan *plan = glm_engine_plan(engine);
    if (cli->quiet) return;
    glm_cli_say_unused(cli, plan);
    if (*glm_engine_overflow(engine, text, sizeof text)) (void)fprintf(stderr, "%s\n", text);
    if (plan->kv_open_page_bytes > 0)
        (void)fprintf(stderr, "keys and values are kept as %s: not exact, as bf16 would be\n",
                rt_dtype_name(plan->kv_dtype));
}

/* ", about 12.0 s for the others", where these take so much work (plan.h); "" for less than 0.05 s. */
static const char *time_of(const glm_session *session, double work, char text[STOP_TEXT]) {
    const double left_s = glm_session_planned_s(session, work);
    char time[RT_SIZE_TEXT];
    text[0] = '\0';
    if (left_s >= 0.05) /* "0.1 s" */
        (void)snprintf(
                text, STOP_TEXT, ", about %s for the others", rt_format_seconds(left_s, time));
    return text;
}

void glm_cli_say_reuse(const glm_cli *cli, const glm_session *session, double left_work,
        int64_t n_ids, const glm_reuse *reuse) {
    const int64_t n = reuse->n_tokens;
    const char *reason = n < n_ids ? reuse->reason : "";
    char left[STOP_TEXT];
    if (cli->quiet || (n == 0 && !reuse->is_failure)) return;
    (void)fprintf(stderr, "on disk already: %" PRId64 " of %" PRId64 " tokens%s%s%s\n", n, n_ids,
            time_of(session, left_work, left), *reason ? "; " : "", reason);
}

/* What Ctrl-C stopped, and kept. */
static void say_goes_on(const glm_session *session, const glm_prefill_progress *progress) {
    const int64_t before = glm_session_length(session);
    char left[STOP_TEXT];
    (void)fprintf(stderr, "goes on at token %" PRId64 " of %" PRId64 ", where it was stopped%s\n",
            before + progress->tokens_done, before + progress->tokens_total,
            time_of(session, progress->work_total - progress->work_done, left));
}

/* Tokens of a prefill that earlier runs had done, that were done when it ended, and that were left. To go on where an earlier run
 * was stopped, a prefill can begin before the tokens that it was given: only what is left tells where it ended. */
typedef struct extent {
    int64_t before;
    int64_t done;
    int64_t left;
    bool is_untouched; /* neither an earlier run nor this one had begun with it */
} extent;

/* Run a prefill that was begun, with progress. After RT_EINTERRUPTED it is not over yet: the caller aborts or suspends it. */
static rt_status run_shown(const glm_cli *cli, glm_session *session, extent *out) {
    glm_progress bar;
    glm_prefill_progress progress;
    glm_prefill_where(session, &progress);
    out->before = progress.tokens_done;
    if (progress.work_done > 0.0 && !cli->quiet) say_goes_on(session, &progress);
    glm_progress_begin(&bar, cli, "prefill", "tokens");
    glm_progress_start_at(&bar, progress.tokens_done, progress.work_done);
    glm_progress_update(&bar, progress.tokens_done, progress.tokens_total, progress.work_done,
            progress.work_total);
    const rt_status status = step_until_done(&bar, session, &progress);
    glm_progress_end(&bar);
    out->done = progress.tokens_done;
    out->left = progress.tokens_total - progress.tokens_done;
    out->is_untouched = progress.work_done <= 0.0;
    return status;
}

static rt_status run_or_abort(const glm_cli *cli, glm_session *session, int64_t n_ids) {
    extent at = {0};
    const rt_status status = run_shown(cli, session, &at);
    if (status != RT_EINTERRUPTED) return status;
    glm_prefill_abort(session);
    return rt_fail(RT_EINTERRUPTED, "%s during prefill, at token %" PRId64 " of %" PRId64,
            rt_error_text(), n_ids - at.left, n_ids);
}

rt_status glm_cli_prefill(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, const int64_t *logits_at, int64_t n_logits) {
    RT_TRY(glm_prefill_begin(session, ids, n_ids, logits_at, n_logits));
    return run_or_abort(cli, session, n_ids);
}

rt_status glm_cli_prefill_all(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, glm_take_logits *take, void *context) {
    RT_TRY(glm_prefill_begin_all(session, ids, n_ids, 0, take, context));
    return run_or_abort(cli, session, n_ids);
}

/* ---- kept on disk ---------------------------------------------------------------------------- */

bool glm_cli_persists(const glm_cli *cli) {
    return cli->keeps || cli->book || cli->engine.n_kv_disk_dirs > 0;
}

rt_status glm_cli_restore(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, glm_reuse *out) {
    *out = (glm_reuse){0};
    if (glm_cli_persists(cli)) return glm_session_restore(session, ids, n_ids, out);
    (void)snprintf(out->reason, sizeof out->reason, "neither --book nor --kv-disk-dir is given");
    return RT_OK;
}

static void say_kept(int64_t n_kept, char text[STOP_TEXT]) {
    if (n_kept > 0)
        (void)snprintf(text, STOP_TEXT, "; only %" PRId64 " are kept: %s", n_kept, rt_error_text());
    else
        (void)snprintf(text, STOP_TEXT, "; nothing of it is kept: %s", rt_error_text());
}

/* End the prefill of a text that begins at token `first` of the session, and keep what is computed where that can be. `text`
 * is what to say after "at token N of M". A text that begins behind others (first > 0) can be suspended only while none of
 * its spans is finished: nobody would find those again. */
static void stop(const glm_cli *cli, glm_session *session, int64_t first, const char *again,
        char text[STOP_TEXT]) {
    const int64_t length = glm_session_length(session);
    text[0] = '\0';
    if (!glm_cli_persists(cli)) {
        glm_prefill_abort(session);
        (void)snprintf(
                text, STOP_TEXT, "; nothing of it is kept: with --kv-disk-dir DIR it would be");
    } else if (first > 0 && length > first) {
        glm_prefill_abort(session);
    } else if (glm_prefill_suspend(session) == RT_OK) {
        (void)snprintf(text, STOP_TEXT, "; %s goes on from there", again);
    } else { /* the spans that were finished are on disk, unless somebody has removed them */
        say_kept(rt_max64(glm_session_kept(session) - first, 0), text);
    }
}

/* RT_EINTERRUPTED with what stopped the prefill, how far it was, and how it goes on. */
static rt_status say_stopped(const char *why, int64_t done, int64_t n_ids, const char *how) {
    return rt_fail(RT_EINTERRUPTED, "%s during prefill, at token %" PRId64 " of %" PRId64 "%s", why,
            done, n_ids, how);
}

/* glm_cli_prefill_kept, and how many tokens it computed. */
static rt_status run_kept(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, int64_t n_there, const char *again, int64_t *n_computed) {
    const int64_t first = glm_session_length(session) - n_there;
    extent at = {0};
    RT_TRY(glm_prefill_begin(session, ids + n_there, n_ids - n_there, NULL, 1));
    const rt_status status = run_shown(cli, session, &at);
    *n_computed = at.done - at.before;
    if (status != RT_EINTERRUPTED) return status;
    char why[STOP_TEXT];
    char how[STOP_TEXT];
    (void)snprintf(why, sizeof why, "%s", rt_error_text()); /* suspending may have one, too */
    if (at.is_untouched) { /* so that Ctrl-C waits for nobody's lock */
        glm_prefill_abort(session);
        how[0] = '\0';
    } else {
        stop(cli, session, first, again, how);
    }
    return say_stopped(why, n_ids - at.left, n_ids, how);
}

rt_status glm_cli_prefill_kept(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, int64_t n_there, const char *again) {
    int64_t n_computed = 0;
    return run_kept(cli, session, ids, n_ids, n_there, again, &n_computed);
}

rt_status glm_cli_prefill_rest(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, int64_t *n_computed) {
    int64_t n = 0;
    const int64_t n_there = glm_session_length(session);
    const bool is_whole = n_there > 0 && n_there == n_ids; /* a restore leaves one */
    const rt_status status =
            is_whole ? RT_OK : run_kept(cli, session, ids, n_ids, n_there, "the same command", &n);
    if (n_computed) *n_computed = n;
    return status;
}

rt_status glm_cli_prefill_all_kept(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, const glm_cli_taker *taker) {
    const int64_t n_there = glm_session_length(session);
    extent at = {0};
    RT_TRY(glm_prefill_begin_all(session, ids + n_there, n_ids - n_there, taker->n_given - n_there,
            taker->take, taker->context));
    const rt_status status = run_shown(cli, session, &at);
    if (status != RT_EINTERRUPTED) return status;
    char why[STOP_TEXT];
    char how[STOP_TEXT];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    if (glm_cli_persists(cli) && taker->keep(taker->context) != RT_OK) {
        glm_prefill_abort(session);
        (void)snprintf(how, sizeof how, "; it does not go on from there: %.400s", rt_error_text());
    } else {
        stop(cli, session, 0, "the same command", how);
    }
    return say_stopped(why, n_ids - at.left, n_ids, how);
}

/* Waiting for another process that computes the same text, or one that begins like it:
 *
 *   its turn ends      it has kept all, or a part: what it kept is restored, and this process's turn is asked for again
 *   more is on disk    likewise, though its turn goes on: where the two texts part this process need not wait for its end
 *   it does not move   as where it is stopped (SIGSTOP): its turn is passed by, and one of those who wait computes */
#include "cli_turn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/size.h"
#include "cli_prefill.h"
#include "cli_progress.h"
#include "cli_signals.h"
#include "turn.h"

/* Longer each time, up to a second: many who wait ask one file server. */
enum { SLICE_MS = 50, SLICES_MAX = 20, WHO_TEXT = 128 };
/* Whose turn has just begun may not have said who it is. */
enum { UNTOLD_PAUSES = 4 };

/* No (layer, chunk) item, and no commit of a span on a slow disk, takes so long. In pauses made, not by the clock: time in
 * which this process was stopped itself does not count. */
static const double patience_s = 15 * 60;

typedef struct waiting {
    const glm_cli *cli;
    glm_session *session;
    const int32_t *ids;
    int64_t n_ids;
    int64_t n_kept;
    glm_reuse *reuse;
    glm_turn_state state;
    int64_t n_pauses;   /* for this process */
    double still_s;     /* since its note has changed */
    glm_turn_note note; /* the last one; all zero: none */
    glm_progress bar;
    bool has_bar;
} waiting;

/* ---- what is said ---------------------------------------------------------------------------- */

static const char *name_of(const glm_turn_note *note, char text[WHO_TEXT]) {
    if (note->process == 0) return "another process";
    (void)snprintf(text, WHO_TEXT, "process %" PRId64 " on %s", note->process, note->host);
    return text;
}

static void end_bar(waiting *w) {
    if (w->has_bar) glm_progress_end(&w->bar);
    w->has_bar = false;
}

static void say_whom(const waiting *w) {
    char who[WHO_TEXT];
    if (w->cli->quiet) return;
    (void)fprintf(stderr,
            "waiting for %s, which prefills this text, or one that begins like it; what it keeps is not computed "
            "again\n",
            name_of(&w->note, who));
}

static void show(waiting *w) {
    const glm_turn_note *note = &w->note;
    if (note->work_share < 0.0 || note->n_total == 0) return;
    if (!w->has_bar) {
        glm_progress_begin(&w->bar, w->cli, "waiting", "tokens");
        glm_progress_start_at(&w->bar, note->n_done, note->work_share);
        w->has_bar = true;
    }
    glm_progress_update(&w->bar, note->n_done, note->n_total, note->work_share, 1.0);
}

static void say_goes_on(const waiting *w) {
    char who[WHO_TEXT];
    if (w->n_pauses > 0 && w->state == GLM_TURN_OURS && !w->cli->quiet)
        (void)fprintf(stderr, "%s is at it no longer: this one goes on\n", name_of(&w->note, who));
}

/* ---- waiting --------------------------------------------------------------------------------- */

static rt_status pause_once(waiting *w) {
    const int64_t n = rt_min64(w->n_pauses + 1, SLICES_MAX);
    for (int64_t i = 0; i < n; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = SLICE_MS * 1000000}, NULL);
        RT_TRY(glm_cli_check_interrupted());
    }
    w->n_pauses++;
    w->still_s += (double)(n * SLICE_MS) * 1e-3;
    return RT_OK;
}

static void read_note(waiting *w) {
    glm_turn_note note;
    const bool is_there = glm_turn_look(w->session, &note);
    const bool is_other =
            is_there && (note.process != w->note.process || strcmp(note.host, w->note.host) != 0);
    if (is_there && (is_other || note.n_told != w->note.n_told)) w->still_s = 0.0;
    if (is_there) w->note = note;
    if (is_other) end_bar(w);
    if (is_other || (w->n_pauses == UNTOLD_PAUSES && w->note.process == 0)) say_whom(w);
    show(w);
}

/* For others, who wait for it, too, one of them computes. */
static void pass_by(waiting *w) {
    char who[WHO_TEXT];
    end_bar(w);
    rt_log(RT_LOG_WARN, w->cli->command,
            "%s has the turn to prefill this text, and has not moved for %.0f min: it is waited for no longer",
            name_of(&w->note, who), patience_s / 60.0);
    glm_turn_pass_by(w->session);
    w->still_s = 0.0;
}

/* Restore what has come. */
static rt_status restore(waiting *w, bool *has_come) {
    RT_TRY(glm_turn_restore(w->session, w->ids, w->n_ids, w->reuse, has_come));
    if (*has_come) w->still_s = 0.0;
    return RT_OK;
}

static rt_status pause_and_look(waiting *w) {
    bool has_come = false;
    RT_TRY(pause_once(w));
    read_note(w);
    RT_TRY(restore(w, &has_come));
    if (w->still_s > patience_s) pass_by(w);
    return RT_OK;
}

/* What has come is looked for before each turn is asked for: for what is there nobody needs one, and of many who waited none keeps
 * the others waiting while it reads. And again when the turn is ours: whose it was may have kept something in between. */
static rt_status ask(waiting *w, bool *is_over) {
    bool has_come = false;
    RT_TRY(glm_turn_take(w->session, w->ids, w->n_kept, &w->state));
    if (w->state == GLM_TURN_ANOTHERS) return pause_and_look(w);
    if (w->state == GLM_TURN_OURS) RT_TRY(restore(w, &has_come));
    *is_over = !has_come;
    return RT_OK;
}

static rt_status say_stopped(rt_status status) {
    char why[WHO_TEXT];
    if (status != RT_EINTERRUPTED) return status;
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    return rt_fail(status, "%s while another process was waited for, which prefills the text", why);
}

rt_status glm_cli_take_turn(const glm_cli *cli, glm_session *session, const int32_t *ids,
        int64_t n_ids, int64_t n_kept, glm_reuse *reuse, double *waited_s) {
    const double began_s = rt_now();
    waiting w = {.cli = cli,
            .session = session,
            .ids = ids,
            .n_ids = n_ids,
            .n_kept = n_kept,
            .reuse = reuse};
    rt_status status = RT_OK;
    bool is_over = !glm_cli_persists(cli);
    while (status == RT_OK && !is_over) status = ask(&w, &is_over);
    end_bar(&w);
    *waited_s = w.n_pauses > 0 ? rt_now() - began_s : 0.0;
    if (status == RT_OK) say_goes_on(&w);
    if (status == RT_OK) glm_turn_begin(session);
    return say_stopped(status);
}

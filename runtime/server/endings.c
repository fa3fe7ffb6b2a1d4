/* How a request ends: well, with an error, or because nobody wants it any more. */
#include <inttypes.h>

#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "runtime/turn.h"
#include "schedule.h"

static const char shutting_down[] = "shutting_down";

/* For whoever looks in the log for what a client, who has that id, complains of. */
static void log_end(const srv_request *request) {
    const srv_progress *progress = &request->progress;
    const double started_s = progress->started_s > 0.0 ? progress->started_s : request->done_s;
    rt_log(RT_LOG_INFO, "serve",
            "%s id=%s prompt_tokens=%" PRId64 " cached_tokens=%" PRId64 " answer_tokens=%" PRId64
            " queued_ms=%.1f ms=%.1f",
            atomic_load(&request->is_cancelled) ? "left by its client"
            : request->error.http               ? "failed"
                                                : "answered",
            request->id, request->prompt.n, progress->n_cached, srv_request_generated(request),
            1e3 * (started_s - request->submitted_s),
            1e3 * (request->done_s - request->submitted_s));
}

/* Before its client is told, who may look at once. */
static void count_finished(
        srv_scheduler *scheduler, const srv_request *request, double done_s, bool failed) {
    srv_counters *counters = &scheduler->counters;
    (void)pthread_mutex_lock(&scheduler->lock);
    if (atomic_load(&request->is_cancelled))
        counters->n_cancelled++;
    else if (failed)
        counters->n_failed++;
    else
        counters->n_succeeded++;
    srv_histogram_add(&counters->whole, done_s - request->submitted_s);
    (void)pthread_mutex_unlock(&scheduler->lock);
}

void srv_finish_request(srv_scheduler *scheduler, srv_request *request, const srv_error *error) {
    const double done_s = rt_now();
    count_finished(scheduler, request, done_s, error && error->http);
    (void)pthread_mutex_lock(&request->lock);
    request->phase = SRV_DONE;
    if (error) request->error = *error;
    request->done_s = done_s;
    log_end(request);
    srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
    if (request->whole) srv_queue_next_part(scheduler, request, error);
}

/* Requests that waited for this sequence's prefill do so no more. */
static void release_joined(srv_scheduler *scheduler, const srv_sequence *sequence) {
    (void)pthread_mutex_lock(&scheduler->lock);
    for (int i = 0; i < scheduler->n_waiting; i++)
        if (scheduler->waiting[i].joined == sequence) scheduler->waiting[i].joined = NULL;
    (void)pthread_mutex_unlock(&scheduler->lock);
}

/* Free its slot; what it computed is kept, up to the last whole piece. */
static void remove_sequence(srv_scheduler *scheduler, srv_sequence *sequence) {
    int32_t place = 0;
    while (scheduler->running[place] != sequence) place++;
    scheduler->running[place] = scheduler->running[--scheduler->n_running];
    if (scheduler->piece_of == sequence) {
        glm_prefill_abort(sequence->session);
        scheduler->piece_of = NULL;
    }
    release_joined(scheduler, sequence);
    if (sequence->session) glm_turn_give_back(sequence->session);
    if (!scheduler->lost.http) srv_keep_prefix(scheduler, sequence);
    srv_sequence_free(sequence);
    scheduler->is_admission_due = true;
}

/* Another choice of the same request that is at work; NULL: there is none. */
static srv_sequence *find_other(const srv_scheduler *scheduler, const srv_request *request) {
    for (int32_t i = 0; i < scheduler->n_running; i++)
        if (scheduler->running[i]->request == request) return scheduler->running[i];
    return NULL;
}

void srv_finish_sequence(srv_scheduler *scheduler, srv_sequence *sequence, srv_finish finish,
        const srv_error *error) {
    srv_request *request = sequence->request;
    srv_choice *choice = sequence->choice;
    srv_request_hold(request); /* until its slots are free, and its client is told */
    remove_sequence(scheduler, sequence);
    (void)pthread_mutex_lock(&request->lock);
    choice->finish = finish;
    (void)pthread_mutex_unlock(&request->lock);
    srv_sequence *other = find_other(scheduler, request);
    while (error && error->http && other) { /* its choices fail together */
        remove_sequence(scheduler, other);
        other = find_other(scheduler, request);
    }
    if (!other) srv_finish_request(scheduler, request, error);
    srv_request_drop(request);
}

void srv_note_loss(srv_scheduler *scheduler, rt_status status) {
    if (status != RT_EPEER || scheduler->lost.http) return;
    (void)srv_refuse(&scheduler->lost, 500, "rank_lost", NULL, "%s", rt_error_text());
}

/* Where a rank is lost the loop ends all of them, with the same error. */
void srv_fail_sequence(srv_scheduler *scheduler, srv_sequence *sequence, rt_status status) {
    srv_error error;
    srv_note_loss(scheduler, status);
    if (status == RT_EPEER) return;
    (void)srv_refuse_status(&error, status, NULL);
    rt_log(RT_LOG_WARN, "serve", "request failed id=%s: %s", sequence->request->id,
            rt_error_text());
    if (status == RT_EUSAGE) error.http = 500; /* what was asked for had been checked */
    srv_finish_sequence(scheduler, sequence, SRV_FINISH_NONE, &error);
}

/* Write what is computed of the open piece to disk, as Ctrl-C does in `glm1m prefill`. False: that failed. */
static bool suspend_piece(srv_scheduler *scheduler) {
    srv_sequence *sequence = scheduler->piece_of;
    scheduler->piece_of = NULL;
    if (glm_prefill_suspend(sequence->session) == RT_OK) return true;
    rt_log(RT_LOG_WARN, "serve", "not suspended id=%s: %s", sequence->request->id, rt_error_text());
    return false;
}

/* How many tokens of its prompt will be found on disk when the same request comes again: all that is computed of an open
 * piece, which is suspended here, or else of the pieces that are done, which end where segments do, what could be kept. */
static int64_t n_kept(srv_scheduler *scheduler, srv_sequence *sequence) {
    const int64_t n_processed = sequence->request->progress.n_processed;
    if (scheduler->lost.http || !glm_engine_plan(scheduler->engine)->kv_persists) return 0;
    if (sequence == scheduler->piece_of && suspend_piece(scheduler)) return n_processed;
    if (sequence->is_decoding || sequence->leader) return 0;
    return rt_min64(glm_session_kept(sequence->session), n_processed);
}

/* End a choice because the server stops; the error says how much of its prompt is kept. */
static void stop_sequence(srv_scheduler *scheduler, srv_sequence *sequence) {
    srv_error error = scheduler->lost;
    const int64_t n = n_kept(scheduler, sequence);
    if (!error.http && n > 0)
        (void)srv_refuse(&error, 503, shutting_down, NULL,
                "the server is shutting down; %" PRId64 " of the prompt's %" PRId64
                " tokens are kept on disk, and the same request goes on from there",
                n, sequence->request->progress.n_total);
    else if (!error.http)
        (void)srv_refuse(&error, 503, shutting_down, NULL, "the server is shutting down");
    srv_finish_sequence(scheduler, sequence, SRV_FINISH_NONE, &error);
}

void srv_fail_all(srv_scheduler *scheduler) {
    srv_error error = scheduler->lost;
    if (!error.http)
        (void)srv_refuse(&error, 503, shutting_down, NULL, "the server is shutting down");
    while (scheduler->n_running > 0) stop_sequence(scheduler, scheduler->running[0]);
    while (scheduler->n_waiting > 0) {
        srv_request *request = scheduler->waiting[0].request;
        srv_leave_queue(scheduler, request);
        srv_finish_request(scheduler, request, &error);
        srv_request_drop(request);
    }
}

void srv_drop_cancelled(srv_scheduler *scheduler) {
    const srv_error none = {0};
    for (int32_t i = scheduler->n_running - 1; i >= 0; i--)
        if (atomic_load(&scheduler->running[i]->request->is_cancelled))
            srv_finish_sequence(scheduler, scheduler->running[i], SRV_FINISH_NONE, &none);
}

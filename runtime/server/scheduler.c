#include "schedule.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "runtime/cli.h"

enum { DISK_PIECE_TOKENS = 4096 };

/* ---- life ------------------------------------------------------------------------------------ */

rt_status srv_scheduler_create(
        const glm_tokenizer *tokenizer, int32_t max_seqs, srv_scheduler **out) {
    srv_scheduler *scheduler = NULL;
    RT_TRY(rt_calloc(1, sizeof *scheduler, "the scheduler", &scheduler));
    scheduler->tokenizer = tokenizer;
    scheduler->max_seqs = max_seqs;
    scheduler->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (scheduler->wake_fd < 0) {
        free(scheduler);
        return rt_fail_errno(RT_EIO, "serve: cannot make an eventfd");
    }
    (void)pthread_mutex_init(&scheduler->lock, NULL);
    *out = scheduler;
    return RT_OK;
}

void srv_scheduler_free(srv_scheduler *scheduler) {
    if (!scheduler) return;
    rt_assert(scheduler->n_waiting == 0 && scheduler->n_running == 0);
    (void)pthread_mutex_destroy(&scheduler->lock);
    (void)close(scheduler->wake_fd);
    free(scheduler);
}

/* ---- from other threads ---------------------------------------------------------------------- */

static void ring(srv_scheduler *scheduler) {
    const uint64_t one = 1;
    const ssize_t ignored = write(scheduler->wake_fd, &one, sizeof one);
    (void)ignored;
}

srv_state srv_scheduler_state(srv_scheduler *scheduler) {
    (void)pthread_mutex_lock(&scheduler->lock);
    const srv_state state = scheduler->state;
    (void)pthread_mutex_unlock(&scheduler->lock);
    return state;
}

int64_t srv_scheduler_context(srv_scheduler *scheduler) {
    (void)pthread_mutex_lock(&scheduler->lock);
    const int64_t context = scheduler->context;
    (void)pthread_mutex_unlock(&scheduler->lock);
    return context;
}

srv_counters srv_scheduler_counters(srv_scheduler *scheduler) {
    (void)pthread_mutex_lock(&scheduler->lock);
    const srv_counters counters = scheduler->counters;
    (void)pthread_mutex_unlock(&scheduler->lock);
    return counters;
}

static bool fits_context(int64_t context, srv_request *request, srv_error *error) {
    srv_settings *settings = &request->settings;
    const int64_t n_prompt = request->prompt.n;
    const int64_t room = context - n_prompt;
    if (settings->max_tokens < 0)
        settings->max_tokens = rt_min64(room, srv_limit_of(SRV_ANSWER_TOKENS));
    if (room > 0 && settings->max_tokens <= room) return true;
    if (room <= 0)
        (void)srv_refuse(error, 400, "context_length_exceeded", NULL,
                "the prompt has %" PRId64 " tokens, and the context of %" PRId64
                " tokens is to hold at least one of the answer: %" PRId64 " too many",
                n_prompt, context, 1 - room);
    else
        (void)srv_refuse(error, 400, "context_length_exceeded", "max_tokens",
                "the prompt has %" PRId64 " tokens and %" PRId64 " are asked for: together %" PRId64
                " more than the context of %" PRId64,
                n_prompt, settings->max_tokens, settings->max_tokens - room, context);
    error->n_prompt = n_prompt;
    error->n_context = context;
    return false;
}

static bool is_open(srv_state state, srv_error *error) {
    if (state == SRV_READY) return true;
    (void)srv_refuse(error, 503, state == SRV_LOADING ? "loading" : "shutting_down", NULL,
            state == SRV_LOADING ? "the model is being loaded" : "the server is shutting down");
    error->retry_after_s = state == SRV_LOADING ? 2 : 30;
    return false;
}

bool srv_scheduler_plan(srv_scheduler *scheduler, glm_plan *plan, srv_error *error) {
    (void)pthread_mutex_lock(&scheduler->lock);
    const bool is_there = is_open(scheduler->state, error);
    *plan = scheduler->plan;
    (void)pthread_mutex_unlock(&scheduler->lock);
    return is_there;
}

/* With the lock. */
static bool has_room(const srv_scheduler *scheduler, int64_t n_tokens, srv_error *error) {
    const int64_t n_max = rt_min64(srv_limit_of(SRV_QUEUE_REQUESTS), SRV_WAITING_MAX);
    const int64_t tokens_max = srv_limit_of(SRV_QUEUE_CONTEXTS) * scheduler->context;
    if (scheduler->n_waiting < n_max && scheduler->n_waiting_tokens + n_tokens <= tokens_max)
        return true;
    (void)srv_refuse(error, 429, "queue_full", NULL,
            "%d requests of %" PRId64 " tokens wait already; at most %" PRId64 " of %" PRId64
            " tokens may",
            scheduler->n_waiting, scheduler->n_waiting_tokens, n_max, tokens_max);
    error->retry_after_s = 5;
    return false;
}

bool srv_scheduler_submit(srv_scheduler *scheduler, srv_request *request, srv_error *error) {
    (void)pthread_mutex_lock(&scheduler->lock);
    const bool is_taken = is_open(scheduler->state, error) &&
                          fits_context(scheduler->context, request, error) &&
                          has_room(scheduler, request->prompt.n, error);
    if (is_taken) {
        srv_request_hold(request);
        request->submitted_s = rt_now();
        request->progress.n_total = request->prompt.n;
        scheduler->waiting[scheduler->n_waiting++] = (srv_waiting){.request = request};
        scheduler->n_waiting_tokens += request->prompt.n;
        scheduler->counters.n_waiting = scheduler->n_waiting;
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
    if (is_taken) ring(scheduler);
    return is_taken;
}

void srv_scheduler_cancel(srv_scheduler *scheduler, srv_request *request) {
    atomic_store(&request->is_cancelled, true);
    ring(scheduler);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void count_finished(srv_scheduler *scheduler, const srv_request *request, bool failed) {
    srv_counters *counters = &scheduler->counters;
    (void)pthread_mutex_lock(&scheduler->lock);
    if (atomic_load(&request->is_cancelled))
        counters->n_cancelled++;
    else if (failed)
        counters->n_failed++;
    else
        counters->n_succeeded++;
    srv_histogram_add(&counters->whole, request->done_s - request->submitted_s);
    (void)pthread_mutex_unlock(&scheduler->lock);
}

void srv_finish_request(
        srv_scheduler *scheduler, srv_request *request, srv_finish finish, const srv_error *error) {
    (void)pthread_mutex_lock(&request->lock);
    request->phase = SRV_DONE;
    request->finish = finish;
    if (error) request->error = *error;
    request->done_s = rt_now();
    srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
    count_finished(scheduler, request, error && error->http);
}

void srv_leave_queue(srv_scheduler *scheduler, srv_request *request) {
    (void)pthread_mutex_lock(&scheduler->lock);
    int place = 0;
    while (scheduler->waiting[place].request != request) place++;
    scheduler->n_waiting--;
    memmove(&scheduler->waiting[place], &scheduler->waiting[place + 1],
            (size_t)(scheduler->n_waiting - place) * sizeof scheduler->waiting[0]);
    scheduler->n_waiting_tokens -= request->prompt.n;
    scheduler->counters.n_waiting = scheduler->n_waiting;
    (void)pthread_mutex_unlock(&scheduler->lock);
}

/* Nobody waits any more for what this sequence was to compute. */
static void part_from(srv_scheduler *scheduler, const srv_sequence *sequence) {
    (void)pthread_mutex_lock(&scheduler->lock);
    for (int i = 0; i < scheduler->n_waiting; i++)
        if (scheduler->waiting[i].joined == sequence) scheduler->waiting[i].joined = NULL;
    (void)pthread_mutex_unlock(&scheduler->lock);
}

/* Its slot is free; what it computed stays as far as it is whole. */
static void remove_sequence(srv_scheduler *scheduler, srv_sequence *sequence) {
    int32_t place = 0;
    while (scheduler->running[place] != sequence) place++;
    scheduler->running[place] = scheduler->running[--scheduler->n_running];
    if (scheduler->piece_of == sequence) {
        glm_prefill_abort(sequence->session);
        scheduler->piece_of = NULL;
    }
    part_from(scheduler, sequence);
    if (!scheduler->lost.http) srv_keep_prefix(scheduler, sequence);
    srv_sequence_free(sequence);
    scheduler->is_admission_due = true;
}

static void finish_sequence(srv_scheduler *scheduler, srv_sequence *sequence, srv_finish finish,
        const srv_error *error) {
    srv_request *request = sequence->request;
    srv_request_hold(request); /* its end is told once its slot is free */
    remove_sequence(scheduler, sequence);
    srv_finish_request(scheduler, request, finish, error);
    srv_request_drop(request);
}

void srv_note_loss(srv_scheduler *scheduler, rt_status status) {
    if (status != RT_EPEER || scheduler->lost.http) return;
    (void)srv_refuse(&scheduler->lost, 500, "rank_lost", NULL, "%s", rt_error_text());
}

/* Where a rank is lost all are ended alike, by the loop. */
static void fail_sequence(srv_scheduler *scheduler, srv_sequence *sequence, rt_status status) {
    srv_error error;
    srv_note_loss(scheduler, status);
    if (status == RT_EPEER) return;
    (void)srv_refuse_status(&error, status, NULL);
    rt_log(RT_LOG_WARN, "serve", "request failed id=%s: %s", sequence->request->id,
            rt_error_text());
    if (status == RT_EUSAGE) error.http = 500; /* what was asked for had been checked */
    finish_sequence(scheduler, sequence, SRV_FINISH_NONE, &error);
}

static void fail_all(srv_scheduler *scheduler) {
    srv_error error = scheduler->lost;
    if (!error.http)
        (void)srv_refuse(&error, 503, "shutting_down", NULL, "the server is shutting down");
    while (scheduler->n_running > 0)
        finish_sequence(scheduler, scheduler->running[0], SRV_FINISH_NONE, &error);
    while (scheduler->n_waiting > 0) {
        srv_request *request = scheduler->waiting[0].request;
        srv_leave_queue(scheduler, request);
        srv_finish_request(scheduler, request, SRV_FINISH_NONE, &error);
        srv_request_drop(request);
    }
}

static void drop_cancelled(srv_scheduler *scheduler) {
    const srv_error none = {0};
    for (int32_t i = scheduler->n_running - 1; i >= 0; i--)
        if (atomic_load(&scheduler->running[i]->request->is_cancelled))
            finish_sequence(scheduler, scheduler->running[i], SRV_FINISH_NONE, &none);
}

/* ---- decode ---------------------------------------------------------------------------------- */

static void count_token(srv_scheduler *scheduler, srv_sequence *sequence) {
    srv_request *request = sequence->request;
    const double now = rt_now();
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->counters.n_generated_tokens++;
    if (sequence->last_token_s == 0.0)
        srv_histogram_add(&scheduler->counters.first_token, now - request->submitted_s);
    else
        srv_histogram_add(&scheduler->counters.next_token, now - sequence->last_token_s);
    (void)pthread_mutex_unlock(&scheduler->lock);
    sequence->last_token_s = now;
}

/* The session's logits are there: the next token, and perhaps the end. */
static void take_token(srv_scheduler *scheduler, srv_sequence *sequence) {
    srv_finish finish = SRV_FINISH_NONE;
    const rt_status status = srv_sequence_next(sequence, scheduler->engine, &finish);
    count_token(scheduler, sequence);
    if (status != RT_OK)
        fail_sequence(scheduler, sequence, status);
    else if (finish != SRV_FINISH_NONE)
        finish_sequence(scheduler, sequence, finish, NULL);
}

/* A step that has to compute lost rows again needs the engine's prefill: an open piece gives way. */
static rt_status decode(
        srv_scheduler *scheduler, glm_session *const *sessions, const int32_t *ids, int32_t n) {
    const rt_status status = glm_decode(sessions, ids, n);
    if (status == RT_OK || !scheduler->piece_of) return status;
    glm_prefill_abort(scheduler->piece_of->session);
    scheduler->piece_of = NULL;
    return glm_decode(sessions, ids, n);
}

static bool decode_step(srv_scheduler *scheduler) {
    srv_sequence *sequences[GLM_DECODE_SEQS_MAX];
    glm_session *sessions[GLM_DECODE_SEQS_MAX];
    int32_t ids[GLM_DECODE_SEQS_MAX];
    int32_t n = 0;
    for (int32_t i = 0; i < scheduler->n_running; i++) {
        srv_sequence *sequence = scheduler->running[i];
        if (!sequence->is_decoding) continue;
        sequences[n] = sequence;
        sessions[n] = sequence->session;
        ids[n++] = sequence->next_id;
    }
    if (n == 0) return false;
    const rt_status status = decode(scheduler, sessions, ids, n);
    for (int32_t i = 0; i < n; i++) {
        if (status == RT_OK)
            take_token(scheduler, sequences[i]);
        else
            fail_sequence(scheduler, sequences[i], status);
    }
    return true;
}

/* ---- prefill --------------------------------------------------------------------------------- */

int64_t srv_piece_tokens(const srv_scheduler *scheduler) {
    const glm_plan *plan = glm_engine_plan(scheduler->engine);
    return plan->kv_overflows || plan->kv_persists ? rt_min64(DISK_PIECE_TOKENS, plan->span)
                                                   : plan->chunk;
}

static int64_t n_left(const srv_sequence *sequence) {
    return sequence->request->prompt.n - glm_session_length(sequence->session);
}

/* Every second turn the one with the least left, else the one whose last turn is the longest ago. */
static srv_sequence *choose(const srv_scheduler *scheduler) {
    srv_sequence *chosen = NULL;
    for (int32_t i = 0; i < scheduler->n_running; i++) {
        srv_sequence *one = scheduler->running[i];
        if (one->is_decoding) continue;
        const bool is_better =
                !chosen || (scheduler->clock % 2 == 0 ? n_left(one) < n_left(chosen)
                                                      : one->piece_at < chosen->piece_at);
        if (is_better) chosen = one;
    }
    return chosen;
}

static rt_status begin_piece(srv_scheduler *scheduler, srv_sequence *sequence) {
    const glm_ids *prompt = &sequence->request->prompt;
    const int64_t size = srv_piece_tokens(scheduler);
    const int64_t pos = glm_session_length(sequence->session);
    const int64_t end = rt_min64((pos / size + 1) * size, prompt->n);
    sequence->piece_at = ++scheduler->clock;
    RT_TRY(glm_prefill_begin(
            sequence->session, prompt->ids + pos, end - pos, NULL, end == prompt->n ? 1 : 0));
    scheduler->piece_of = sequence;
    scheduler->piece_end = end;
    scheduler->piece_work = sequence->work_done;
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->counters.n_pieces++;
    (void)pthread_mutex_unlock(&scheduler->lock);
    return RT_OK;
}

static void show(srv_request *request, int64_t n_processed, double share) {
    (void)pthread_mutex_lock(&request->lock);
    srv_progress *progress = &request->progress;
    progress->n_processed = n_processed;
    if (share > 0.0 && progress->started_s > 0.0)
        progress->eta_s = (rt_now() - progress->started_s) * (1.0 - share) / share;
    if (request->settings.has_progress) srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
}

/* Also to those who wait for the same tokens. */
static void show_progress(srv_scheduler *scheduler, srv_sequence *sequence, int64_t n_processed) {
    const double share =
            sequence->work_total > 0.0 ? sequence->work_done / sequence->work_total : 1.0;
    show(sequence->request, n_processed, share);
    (void)pthread_mutex_lock(&scheduler->lock);
    for (int i = 0; i < scheduler->n_waiting; i++) {
        const srv_waiting *one = &scheduler->waiting[i];
        if (one->joined == sequence)
            show(one->request, rt_min64(n_processed, one->joined_tokens), 0.0);
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
}

static void end_piece(srv_scheduler *scheduler, srv_sequence *sequence) {
    srv_request *request = sequence->request;
    scheduler->piece_of = NULL;
    scheduler->is_admission_due = true;
    if (scheduler->piece_end < request->prompt.n) return;
    sequence->is_decoding = true;
    (void)pthread_mutex_lock(&request->lock);
    request->phase = SRV_DECODING;
    (void)pthread_mutex_unlock(&request->lock);
    take_token(scheduler, sequence);
}

static bool prefill_item(srv_scheduler *scheduler) {
    srv_sequence *sequence = scheduler->piece_of ? scheduler->piece_of : choose(scheduler);
    if (!sequence) return false;
    glm_prefill_progress progress = {0};
    rt_status status = scheduler->piece_of ? RT_OK : begin_piece(scheduler, sequence);
    if (status == RT_OK) {
        status = glm_prefill_step(sequence->session, &progress);
        if (status != RT_OK) scheduler->piece_of = NULL; /* the run is over */
    }
    if (status != RT_OK) {
        fail_sequence(scheduler, sequence, status);
        return true;
    }
    sequence->work_done = scheduler->piece_work + progress.work_done;
    show_progress(scheduler, sequence,
            scheduler->piece_end - progress.tokens_total + progress.tokens_done);
    if (progress.is_done) end_piece(scheduler, sequence);
    return true;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void publish(srv_scheduler *scheduler) {
    srv_counters *counters = &scheduler->counters;
    const kv_stats stats = kv_store_stats(scheduler->engine->store);
    scheduler->counted_s = rt_now();
    (void)pthread_mutex_lock(&scheduler->lock);
    counters->kv = stats;
    counters->n_running = scheduler->n_running;
    counters->n_prefixes = scheduler->n_prefixes;
    counters->n_shown = 0;
    for (int32_t i = 0; i < scheduler->n_running && counters->n_shown < SRV_SHOWN_MAX; i++) {
        const srv_sequence *sequence = scheduler->running[i];
        if (sequence->is_decoding) continue;
        srv_shown_prefill *shown = &counters->shown[counters->n_shown++];
        memcpy(shown->id, sequence->request->id, sizeof shown->id);
        shown->n_done = sequence->request->progress.n_processed;
        shown->n_total = sequence->request->prompt.n;
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
}

/* Until somebody rings, a signal comes, or a second is over. */
static void rest(srv_scheduler *scheduler) {
    struct pollfd ends[] = {{.fd = scheduler->wake_fd, .events = POLLIN},
            {.fd = scheduler->signal_fd, .events = POLLIN}};
    const bool is_draining = scheduler->drained_by_s > 0.0; /* the first signal is still readable */
    publish(scheduler);
    (void)poll(ends, is_draining ? 1 : 2, is_draining ? 100 : 1000);
}

static void hear(srv_scheduler *scheduler) {
    uint64_t n_rings = 0;
    if (read(scheduler->wake_fd, &n_rings, sizeof n_rings) > 0) {
        scheduler->is_admission_due = true;
        drop_cancelled(scheduler);
    }
}

static void begin_to_drain(srv_scheduler *scheduler) {
    scheduler->drained_by_s = rt_now() + (double)srv_limit_of(SRV_DRAIN_S);
    char first;
    const ssize_t ignored = read(scheduler->signal_fd, &first, 1);
    (void)ignored;
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->state = SRV_DRAINING;
    (void)pthread_mutex_unlock(&scheduler->lock);
}

/* Without all ranks there are no answers: every stream is told so, and nothing new is taken. */
static bool has_lost_a_rank(srv_scheduler *scheduler) {
    if (!scheduler->lost.http) srv_note_loss(scheduler, glm_engine_check(scheduler->engine));
    if (!scheduler->lost.http) return false;
    srv_scheduler_stop(scheduler);
    return true;
}

/* Whether it is time to go. */
static bool is_over(srv_scheduler *scheduler) {
    if (has_lost_a_rank(scheduler)) return true;
    if (scheduler->drained_by_s == 0.0) {
        if (!glm_cli_interrupted()) return false;
        begin_to_drain(scheduler);
    }
    char again;
    if (rt_now() > scheduler->drained_by_s || read(scheduler->signal_fd, &again, 1) > 0)
        fail_all(scheduler);
    return scheduler->n_running == 0 && scheduler->n_waiting == 0;
}

rt_status srv_scheduler_run(srv_scheduler *scheduler, glm_engine *engine, int signal_fd) {
    scheduler->engine = engine;
    scheduler->signal_fd = signal_fd;
    publish(scheduler);
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->plan = *glm_engine_plan(engine);
    scheduler->context = scheduler->plan.max_len;
    if (scheduler->state == SRV_LOADING) scheduler->state = SRV_READY;
    (void)pthread_mutex_unlock(&scheduler->lock);
    while (!is_over(scheduler)) {
        hear(scheduler);
        if (scheduler->is_admission_due) srv_admit(scheduler);
        const bool has_decoded = decode_step(scheduler);
        const bool has_prefilled = prefill_item(scheduler);
        if (!has_decoded && !has_prefilled)
            rest(scheduler);
        else if (rt_now() - scheduler->counted_s > 0.5)
            publish(scheduler);
    }
    srv_scheduler_stop(scheduler);
    srv_forget_prefixes(scheduler);
    return scheduler->lost.http ? rt_fail(RT_EPEER, "%s", scheduler->lost.message) : RT_OK;
}

void srv_scheduler_stop(srv_scheduler *scheduler) {
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->state = SRV_STOPPED;
    (void)pthread_mutex_unlock(&scheduler->lock);
    fail_all(scheduler);
}

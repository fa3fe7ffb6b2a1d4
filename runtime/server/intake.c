/* What other threads ask of the scheduler: an answer, how things stand, or an end. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "runtime/linear_choice.h"
#include "schedule.h"

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

/* In the words of Anthropic's API: by them agents know that they have to compact a conversation, or to ask for less, and they
 * read how much less from the numbers. */
static bool fits_context(int64_t context, srv_request *request, srv_error *error) {
    static const char code[] = "context_length_exceeded";
    srv_settings *settings = &request->settings;
    const int64_t n_prompt = request->prompt.n;
    const int64_t room = context - n_prompt;
    const int64_t least = settings->echoes ? 0 : 1; /* of the answer */
    if (settings->max_tokens < 0)
        settings->max_tokens = rt_min64(room, srv_limit_of(SRV_ANSWER_TOKENS));
    if (room >= least && settings->max_tokens <= room) return true;
    if (room < least)
        (void)srv_refuse(error, 400, code, NULL,
                "prompt is too long: %" PRId64 " tokens > %" PRId64
                " maximum; the context, with the answer, is of %" PRId64,
                n_prompt, context - least, context);
    else
        (void)srv_refuse(error, 400, code, "max_tokens",
                "input length and `max_tokens` exceed context limit: %" PRId64 " + %" PRId64
                " > %" PRId64 ", decrease input length or `max_tokens` and try again",
                n_prompt, settings->max_tokens, context);
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

static bool has_slots(
        const srv_scheduler *scheduler, const srv_request *request, srv_error *error) {
    if (request->settings.n_choices <= scheduler->max_seqs) return true;
    return srv_refuse_field(error, "n",
            "n is %d: at most %" PRId32 " answers are under way at once here (--max-num-seqs)",
            request->settings.n_choices, scheduler->max_seqs);
}

bool srv_refuse_room(const srv_request *request, const char *why, srv_error *error) {
    return srv_refuse(error, 400, rt_status_name(RT_ENOFIT), NULL,
            "n %d with max_tokens %" PRId64 " does not fit: %s", request->settings.n_choices,
            request->settings.max_tokens, why);
}

/* What all pages together do not hold need not wait for them; what they just so hold may turn out to need one more. One
 * answer of a context has room, and where KV goes to disk so have others, as far as that has it. */
static bool fits_memory(const glm_plan *plan, const srv_request *request, srv_error *error) {
    const int64_t n_tokens = srv_room_of_choices(request);
    char why[96];
    if (request->settings.n_choices == 1 || plan->kv_overflows ||
            n_tokens <= plan->kv_tokens + ATTN_PAGE_TOKENS)
        return true;
    (void)snprintf(why, sizeof why,
            "that needs room for %" PRId64 " tokens, and there is for %" PRId64, n_tokens,
            plan->kv_tokens);
    return srv_refuse_room(request, why, error);
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

static void note_settings(const glm_plan *plan, srv_request *request) {
    (void)snprintf(request->system_fingerprint, sizeof request->system_fingerprint,
            "glm1m %s, kv_cache_dtype %s, linear %s", GLM_VERSION, rt_dtype_name(plan->kv_dtype),
            glm_linear_by_name(plan->linear_by));
}

/* With the lock. Whether each prompt of the request can be computed here; max_tokens is filled in where it is open. */
static bool fits(const srv_scheduler *scheduler, srv_request *request, srv_error *error) {
    for (int i = 0; i <= request->n_parts; i++) {
        srv_request *one = srv_request_prompt(request, i);
        if (has_slots(scheduler, one, error) && fits_context(scheduler->context, one, error) &&
                fits_memory(&scheduler->plan, one, error))
            continue;
        if (request->n_parts > 0) srv_error_name_prompt(error, i);
        return false;
    }
    return true;
}

/* With the lock. The queue has the caller's reference. */
static void enqueue(srv_scheduler *scheduler, srv_request *request) {
    scheduler->waiting[scheduler->n_waiting++] = (srv_waiting){.request = request};
    scheduler->n_waiting_tokens += request->prompt.n;
    scheduler->counters.n_waiting = scheduler->n_waiting;
}

bool srv_scheduler_submit(srv_scheduler *scheduler, srv_request *request, srv_error *error) {
    srv_request *first = srv_request_prompt(request, 0);
    (void)pthread_mutex_lock(&scheduler->lock);
    const bool is_taken = is_open(scheduler->state, error) && fits(scheduler, request, error) &&
                          has_room(scheduler, first->prompt.n, error);
    for (int i = 0; i <= request->n_parts && is_taken; i++) {
        srv_request *one = srv_request_prompt(request, i);
        one->submitted_s = rt_now();
        note_settings(&scheduler->plan, one);
        one->progress.n_total = one->prompt.n;
    }
    if (is_taken) {
        srv_request_hold(request);
        if (first != request) srv_request_hold(first);
        enqueue(scheduler, first);
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
    if (is_taken) ring(scheduler);
    return is_taken;
}

/* One of its prompts has failed, or was cancelled: the request is over. */
static void fail_whole(srv_scheduler *scheduler, const srv_request *part, const srv_error *error) {
    srv_request *whole = part->whole;
    srv_error named = *error;
    if (named.http) srv_error_name_prompt(&named, part->part);
    srv_finish_request(scheduler, whole, &named);
    srv_request_drop(whole);
}

void srv_queue_next_part(
        srv_scheduler *scheduler, const srv_request *part, const srv_error *error) {
    srv_request *whole = part->whole;
    srv_request *next = srv_request_prompt(whole, part->part + 1);
    srv_error none = {0};
    const bool is_over = (error && error->http) || atomic_load(&part->is_cancelled);
    (void)pthread_mutex_lock(&scheduler->lock);
    const bool has_place = scheduler->n_waiting < SRV_WAITING_MAX;
    if (!is_over && has_place) {
        if (next != whole)
            srv_request_hold(next); /* that of the whole was taken when it was submitted */
        enqueue(scheduler, next);
        scheduler->is_admission_due = true;
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
    if (!is_over && !has_place)
        (void)srv_refuse(
                &none, 429, "queue_full", NULL, "%d requests wait already", SRV_WAITING_MAX);
    if (is_over || (!has_place && next == whole))
        fail_whole(scheduler, part, is_over && error ? error : &none);
    else if (!has_place)
        srv_finish_request(scheduler, next, &none); /* a stream may wait for it; and so the whole */
}

void srv_scheduler_cancel(srv_scheduler *scheduler, srv_request *request) {
    for (int i = 0; i <= request->n_parts; i++)
        atomic_store(&srv_request_prompt(request, i)->is_cancelled, true);
    ring(scheduler);
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

/* The scheduler's thread: its life, and its loop. */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "limits.h"
#include "notify.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/cli_signals.h"
#include "schedule.h"

/* ---- life ------------------------------------------------------------------------------------ */

rt_status srv_scheduler_create(
        const glm_tokenizer *tokenizer, int32_t max_seqs, srv_scheduler **out) {
    srv_scheduler *scheduler = NULL;
    RT_TRY(rt_calloc(1, sizeof *scheduler, "the scheduler", &scheduler));
    scheduler->tokenizer = tokenizer;
    scheduler->max_seqs = max_seqs;
    scheduler->dear_s = 1.0;
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

/* ---- the loop -------------------------------------------------------------------------------- */

/* Bring up to date what other threads read of the engine. */
static void publish(srv_scheduler *scheduler) {
    srv_counters *counters = &scheduler->counters;
    const kv_stats stats = kv_store_stats(scheduler->engine->store);
    scheduler->counted_s = rt_now();
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->plan.linear_by =
            glm_engine_plan(scheduler->engine)->linear_by; /* what a refusal changes */
    counters->kv = stats;
    counters->drafts = glm_engine_drafts(scheduler->engine);
    counters->n_running = scheduler->n_running;
    counters->n_prefixes = scheduler->n_prefixes;
    counters->n_shown = 0;
    for (int32_t i = 0; i < scheduler->n_running && counters->n_shown < SRV_SHOWN_MAX; i++) {
        const srv_sequence *sequence = scheduler->running[i];
        if (sequence->is_decoding || sequence->leader) continue;
        srv_shown_prefill *shown = &counters->shown[counters->n_shown++];
        memcpy(shown->id, sequence->request->id, sizeof shown->id);
        shown->n_done = sequence->request->progress.n_processed;
        shown->n_total = sequence->request->prompt.n;
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
}

/* Nothing is to be computed: sleep until another thread rings, a signal comes, or a second is over. */
static void wait_for_work(srv_scheduler *scheduler) {
    struct pollfd ends[] = {{.fd = scheduler->wake_fd, .events = POLLIN},
            {.fd = scheduler->signal_fd, .events = POLLIN}};
    const bool is_draining = scheduler->drained_by_s > 0.0; /* the first signal is still readable */
    publish(scheduler);
    (void)poll(ends, is_draining ? 1 : 2, is_draining ? 100 : 1000);
}

/* Another thread has submitted or cancelled something. */
static void take_rings(srv_scheduler *scheduler) {
    uint64_t n_rings = 0;
    if (read(scheduler->wake_fd, &n_rings, sizeof n_rings) > 0) {
        scheduler->is_admission_due = true;
        srv_drop_cancelled(scheduler);
    }
}

/* The first signal. Whoever finds the server gone, in a log of weeks, finds why. */
static void begin_to_drain(srv_scheduler *scheduler) {
    const int64_t seconds = srv_limit_of(SRV_DRAIN_S);
    scheduler->drained_by_s = rt_now() + (double)seconds;
    char first;
    const ssize_t ignored = read(scheduler->signal_fd, &first, 1);
    (void)ignored;
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->state = SRV_DRAINING;
    const int n_waiting = scheduler->n_waiting;
    (void)pthread_mutex_unlock(&scheduler->lock);
    srv_notify("STOPPING=1");
    rt_log(RT_LOG_WARN, "serve",
            "%s: no more requests are taken, and the server ends when those under way are answered, in at most %" PRId64
            " s: running=%" PRId32 " waiting=%d",
            glm_cli_signal_name(glm_cli_interrupted()), seconds, scheduler->n_running, n_waiting);
}

/* Without all ranks there are no answers: every request is ended with that error, and no more are taken. */
static bool has_lost_a_rank(srv_scheduler *scheduler) {
    if (!scheduler->lost.http) srv_note_loss(scheduler, glm_engine_check(scheduler->engine));
    if (!scheduler->lost.http) return false;
    srv_scheduler_stop(scheduler);
    return true;
}

/* Whether the loop is to end. The first signal begins the draining; the second, or its end, ends what is still under way. */
static bool is_over(srv_scheduler *scheduler) {
    if (has_lost_a_rank(scheduler)) return true;
    if (scheduler->drained_by_s == 0.0) {
        if (!glm_cli_interrupted()) return false;
        begin_to_drain(scheduler);
    }
    char again;
    if (rt_now() > scheduler->drained_by_s || read(scheduler->signal_fd, &again, 1) > 0)
        srv_fail_all(scheduler);
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
    srv_notify("READY=1");
    while (!is_over(scheduler)) {
        take_rings(scheduler);
        if (scheduler->is_admission_due) srv_admit(scheduler);
        const bool has_decoded = srv_decode_steps(scheduler);
        const bool has_prefilled = srv_prefill_item(scheduler);
        if (!has_decoded && !has_prefilled)
            wait_for_work(scheduler);
        else if (rt_now() - scheduler->counted_s > 0.5)
            publish(scheduler);
    }
    srv_scheduler_stop(scheduler);
    srv_save_prefixes(scheduler);
    srv_forget_prefixes(scheduler);
    return scheduler->lost.http ? rt_fail(RT_EPEER, "%s", scheduler->lost.message) : RT_OK;
}

void srv_scheduler_stop(srv_scheduler *scheduler) {
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->state = SRV_STOPPED;
    (void)pthread_mutex_unlock(&scheduler->lock);
    srv_fail_all(scheduler);
}

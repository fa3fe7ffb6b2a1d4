/* The finished texts that are kept for prompts that begin like them. */
#include <inttypes.h>
#include <unistd.h>

#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "schedule.h"

int64_t srv_common(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b) {
    const int64_t limit = rt_min64(n_a, n_b);
    int64_t n = 0;
    while (n < limit && a[n] == b[n]) n++;
    return n;
}

void srv_forget_prefix(srv_scheduler *scheduler, int place) {
    glm_session_free(scheduler->prefixes[place].session);
    scheduler->prefixes[place] = scheduler->prefixes[--scheduler->n_prefixes];
}

/* Index of the text used longest ago, `spared` left out; -1: there is none. */
static int oldest_prefix(const srv_scheduler *scheduler, int spared) {
    int oldest = -1;
    for (int i = 0; i < scheduler->n_prefixes; i++)
        if (i != spared && (oldest < 0 || scheduler->prefixes[i].used_at <
                                                  scheduler->prefixes[oldest].used_at))
            oldest = i;
    return oldest;
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Tokens behind the last whole segment, where all before them is on disk, and they are worth a read. */
static int64_t n_of_end(const srv_scheduler *scheduler, const glm_session *session) {
    const glm_plan *plan = glm_engine_plan(scheduler->engine);
    const int64_t n = glm_session_length(session);
    const int64_t n_end = plan->kv_persists ? n % plan->kv_extent_tokens : 0;
    return n_end >= ATTN_PAGE_TOKENS && glm_session_kept(session) == n - n_end ? n_end : 0;
}

/* Write the end of a kept text to disk. Where that fails it is computed again, that is all. */
static rt_status save_end(srv_scheduler *scheduler, glm_session *session, rt_log_level level) {
    const rt_status status = glm_session_keep(session, NULL, "");
    srv_note_loss(scheduler, status);
    if (status != RT_OK)
        rt_log(level, "serve", "the end of a text is not kept: %s", rt_error_text());
    return status;
}

/* Where to compute its end again would take long, a text that makes way in memory leaves that on disk, too. */
static void save_dear_end(srv_scheduler *scheduler, int place) {
    glm_session *session = scheduler->prefixes[place].session;
    const int64_t n = n_of_end(scheduler, session);
    if (n == 0 || scheduler->lost.http) return;
    const double work = glm_plan_prefill_work(&scheduler->plan,
            glm_engine_config(scheduler->engine), glm_session_length(session) - n, n);
    if (glm_session_planned_s(session, work) < scheduler->dear_s) return;
    const rt_status ignored = save_end(scheduler, session, RT_LOG_INFO);
    (void)ignored;
}

/* ---- while it runs --------------------------------------------------------------------------- */

static void evict(srv_scheduler *scheduler, int place) {
    srv_forget_prefix(scheduler, place);
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->counters.n_evicted++;
    (void)pthread_mutex_unlock(&scheduler->lock);
}

bool srv_evict_prefix(srv_scheduler *scheduler, int *spared) {
    const int oldest = oldest_prefix(scheduler, *spared);
    if (oldest < 0) return false;
    save_dear_end(scheduler, oldest);
    evict(scheduler, oldest);
    if (*spared == scheduler->n_prefixes) *spared = oldest; /* the last one filled the gap */
    return true;
}

bool srv_forget_oldest(srv_scheduler *scheduler) {
    const int oldest = oldest_prefix(scheduler, -1);
    if (oldest >= 0) evict(scheduler, oldest);
    return oldest >= 0;
}

void srv_forget_prefixes(srv_scheduler *scheduler) {
    while (scheduler->n_prefixes > 0) srv_forget_prefix(scheduler, 0);
}

/* Kept texts that the session begins with are of no use any more. */
static void forget_beginnings(srv_scheduler *scheduler, const glm_session *session) {
    const int32_t *ids = kv_seq_ids(session->seq);
    const int64_t n = glm_session_length(session);
    for (int i = scheduler->n_prefixes - 1; i >= 0; i--) {
        const glm_session *kept = scheduler->prefixes[i].session;
        const int64_t length = glm_session_length(kept);
        if (srv_common(kv_seq_ids(kept->seq), length, ids, n) == length)
            srv_forget_prefix(scheduler, i);
    }
}

/* Whether some kept text begins with all that the session holds. */
static bool is_kept(const srv_scheduler *scheduler, const glm_session *session) {
    const int64_t n = glm_session_length(session);
    for (int i = 0; i < scheduler->n_prefixes; i++) {
        const glm_session *kept = scheduler->prefixes[i].session;
        if (srv_common(kv_seq_ids(kept->seq), glm_session_length(kept), kv_seq_ids(session->seq),
                    n) == n)
            return true;
    }
    return false;
}

/* What is kept is a fork without room for more tokens, so that the pages reserved for the answer become free. Where there
 * is no room for the fork's copy of the last page, the session itself is kept: it can be forgotten later. */
void srv_keep_prefix(srv_scheduler *scheduler, srv_sequence *sequence) {
    glm_session *kept = NULL;
    if (!sequence->session) return;
    const int64_t n = glm_session_length(sequence->session);
    if (n < SRV_PREFIX_TOKENS_MIN || is_kept(scheduler, sequence->session)) return;
    forget_beginnings(scheduler, sequence->session);
    if (scheduler->n_prefixes == rt_min64(SRV_PREFIXES_MAX, srv_limit_of(SRV_PREFIXES))) {
        const int oldest = oldest_prefix(scheduler, -1);
        save_dear_end(scheduler, oldest);
        srv_forget_prefix(scheduler, oldest);
    }
    if (glm_session_fork(sequence->session, n, n, &kept) != RT_OK) {
        kept = sequence->session;
        sequence->session = NULL;
    }
    scheduler->prefixes[scheduler->n_prefixes++] =
            (srv_prefix){.session = kept, .used_at = ++scheduler->clock};
}

/* ---- when the server ends -------------------------------------------------------------------- */

static int newest_prefix(const srv_scheduler *scheduler) {
    int newest = 0;
    for (int i = 1; i < scheduler->n_prefixes; i++)
        if (scheduler->prefixes[i].used_at > scheduler->prefixes[newest].used_at) newest = i;
    return newest;
}

/* A second signal, or the time that a service manager gives. */
static bool is_in_haste(const srv_scheduler *scheduler) {
    char again;
    return rt_now() > scheduler->drained_by_s || read(scheduler->signal_fd, &again, 1) > 0;
}

void srv_save_prefixes(srv_scheduler *scheduler) {
    int n_saved = 0;
    int64_t n_tokens = 0;
    bool goes_on = !scheduler->lost.http;
    while (goes_on && scheduler->n_prefixes > 0) {
        const int newest = newest_prefix(scheduler);
        glm_session *session = scheduler->prefixes[newest].session;
        const int64_t n = n_of_end(scheduler, session);
        if (n > 0 && save_end(scheduler, session, RT_LOG_WARN) == RT_OK) {
            n_saved++;
            n_tokens += n;
        } else if (n > 0) {
            goes_on = false;
        }
        goes_on = goes_on && !is_in_haste(scheduler);
        srv_forget_prefix(scheduler, newest);
    }
    if (n_saved > 0)
        rt_log(RT_LOG_INFO, "serve", "kept the ends of texts=%d tokens=%" PRId64, n_saved,
                n_tokens);
}

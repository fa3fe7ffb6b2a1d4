/* Which waiting request gets a session. It takes over the longest beginning that another session or a kept text has of its
 * prompt, and needs pages and a slot for each choice. */
#include <inttypes.h>
#include <stdlib.h>

#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "runtime/turn.h"
#include "schedule.h"

enum {
    LONG_PIECES = 4 /* a prompt of more pieces than this is long */
};
/* For so long others may overtake a request that finds no pages, or too few slots for its choices. */
static const double overtaken_s = 30.0;

/* ---- beginnings in common -------------------------------------------------------------------- */

/* A session whose first n_tokens a prompt begins with, too, and takes over by a fork. Where the disk has more of the prompt,
 * that is read instead of the tokens behind the last whole segment. */
typedef struct source {
    glm_session *session;
    int64_t n_tokens;
    int64_t n_forked;             /* of them, are taken over */
    bool reads;                   /* and what follows is looked for on disk */
    int prefix;                   /* index of the kept text; -1: it is none */
    int64_t used_at;              /* the kept text's */
    const srv_sequence *sequence; /* the running one; NULL: a kept text's, or there is none */
} source;

/* The last token is always computed: its logits are wanted. */
static int64_t held_in_common(const glm_session *session, const glm_ids *prompt) {
    return srv_common(
            kv_seq_ids(session->seq), glm_session_length(session), prompt->ids, prompt->n - 1);
}

/* Every conversation begins with the same few tokens. To share no more than those must not count as a use of a kept text,
 * or it would never grow old. For the same reason, of several that have as much the one used last is taken: a system text that all
 * begin with would else keep whichever comes first. */
static void look_at(source *best, const glm_ids *prompt, source one) {
    one.n_tokens = held_in_common(one.session, prompt);
    one.n_forked = one.n_tokens;
    if (one.n_tokens < SRV_PREFIX_TOKENS_MIN || one.n_tokens < best->n_tokens) return;
    if (one.n_tokens > best->n_tokens || one.used_at > best->used_at) *best = one;
}

static source find_source(const srv_scheduler *scheduler, const glm_ids *prompt) {
    source best = {.prefix = -1};
    for (int i = 0; i < scheduler->n_prefixes; i++) {
        const srv_prefix *kept = &scheduler->prefixes[i];
        look_at(&best, prompt,
                (source){.session = kept->session, .prefix = i, .used_at = kept->used_at});
    }
    for (int32_t i = 0; i < scheduler->n_running; i++) {
        const srv_sequence *one = scheduler->running[i];
        look_at(&best, prompt, (source){.session = one->session, .prefix = -1, .sequence = one});
    }
    return best;
}

/* Whether to wait for a prefill under way: for one that will have a piece more of the prompt than `now` has, or for the end
 * of the open piece of `now` itself, since a session can be forked between pieces only. */
static bool joins(const srv_scheduler *scheduler, srv_waiting *waiting, const source *now) {
    const glm_ids *prompt = &waiting->request->prompt;
    int64_t most = now->n_tokens + srv_piece_tokens(scheduler);
    waiting->joined = NULL;
    for (int32_t i = 0; i < scheduler->n_running; i++) {
        const srv_sequence *one = scheduler->running[i];
        if (one->is_decoding || one->leader) continue;
        const glm_ids *other = &one->request->prompt;
        const int64_t n = srv_common(other->ids, other->n, prompt->ids, prompt->n - 1);
        if (n < most) continue;
        most = n;
        waiting->joined = one;
    }
    if (waiting->joined) {
        waiting->joined_tokens = most;
        return true;
    }
    if (!now->sequence || now->sequence != scheduler->piece_of) return false;
    waiting->joined = now->sequence; /* its open piece is awaited */
    waiting->joined_tokens = now->n_tokens;
    return true;
}

/* ---- a session ------------------------------------------------------------------------------- */

/* Tokens that a session of the request needs room for. */
static int64_t room_of(const srv_request *request) {
    return request->prompt.n + request->settings.max_tokens;
}

/* The same of a session that only holds the pages which the fork at the prompt's end will need, until that is made: at most
 * all pages of such a session. */
static int64_t fork_room_of(const srv_request *request) {
    return rt_min64(request->settings.max_tokens + 2 * ATTN_PAGE_TOKENS, room_of(request));
}

int64_t srv_room_of_choices(const srv_request *request) {
    return room_of(request) + (request->settings.n_choices - 1) * fork_room_of(request);
}

static void free_sessions(glm_session **sessions, int n) {
    for (int i = 0; i < n; i++) {
        glm_session_free(sessions[i]);
        sessions[i] = NULL;
    }
}

/* With the first n_tokens of the source. */
static rt_status make_first(srv_scheduler *scheduler, const source *from, int64_t n_tokens,
        const srv_request *request, glm_session **out) {
    return n_tokens > 0 ? glm_session_fork(from->session, n_tokens, room_of(request), out)
                        : glm_session_create(scheduler->engine, room_of(request), out);
}

/* One session for each choice; the first is to be prefilled. */
static rt_status make_sessions(srv_scheduler *scheduler, const source *from,
        const srv_request *request, glm_session **sessions) {
    const int n = request->settings.n_choices;
    rt_status status = make_first(scheduler, from, from->n_forked, request, &sessions[0]);
    for (int i = 1; i < n && status == RT_OK; i++)
        status = glm_session_create(scheduler->engine, fork_room_of(request), &sessions[i]);
    if (status != RT_OK) free_sessions(sessions, n);
    return status;
}

/* Whether the prompt is found on disk: one that is judged is computed from its first token on. */
static bool persists(const srv_scheduler *scheduler, const srv_request *request) {
    return glm_engine_plan(scheduler->engine)->kv_persists && !srv_request_judges_prompt(request);
}

/* make_sessions; where there are too few pages all that the source has is taken over, which needs the fewest; then kept texts
 * are forgotten, the oldest first, and last of all the one that the prompt begins with. */
static rt_status find_sessions(srv_scheduler *scheduler, source *from, const srv_request *request,
        glm_session **sessions) {
    for (;;) {
        const rt_status status = make_sessions(scheduler, from, request, sessions);
        if (status != RT_ENOFIT) return status;
        if (from->n_forked < from->n_tokens) {
            from->n_forked = from->n_tokens;
            from->reads = false;
            continue;
        }
        if (srv_evict_prefix(scheduler, &from->prefix)) continue;
        if (from->prefix < 0) return status;
        srv_forget_prefix(scheduler, from->prefix);
        *from = (source){.prefix = -1, .reads = persists(scheduler, request)};
    }
}

/* What is taken over from the source, and what from the disk: the longer of both. */
static rt_status look_on_disk(
        const srv_scheduler *scheduler, const srv_request *request, source *from) {
    const glm_ids *prompt = &request->prompt;
    const int64_t of_segment = glm_engine_plan(scheduler->engine)->kv_extent_tokens;
    int64_t n_found = 0;
    if (!persists(scheduler, request)) return RT_OK;
    if (from->n_tokens > 0)
        RT_TRY(glm_session_find_after(
                from->session, from->n_tokens, prompt->ids, prompt->n, &n_found));
    from->reads = from->n_tokens == 0 || n_found > from->n_tokens;
    if (from->reads) from->n_forked = from->n_tokens / of_segment * of_segment;
    return RT_OK;
}

/* Where that comes to less than the source has, as of files that are damaged, it is forked after all. */
static rt_status read_from_disk(srv_scheduler *scheduler, const source *from,
        const srv_request *request, glm_session **session) {
    const glm_ids *prompt = &request->prompt;
    glm_reuse reuse;
    if (!from->reads) return RT_OK;
    RT_TRY(glm_session_restore(*session, prompt->ids, prompt->n, &reuse));
    if (reuse.n_tokens >= from->n_tokens) return RT_OK;
    glm_session_free(*session);
    *session = NULL;
    return make_first(scheduler, from, from->n_tokens, request, session);
}

/* A call that the client demanded: the prompt ends with the tool's name, so the form is past it. */
static void begin_call(glm_form *form, const char *name) {
    bool is_taken = glm_form_take(form, name, (int64_t)strlen(name));
    is_taken = is_taken && glm_form_take(form, "\n", 1);
    rt_assert(is_taken);
}

/* The sequence of one choice, in a slot. */
static void take_slot(srv_scheduler *scheduler, srv_sequence *sequence) {
    const srv_settings *settings = &sequence->request->settings;
    sequence->answer.tokenizer = scheduler->tokenizer;
    sequence->answer.form = (glm_form){
            .kind = settings->form, .tools = settings->tools, .schema = settings->schema};
    if (settings->forced_call) begin_call(&sequence->answer.form, settings->forced_call);
    sequence->answer.stop.texts = (const char *const *)settings->stop;
    sequence->answer.stop.n_texts = settings->n_stop;
    sequence->reply.tools = settings->tools;
    scheduler->running[scheduler->n_running++] = sequence;
}

/* Of a prompt's prefill, of which n_cached tokens are there. */
static double work_of(
        const srv_scheduler *scheduler, const srv_request *request, int64_t n_cached) {
    const glm_config *config = glm_engine_config(scheduler->engine);
    const int64_t n = request->prompt.n - n_cached;
    if (!srv_request_judges_prompt(request))
        return glm_plan_prefill_work(&scheduler->plan, config, n_cached, n);
    return glm_plan_prefill_all_work(&scheduler->plan, config, n_cached, n);
}

/* A command that is at the same text waits for it then, as for another command. A server waits for nobody: it has others to
 * answer. */
static void take_turn(const srv_scheduler *scheduler, srv_sequence *leader) {
    const glm_ids *prompt = &leader->request->prompt;
    if (persists(scheduler, leader->request))
        glm_turn_claim(leader->session, prompt->ids, glm_turn_whole(leader->session, prompt->n));
}

/* The request begins. */
static void start(srv_scheduler *scheduler, srv_sequence *leader) {
    srv_request *request = leader->request;
    const int64_t n_cached = glm_session_length(leader->session);
    leader->work_total = work_of(scheduler, request, n_cached);
    take_turn(scheduler, leader);
    (void)pthread_mutex_lock(&request->lock);
    request->phase = SRV_PREFILLING;
    request->progress.n_cached = n_cached;
    request->progress.n_processed = n_cached;
    request->progress.started_s = rt_now();
    srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->counters.n_prompt_tokens += request->prompt.n;
    scheduler->counters.n_cached_tokens += n_cached;
    scheduler->counters.n_running = scheduler->n_running;
    (void)pthread_mutex_unlock(&scheduler->lock);
}

/* One sequence for each choice. They own the sessions only if this succeeds. */
static rt_status make_sequences(
        srv_request *request, glm_session **sessions, srv_sequence **sequences) {
    const int n = request->settings.n_choices;
    for (int i = 0; i < n; i++) {
        const rt_status status = rt_calloc(1, sizeof **sequences, "a sequence", &sequences[i]);
        if (status != RT_OK) {
            while (i > 0) free(sequences[--i]);
            return status;
        }
        *sequences[i] = (srv_sequence){.request = request,
                .choice = &request->choices[i],
                .leader = i > 0 ? sequences[0] : NULL,
                .session = sessions[i],
                .n_room = room_of(request)};
    }
    if (!srv_request_judges_prompt(request)) return RT_OK;
    const rt_status status = rt_calloc(request->prompt.n, sizeof *sequences[0]->prompt_tokens,
            "the prompt's logprobs", &sequences[0]->prompt_tokens);
    if (status != RT_OK) free(sequences[0]); /* n is 1 where the prompt is judged */
    return status;
}

static rt_status try_to_start(srv_scheduler *scheduler, srv_request *request, source *from) {
    const int n = request->settings.n_choices;
    glm_session *sessions[SRV_CHOICES_MAX] = {NULL};
    srv_sequence *sequences[SRV_CHOICES_MAX];
    RT_TRY(look_on_disk(scheduler, request, from));
    RT_TRY(find_sessions(scheduler, from, request, sessions));
    rt_status status = read_from_disk(scheduler, from, request, &sessions[0]);
    if (status == RT_OK) status = make_sequences(request, sessions, sequences);
    if (status != RT_OK) {
        free_sessions(sessions, n);
        return status;
    }
    if (from->prefix >= 0) scheduler->prefixes[from->prefix].used_at = ++scheduler->clock;
    srv_leave_queue(scheduler, request); /* its reference goes over to the first */
    for (int i = 0; i < n; i++) {
        if (i > 0) srv_request_hold(request);
        take_slot(scheduler, sequences[i]);
    }
    start(scheduler, sequences[0]);
    return RT_OK;
}

/* ---- the queue ------------------------------------------------------------------------------- */

static bool is_long(const srv_scheduler *scheduler, int64_t n_tokens) {
    return n_tokens > LONG_PIECES * srv_piece_tokens(scheduler);
}

/* Whether there is a slot for each choice. One slot of all is never given to a long prompt. */
static bool has_slots(
        const srv_scheduler *scheduler, const srv_request *request, int64_t n_tokens) {
    int32_t n_long = 0;
    if (scheduler->n_running + request->settings.n_choices > scheduler->max_seqs) return false;
    if (!is_long(scheduler, n_tokens)) return true;
    for (int32_t i = 0; i < scheduler->n_running; i++) {
        const srv_sequence *one = scheduler->running[i];
        if (!one->is_decoding && !one->leader &&
                is_long(scheduler, one->request->prompt.n - one->request->progress.n_cached))
            n_long++;
    }
    return n_long < rt_max64(scheduler->max_seqs - 1, 1);
}

static void discard(srv_scheduler *scheduler, srv_request *request, rt_status status) {
    srv_error error = {0};
    srv_note_loss(scheduler, status);
    if (status == RT_ENOFIT)
        (void)srv_refuse_room(request, rt_error_text(), &error); /* and nothing else is under way */
    else if (status != RT_OK)
        (void)srv_refuse_status(&error, status, NULL);
    if (scheduler->lost.http) error = scheduler->lost;
    srv_leave_queue(scheduler, request);
    srv_finish_request(scheduler, request, &error);
    srv_request_drop(request);
}

/* Whether the prefill that it has joined has not come far enough yet. */
static bool is_joined(const srv_waiting *waiting) {
    return waiting->joined && glm_session_length(waiting->joined->session) < waiting->joined_tokens;
}

/* Start, drop or pass over one waiting request. False: those behind it may not overtake it. *has_left: it is not in the
 * queue any more, so that the next one has its place. */
static bool consider(srv_scheduler *scheduler, srv_waiting *waiting, bool *has_left) {
    srv_request *request = waiting->request;
    *has_left = false;
    if (atomic_load(&request->is_cancelled)) {
        discard(scheduler, request, RT_OK);
        *has_left = true;
        return true;
    }
    if (is_joined(waiting) || scheduler->n_running >= scheduler->max_seqs) return true;
    const bool is_judged =
            srv_request_judges_prompt(request); /* from its first token on, by itself */
    source from = is_judged ? (source){.prefix = -1} : find_source(scheduler, &request->prompt);
    const bool was_joined = waiting->joined != NULL;
    if (!is_judged && joins(scheduler, waiting, &from)) {
        (void)pthread_mutex_lock(&scheduler->lock);
        scheduler->counters.n_joined += !was_joined;
        (void)pthread_mutex_unlock(&scheduler->lock);
        return true;
    }
    const bool is_young = rt_now() - request->submitted_s < overtaken_s;
    if (!has_slots(scheduler, request, request->prompt.n - from.n_tokens))
        return is_young || request->settings.n_choices == 1;
    const rt_status status = try_to_start(scheduler, request, &from);
    if (status == RT_ENOFIT && scheduler->n_running > 0) return is_young;
    if (status != RT_OK) discard(scheduler, request, status);
    *has_left = true;
    return true;
}

void srv_admit(srv_scheduler *scheduler) {
    scheduler->is_admission_due = false;
    for (int place = 0;;) {
        (void)pthread_mutex_lock(&scheduler->lock);
        const bool is_end = place >= scheduler->n_waiting;
        srv_waiting waiting = is_end ? (srv_waiting){0} : scheduler->waiting[place];
        (void)pthread_mutex_unlock(&scheduler->lock);
        bool has_left = false;
        if (is_end) return;
        const bool goes_on = consider(scheduler, &waiting, &has_left);
        if (!has_left) {
            (void)pthread_mutex_lock(&scheduler->lock);
            scheduler->waiting[place++] = waiting;
            (void)pthread_mutex_unlock(&scheduler->lock);
        }
        if (!goes_on) return;
    }
}

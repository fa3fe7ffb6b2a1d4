/* Sessions: a sequence in the store, and which rows of the engine's logits are its own. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "ranks.h"
#include "turn.h"

/* A session of `seq`, unless that is NULL for `status`, on this rank or another. */
static rt_status wrap(glm_engine *engine, kv_seq *seq, rt_status status, glm_session **out) {
    glm_session *session = NULL;
    if (status == RT_OK) status = rt_calloc(1, sizeof *session, "a session", &session);
    status = glm_step_agree(engine, status);
    if (status != RT_OK) {
        kv_seq_free(seq);
        free(session);
        return status;
    }
    *session = (glm_session){.engine = engine,
            .number = engine->ranks.n_sessions_made++,
            .next = engine->ranks.sessions,
            .seq = seq,
            .logits_serial = -1};
    engine->ranks.sessions = session;
    *out = session;
    return RT_OK;
}

static void forget(glm_session *session) {
    glm_session **link = &session->engine->ranks.sessions;
    while (*link != session) link = &(*link)->next;
    *link = session->next;
}

/* What the engine has made room for is for sequences of its length at most. */
static rt_status check_room(const glm_engine *engine, int64_t max_tokens) {
    if (max_tokens >= 0 && max_tokens <= engine->plan.max_len) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "session: room for %" PRId64 " tokens is asked for, of an engine opened for %" PRId64,
            max_tokens, engine->plan.max_len);
}

rt_status glm_session_create(glm_engine *engine, int64_t max_tokens, glm_session **out) {
    kv_seq *seq = NULL;
    RT_TRY(check_room(engine, max_tokens));
    const glm_step step = {.kind = GLM_STEP_CREATE, .numbers = {max_tokens}};
    RT_TRY(glm_step_begin(engine, &step));
    rt_status status = kv_seq_create(engine->store, max_tokens, &seq);
    status = wrap(engine, seq, status, out);
    glm_step_end(engine);
    return status;
}

rt_status glm_session_fork(
        const glm_session *parent, int64_t n_tokens, int64_t max_tokens, glm_session **out) {
    if (n_tokens < 0 || n_tokens > glm_session_length(parent))
        return rt_fail(RT_EUSAGE, "session: cannot fork at %" PRId64 " of %" PRId64 " tokens",
                n_tokens, glm_session_length(parent));
    RT_TRY(check_room(parent->engine, max_tokens));
    kv_seq *seq = NULL;
    const glm_step step = {
            .kind = GLM_STEP_FORK, .session = parent->number, .numbers = {n_tokens, max_tokens}};
    RT_TRY(glm_step_begin(parent->engine, &step));
    rt_status status = kv_seq_fork(parent->seq, n_tokens, max_tokens, &seq);
    status = wrap(parent->engine, seq, status, out);
    glm_step_end(parent->engine);
    return status;
}

void glm_session_free(glm_session *session) {
    if (!session) return;
    glm_engine *engine = session->engine;
    const glm_step step = {.kind = GLM_STEP_FREE, .session = session->number};
    const bool is_begun = glm_step_begin(engine, &step) == RT_OK;
    glm_prefill_abort(session);
    forget(session);
    glm_turn_free(session->turn);
    kv_seq_free(session->seq);
    free(session);
    if (is_begun) glm_step_end(engine);
}

rt_status glm_session_check_ids(const glm_session *session, const int32_t *ids, int64_t n_ids) {
    const glm_engine *engine = session->engine;
    const int64_t length = kv_seq_length(session->seq);
    const int64_t room = kv_seq_max_tokens(session->seq) - length;
    if (n_ids <= 0) return rt_fail(RT_EUSAGE, "prefill: no tokens were given");
    if (n_ids > room)
        return rt_fail(RT_EUSAGE,
                "prefill: %" PRId64 " tokens do not fit: the session holds %" PRId64
                " and has room for %" PRId64 " more",
                n_ids, length, room);
    for (int64_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= engine->config.vocab)
            return rt_fail(RT_EUSAGE,
                    "prefill: token %" PRId64 " is id %" PRId32 "; the vocabulary has %" PRId64
                    " (is the tokenizer another model's?)",
                    i, ids[i], engine->config.vocab);
    return RT_OK;
}

void glm_session_truncate(glm_session *session, int64_t n_tokens) {
    glm_session_drop_drafts(session);
    const glm_step step = {
            .kind = GLM_STEP_TRUNCATE, .session = session->number, .numbers = {n_tokens}};
    const bool is_begun = glm_step_begin(session->engine, &step) == RT_OK;
    kv_seq_truncate(session->seq, n_tokens);
    if (is_begun) glm_step_end(session->engine);
}

/* The sequence remembers the ids of tokens it has just lost. */
static rt_status compute_again(glm_session *session, int64_t from, int64_t n_tokens) {
    const int64_t n_ids = n_tokens - from;
    int32_t *ids = NULL;
    RT_TRY(rt_calloc(n_ids, sizeof *ids, "token ids", &ids));
    memcpy(ids, kv_seq_ids(session->seq) + from, (size_t)n_ids * sizeof *ids);
    const rt_status status = glm_prefill(session, ids, n_ids);
    free(ids);
    return status;
}

static rt_status rewind_to(glm_session *session, int64_t n_tokens) {
    if (kv_seq_length(session->seq) > n_tokens) kv_seq_truncate(session->seq, n_tokens);
    const int64_t length = kv_seq_length(session->seq);
    return length < n_tokens ? compute_again(session, length, n_tokens) : RT_OK;
}

rt_status glm_session_rewind(glm_session *session, int64_t n_tokens) {
    glm_session_drop_drafts(session);
    const glm_step step = {
            .kind = GLM_STEP_REWIND, .session = session->number, .numbers = {n_tokens}};
    RT_TRY(glm_step_begin(session->engine, &step));
    const rt_status status = rewind_to(session, n_tokens);
    glm_step_end(session->engine);
    return status;
}

/* Logits that a step left on the device: of all of its rows. */
static rt_status fetch_logits(glm_engine *engine) {
    if (engine->drawing.serial != engine->logits_serial) return RT_OK;
    RT_TRY(engine->backend->fetch_logits(engine, engine->drawing.n));
    engine->drawing.serial = -1;
    return RT_OK;
}

rt_status glm_logits_check(const float *rows, int64_t n, int64_t vocab) {
    for (int64_t i = 0; i < n * vocab; i++)
        if (!isfinite(rows[i]))
            return rt_fail(RT_ENUMERIC,
                    "logits: row %" PRId64 " of %" PRId64 ", id %" PRId64
                    " is %f: weights or activations overflowed",
                    i / vocab, n, i % vocab, (double)rows[i]);
    return RT_OK;
}

rt_status glm_session_logits(const glm_session *session, const float **logits, int64_t *n_rows) {
    glm_engine *engine = session->engine;
    if (session->logits_serial != engine->logits_serial)
        return rt_fail(RT_EUSAGE, "session: its logits were replaced by a later prefill or decode");
    RT_TRY(fetch_logits(engine));
    const float *rows = engine->logits + session->logits_row * engine->config.vocab;
    RT_TRY(glm_logits_check(rows, session->n_logits, engine->config.vocab));
    *logits = rows;
    *n_rows = session->n_logits;
    return RT_OK;
}

bool glm_draw_is_like(const glm_draw *a, const glm_draw *b) {
    return a->step == b->step && a->n_valid == b->n_valid &&
           a->sampling.temperature == b->sampling.temperature &&
           a->sampling.top_p == b->sampling.top_p && a->sampling.top_k == b->sampling.top_k &&
           a->sampling.min_p == b->sampling.min_p && a->sampling.seed == b->sampling.seed;
}

static rt_status choose(glm_session *session, const glm_draw *wanted, int32_t *id) {
    const int64_t vocab = session->engine->config.vocab;
    const float *logits = NULL;
    int64_t n_rows = 0;
    const bool is_drawn = session->has_drawn && glm_draw_is_like(&session->draw, wanted) &&
                          session->logits_serial == session->engine->logits_serial;
    *id = session->drawn_id;
    if (is_drawn && *id >= 0) return RT_OK;
    RT_TRY(glm_session_logits(session, &logits, &n_rows));
    return glm_sample(logits + (n_rows - 1) * vocab, vocab, wanted->n_valid, &wanted->sampling,
            wanted->step, id);
}

rt_status glm_session_choose(glm_session *session, int64_t n_valid, const glm_sampling *sampling,
        int64_t step, int32_t *id) {
    glm_draw draw = {.sampling = *sampling, .step = step, .n_valid = n_valid};
    RT_TRY(choose(session, &draw, id));
    draw.step++;
    session->draw = draw;
    session->has_drawn = false;
    return RT_OK;
}

/* Decode: one token for each of several sessions, one pass over the weights for all, and one pass
 * over every stretch of KV that they share; or several tokens for one, where a device takes them so (speculate.c). */
#include <inttypes.h>

#include "backend.h"
#include "base/log.h"
#include "ranks.h"

/* What is asked for: a token of each of n sessions, or n_each of one. */
typedef struct request {
    glm_session *const *sessions;
    const int32_t *ids; /* [n][n_each] */
    int32_t n;
    int32_t n_each;
} request;

static glm_engine *engine_of(const request *r) {
    return r->sessions[0]->engine;
}

static rt_status check_request(const request *r) {
    rt_assert(r->n > 0 && (r->n == 1 || r->n_each == 1));
    const glm_engine *engine = engine_of(r);
    if (r->n > engine->plan.max_seqs)
        return rt_fail(RT_EUSAGE, "decode: %" PRId32 " sessions at once, %" PRId32 " planned", r->n,
                engine->plan.max_seqs);
    for (int32_t i = 0; i < r->n * r->n_each; i++)
        if (r->ids[i] < 0 || r->ids[i] >= engine->config.vocab)
            return rt_fail(RT_EUSAGE, "decode: id %" PRId32 "; the vocabulary has %" PRId64,
                    r->ids[i], engine->config.vocab);
    for (int32_t i = 0; i < r->n; i++) {
        rt_assert(r->sessions[i]->engine == engine && r->sessions[i] != engine->prefill.session);
        const int64_t length = kv_seq_length(r->sessions[i]->seq);
        if (r->n_each > kv_seq_max_tokens(r->sessions[i]->seq) - length)
            return rt_fail(RT_EUSAGE, "decode: the session is full at %" PRId64 " tokens", length);
    }
    return RT_OK;
}

static rt_status begin_all(const request *r) {
    for (int32_t i = 0; i < r->n; i++)
        RT_TRY(kv_span_begin(r->sessions[i]->seq, &r->ids[i * r->n_each], r->n_each));
    return RT_OK;
}

static void commit_all(glm_session *const *sessions, int32_t n) {
    for (int32_t i = 0; i < n; i++) glm_session_commit(sessions[i]);
}

/* Tokens instead of logits, where that is all that is asked of each. What follows the token after next is drawn as the
 * caller will ask for it, if the one drafted there is the one that is drawn. */
static void ask_to_draw(const request *r) {
    glm_drawing *drawing = &engine_of(r)->drawing;
    drawing->n = 0;
    drawing->serial = -1;
    if (!engine_of(r)->backend->fetch_logits) return;
    engine_of(r)->logits_serial++; /* what the device alone has is gone, also if the step fails */
    for (int32_t i = 0; i < r->n * r->n_each; i++) {
        const glm_session *session = r->sessions[i / r->n_each];
        if (!glm_session_asks_to_draw(session)) return;
        drawing->draws[i] = session->draw;
        drawing->draws[i].step += i % r->n_each;
    }
    drawing->n = r->n * r->n_each;
}

/* A draw is for the step that follows, and no other. */
static void take_drawn(const request *r) {
    glm_engine *engine = engine_of(r);
    glm_drawing *drawing = &engine->drawing;
    const bool is_drawn = drawing->n > 0;
    for (int32_t i = 0; i < r->n; i++) {
        glm_session *session = r->sessions[i];
        session->has_drawn = is_drawn;
        session->drawn_id = drawing->ids[i * r->n_each];
        if (!is_drawn) session->draw = (glm_draw){0};
    }
    if (is_drawn) drawing->serial = engine->logits_serial;
}

static rt_status run_all(const request *r) {
    glm_engine *engine = engine_of(r);
    kv_seq *seqs[GLM_DECODE_SEQS_MAX];
    int64_t lengths[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < r->n; i++) {
        seqs[i] = r->sessions[i]->seq;
        lengths[i] = kv_seq_length(seqs[i]) + r->n_each;
    }
    RT_TRY(glm_step_agree(engine, begin_all(r)));
    if (r->n_each > 1)
        RT_TRY(engine->backend->decode_several(engine, seqs[0], lengths[0], r->ids, r->n_each));
    else
        RT_TRY(engine->backend->decode(engine, seqs, lengths, r->ids, r->n));
    commit_all(r->sessions, r->n);
    return RT_OK;
}

static void abort_all(glm_session *const *sessions, int32_t n) {
    for (int32_t i = 0; i < n; i++) kv_span_abort(sessions[i]->seq);
}

/* Where a session has to be computed again from: what it lost on disk, or rows that went with the
 * aborted step where pages are sealed; INT64_MAX: nowhere. On any rank. */
static rt_status lost_from(
        const glm_session *session, int64_t length, rt_status failure, int64_t *pos) {
    RT_TRY(glm_step_bad_pos(session->engine, session, failure, pos));
    const int64_t now = kv_seq_length(session->seq);
    if (now < length) *pos = rt_min64(*pos, now);
    return RT_OK;
}

/* After a failure that cost something: it is there again. */
rt_status glm_restore_all(
        glm_session *const *sessions, const int64_t *lengths, int32_t n, rt_status failure) {
    int32_t n_restored = 0;
    for (int32_t i = 0; i < n; i++) {
        int64_t bad = 0;
        RT_TRY(lost_from(sessions[i], lengths[i], failure, &bad));
        if (bad == INT64_MAX) continue;
        if (sessions[i]->engine->prefill.session)
            return rt_fail(RT_EUSAGE,
                    "decode: tokens from %" PRId64
                    " on were lost, and to compute them again takes the prefill that another "
                    "session has under way: stop that, rewind, and decode again",
                    bad);
        if (sessions[i]->engine->comm->rank == 0)
            rt_log(RT_LOG_WARN, "decode", "computed again from token=%" PRId64 ": %s", bad,
                    rt_error_text());
        glm_session_truncate(sessions[i], bad);
        RT_TRY(glm_session_rewind(sessions[i], lengths[i]));
        n_restored++;
    }
    return n_restored > 0 ? RT_OK : failure;
}

static rt_status run_until_whole(const request *r) {
    int64_t lengths[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < r->n; i++) lengths[i] = kv_seq_length(r->sessions[i]->seq);
    rt_status status = run_all(r);
    for (int32_t i = 0; glm_is_mendable(status) && i < GLM_RECOVERIES_MAX; i++) {
        abort_all(r->sessions, r->n);
        RT_TRY(glm_restore_all(r->sessions, lengths, r->n, status));
        status = run_all(r);
    }
    if (status != RT_OK) abort_all(r->sessions, r->n);
    return status;
}

static rt_status announce(const request *r) {
    int64_t numbers[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < r->n; i++) numbers[i] = r->sessions[i]->number;
    const glm_step step = {.kind = GLM_STEP_DECODE,
            .sessions = numbers,
            .n_sessions = r->n,
            .ids = r->ids,
            .n_ids = (int64_t)r->n * r->n_each};
    return glm_step_begin(engine_of(r), &step);
}

static rt_status take(const request *r) {
    glm_engine *engine = engine_of(r);
    for (int32_t i = 0; i < r->n; i++) glm_session_drop_drafts(r->sessions[i]);
    RT_TRY(check_request(r));
    RT_TRY(announce(r));
    ask_to_draw(r);
    const rt_status status = run_until_whole(r);
    glm_step_end(engine);
    RT_TRY(status);
    engine->logits_serial++;
    for (int32_t i = 0; i < r->n; i++) {
        r->sessions[i]->logits_serial = engine->logits_serial;
        r->sessions[i]->logits_row = i;
        r->sessions[i]->n_logits = 1;
    }
    take_drawn(r);
    return RT_OK;
}

rt_status glm_decode(glm_session *const *sessions, const int32_t *ids, int32_t n_sessions) {
    const request r = {.sessions = sessions, .ids = ids, .n = n_sessions, .n_each = 1};
    rt_assert(n_sessions > 0);
    return take(&r);
}

rt_status glm_decode_several(glm_session *session, const int32_t *ids, int32_t n) {
    const request r = {.sessions = &session, .ids = ids, .n = 1, .n_each = n};
    rt_assert(session->engine->backend->decode_several);
    return take(&r);
}

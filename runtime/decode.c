/* Decode: one token for each of several sessions, one pass over the weights for all, and one pass
 * over every stretch of KV that they share. */
#include <inttypes.h>

#include "backend.h"
#include "base/log.h"
#include "ranks.h"

static rt_status check_request(
        glm_session *const *sessions, const int32_t *ids, int32_t n_sessions) {
    rt_assert(n_sessions > 0);
    const glm_engine *engine = sessions[0]->engine;
    if (n_sessions > engine->plan.max_seqs)
        return rt_fail(RT_EUSAGE, "decode: %" PRId32 " sessions at once, %" PRId32 " planned",
                n_sessions, engine->plan.max_seqs);
    for (int32_t i = 0; i < n_sessions; i++) {
        rt_assert(sessions[i]->engine == engine && sessions[i] != engine->prefill.session);
        if (ids[i] < 0 || ids[i] >= engine->config.vocab)
            return rt_fail(RT_EUSAGE, "decode: id %" PRId32 "; the vocabulary has %" PRId64, ids[i],
                    engine->config.vocab);
        const int64_t length = kv_seq_length(sessions[i]->seq);
        if (length >= kv_seq_max_tokens(sessions[i]->seq))
            return rt_fail(RT_EUSAGE, "decode: the session is full at %" PRId64 " tokens", length);
    }
    return RT_OK;
}

static rt_status begin_all(glm_session *const *sessions, const int32_t *ids, int32_t n) {
    for (int32_t i = 0; i < n; i++) RT_TRY(kv_span_begin(sessions[i]->seq, &ids[i], 1));
    return RT_OK;
}

static void commit_all(glm_session *const *sessions, int32_t n) {
    for (int32_t i = 0; i < n; i++) kv_span_commit(sessions[i]->seq);
}

/* Tokens instead of logits, where that is all that is asked of each. */
static void ask_to_draw(glm_engine *engine, glm_session *const *sessions, int32_t n) {
    glm_drawing *drawing = &engine->drawing;
    drawing->n = 0;
    drawing->serial = -1;
    if (!engine->backend->fetch_logits) return;
    for (int32_t i = 0; i < n; i++) {
        if (sessions[i]->draw.n_valid == 0) return;
        drawing->draws[i] = sessions[i]->draw;
    }
    drawing->n = n;
}

/* A draw is for the step that follows, and no other. */
static void take_drawn(glm_engine *engine, glm_session *const *sessions, int32_t n) {
    glm_drawing *drawing = &engine->drawing;
    for (int32_t i = 0; i < n; i++) {
        sessions[i]->has_drawn = drawing->n == n;
        if (drawing->n == n)
            sessions[i]->drawn_id = drawing->ids[i];
        else
            sessions[i]->draw = (glm_draw){0};
    }
    if (drawing->n == n) drawing->serial = engine->logits_serial;
}

static rt_status run_all(
        glm_engine *engine, glm_session *const *sessions, const int32_t *ids, int32_t n) {
    kv_seq *seqs[GLM_DECODE_SEQS_MAX];
    int64_t lengths[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < n; i++) {
        seqs[i] = sessions[i]->seq;
        lengths[i] = kv_seq_length(seqs[i]) + 1;
    }
    RT_TRY(glm_step_agree(engine, begin_all(sessions, ids, n)));
    RT_TRY(engine->backend->decode(engine, seqs, lengths, ids, n));
    commit_all(sessions, n);
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

static rt_status run_until_whole(
        glm_engine *engine, glm_session *const *sessions, const int32_t *ids, int32_t n) {
    int64_t lengths[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < n; i++) lengths[i] = kv_seq_length(sessions[i]->seq);
    rt_status status = run_all(engine, sessions, ids, n);
    for (int32_t i = 0; glm_is_mendable(status) && i < GLM_RECOVERIES_MAX; i++) {
        abort_all(sessions, n);
        RT_TRY(glm_restore_all(sessions, lengths, n, status));
        status = run_all(engine, sessions, ids, n);
    }
    if (status != RT_OK) abort_all(sessions, n);
    return status;
}

rt_status glm_decode(glm_session *const *sessions, const int32_t *ids, int32_t n_sessions) {
    for (int32_t i = 0; i < n_sessions; i++) glm_session_drop_drafts(sessions[i]);
    RT_TRY(check_request(sessions, ids, n_sessions));
    glm_engine *engine = sessions[0]->engine;
    int64_t numbers[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < n_sessions; i++) numbers[i] = sessions[i]->number;
    const glm_step step = {.kind = GLM_STEP_DECODE,
            .sessions = numbers,
            .n_sessions = n_sessions,
            .ids = ids,
            .n_ids = n_sessions};
    RT_TRY(glm_step_begin(engine, &step));
    ask_to_draw(engine, sessions, n_sessions);
    const rt_status status = run_until_whole(engine, sessions, ids, n_sessions);
    glm_step_end(engine);
    RT_TRY(status);
    engine->logits_serial++;
    for (int32_t i = 0; i < n_sessions; i++) {
        sessions[i]->logits_serial = engine->logits_serial;
        sessions[i]->logits_row = i;
        sessions[i]->n_logits = 1;
    }
    take_drawn(engine, sessions, n_sessions);
    return RT_OK;
}

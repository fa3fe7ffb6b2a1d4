/* Decode: one token for each of several sessions, one pass over the weights for all, and one pass
 * over every stretch of KV that they share. */
#include <inttypes.h>

#include "engine.h"

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

static rt_status begin_all(glm_session *const *sessions, int32_t n) {
    for (int32_t i = 0; i < n; i++) RT_TRY(kv_span_begin(sessions[i]->seq, 1));
    return RT_OK;
}

static rt_status run_layer(
        glm_engine *engine, glm_session *const *sessions, int32_t n, int32_t layer) {
    kv_view keys[GLM_DECODE_SEQS_MAX];
    rt_status status = RT_OK;
    int32_t n_held = 0;
    for (; n_held < n && status == RT_OK; n_held++) {
        kv_seq *seq = sessions[n_held]->seq;
        status = kv_acquire(seq, layer, 0, kv_seq_length(seq) + 1, &keys[n_held]);
        if (status != RT_OK) break;
    }
    if (status == RT_OK)
        glm_layer_decode(engine, &engine->weights.layers[layer], keys, n, engine->decode_hidden);
    for (int32_t i = 0; i < n_held; i++) kv_release(sessions[i]->seq, &keys[i]);
    return status;
}

static rt_status commit_all(glm_session *const *sessions, int32_t n) {
    for (int32_t i = 0; i < n; i++) RT_TRY(kv_span_commit(sessions[i]->seq));
    return RT_OK;
}

static rt_status run_all(
        glm_engine *engine, glm_session *const *sessions, const int32_t *ids, int32_t n) {
    RT_TRY(begin_all(sessions, n));
    engine->ops.embed(&engine->ops, engine->weights.embedding, engine->weights.embedding_dtype, ids,
            n, engine->config.hidden, engine->decode_hidden, engine->plan.hidden_dtype);
    for (int32_t layer = 0; layer < engine->config.n_layers; layer++)
        RT_TRY(run_layer(engine, sessions, n, layer));
    glm_layer_logits(engine, engine->decode_hidden, n, engine->logits);
    return commit_all(sessions, n);
}

rt_status glm_decode(glm_session *const *sessions, const int32_t *ids, int32_t n_sessions) {
    RT_TRY(check_request(sessions, ids, n_sessions));
    glm_engine *engine = sessions[0]->engine;
    const rt_status status = run_all(engine, sessions, ids, n_sessions);
    if (status != RT_OK) {
        for (int32_t i = 0; i < n_sessions; i++) kv_span_abort(sessions[i]->seq);
        return status;
    }
    engine->logits_serial++;
    for (int32_t i = 0; i < n_sessions; i++) {
        sessions[i]->logits_serial = engine->logits_serial;
        sessions[i]->logits_row = i;
        sessions[i]->n_logits = 1;
    }
    return RT_OK;
}

/* Prefill of several sessions side by side: as many of them as a chunk holds go through the layers in one pass.
 *
 *     for each session with more ids than a chunk holds: prefill all but their end, alone
 *     for each group of sessions whose ids a chunk holds
 *         kv_span_begin of each; embed
 *         for each layer        backend->together
 *         keep the last rows; kv_span_commit of each
 *     final norm and head of the rows kept */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "ranks.h"

glm_added_rows glm_rows_of_added(const glm_added *added, int32_t n) {
    rt_assert(n > 0 && n <= GLM_DECODE_SEQS_MAX);
    glm_added_rows rows = {0};
    for (int32_t i = 0; i < n; i++) {
        rows.row0[i] = rows.n;
        rows.ends[i] = added[i].pos + added[i].n;
        rows.n += added[i].n;
        rt_assert(!added[i].is_decoded || (added[i].n == 1 && rows.n_decoded == i));
        if (added[i].is_decoded) rows.n_decoded++;
    }
    return rows;
}

/* What is asked for. Sessions are taken in `order`: first those that are given one token, which is decoded. */
typedef struct request {
    glm_engine *engine;
    glm_session *const *sessions;
    const int32_t *const *ids;
    const int64_t *n_ids;
    int32_t n;
    bool wants_all; /* the logits of every token, of one session; otherwise of each one's last */
    int32_t order[GLM_DECODE_SEQS_MAX];
    int32_t n_decoded;
    int64_t n_done[GLM_DECODE_SEQS_MAX]; /* ids of each that were prefilled alone */
} request;

/* Sessions that go through the layers together: order[first .. first + n). */
typedef struct group {
    int32_t first;
    int32_t n;
    int64_t n_rows;
    int64_t n_open; /* pages that its tokens are in, besides one a session: open ones, where KV is lossy */
} group;

static rt_status check_request(const request *r) {
    const glm_engine *engine = r->engine;
    if (engine->prefill.session)
        return rt_fail(RT_EUSAGE, "prefill: another prefill is running on this engine");
    if (r->n > engine->plan.max_seqs || r->n > GLM_DECODE_SEQS_MAX)
        return rt_fail(RT_EUSAGE, "prefill: %" PRId32 " sessions at once, %" PRId32 " planned",
                r->n, engine->plan.max_seqs);
    for (int32_t i = 0; i < r->n; i++) {
        rt_assert(r->sessions[i]->engine == engine);
        RT_TRY(glm_session_check_ids(r->sessions[i], r->ids[i], r->n_ids[i]));
    }
    return RT_OK;
}

/* ---- what goes alone ------------------------------------------------------------------------- */

static int64_t rows_max(const glm_engine *engine) {
    return rt_min64(engine->plan.chunk, rt_min64(engine->plan.span, engine->plan.max_len));
}

/* Rank 0 asks its caller, and all ranks stop alike. */
static rt_status ask_stop(const request *r) {
    return glm_step_agree(r->engine, glm_engine_ask_stop(r->engine, "prefill"));
}

static rt_status prefill_alone(const request *r, int32_t i, int64_t n) {
    glm_session *session = r->sessions[i];
    glm_prefill_progress progress = {0};
    RT_TRY(glm_prefill_begin(session, r->ids[i], n, NULL, 1));
    while (!progress.is_done) {
        const rt_status stopped = ask_stop(r);
        if (stopped != RT_OK) glm_prefill_abort(session);
        RT_TRY(stopped);
        RT_TRY(glm_prefill_step(session, &progress));
    }
    return RT_OK;
}

/* Where there are more ids than a chunk holds, prefill all but their end. */
static rt_status shorten(request *r) {
    const int64_t most = rows_max(r->engine);
    for (int32_t i = 0; i < r->n; i++) {
        if (r->n_ids[i] <= most) continue;
        r->n_done[i] = (r->n_ids[i] - 1) / most * most;
        RT_TRY(prefill_alone(r, i, r->n_done[i]));
    }
    return RT_OK;
}

/* For a device that cannot prefill several at once: each alone but for its last token, then all of those by a decode. */
static rt_status one_by_one(const request *r) {
    int32_t last[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < r->n; i++) {
        last[i] = r->ids[i][r->n_ids[i] - 1];
        if (r->n_ids[i] > 1) RT_TRY(prefill_alone(r, i, r->n_ids[i] - 1));
    }
    return glm_decode(r->sessions, last, r->n);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static int64_t n_left(const request *r, int32_t i) {
    return r->n_ids[i] - r->n_done[i];
}

/* Decided by the ids that are given, not by those that are left: these depend on the chunk, on which no bit may. */
static bool is_decoded(const request *r, int32_t i) {
    return r->n_ids[i] == 1;
}

static void put_in_order(request *r) {
    int32_t n = 0;
    for (int32_t i = 0; i < r->n; i++)
        if (is_decoded(r, i)) r->order[n++] = i;
    r->n_decoded = n;
    for (int32_t i = 0; i < r->n; i++)
        if (!is_decoded(r, i)) r->order[n++] = i;
}

/* Pages that a session's new tokens are in, besides the first. */
static int64_t further_pages(const request *r, int32_t i) {
    const int64_t pos = kv_seq_length(r->sessions[i]->seq);
    return (pos + n_left(r, i) - 1) / ATTN_PAGE_TOKENS - pos / ATTN_PAGE_TOKENS;
}

/* As many sessions from order[first] on as a chunk holds, at least one. */
static group next_group(const request *r, int32_t first) {
    const glm_engine *engine = r->engine;
    group g = {.first = first};
    while (first + g.n < r->n) {
        const int32_t i = r->order[first + g.n];
        const int64_t n_rows = g.n_rows + n_left(r, i);
        const int64_t n_open = g.n_open + further_pages(r, i);
        if (g.n > 0 &&
                (n_rows > rows_max(engine) || n_open > engine->plan.chunk / ATTN_PAGE_TOKENS))
            break;
        g.n_rows = n_rows;
        g.n_open = n_open;
        g.n++;
    }
    return g;
}

/* ---- one group ------------------------------------------------------------------------------- */

static void members(const request *r, const group *g, glm_session **sessions) {
    for (int32_t i = 0; i < g->n; i++) sessions[i] = r->sessions[r->order[g->first + i]];
}

static const int32_t *ids_of(const request *r, int32_t i) {
    return r->ids[i] + r->n_done[i];
}

static rt_status begin_all(const request *r, const group *g) {
    for (int32_t k = g->first; k < g->first + g->n; k++) {
        const int32_t i = r->order[k];
        RT_TRY(kv_span_begin(r->sessions[i]->seq, ids_of(r, i), n_left(r, i)));
    }
    return RT_OK;
}

static rt_status embed_all(const request *r, const group *g) {
    glm_engine *engine = r->engine;
    int32_t *ids = NULL;
    int64_t n = 0;
    RT_TRY(glm_step_agree(engine, rt_calloc(g->n_rows, sizeof *ids, "token ids", &ids)));
    for (int32_t k = g->first; k < g->first + g->n; k++) {
        const int32_t i = r->order[k];
        memcpy(ids + n, ids_of(r, i), (size_t)n_left(r, i) * sizeof *ids);
        n += n_left(r, i);
    }
    const rt_status status = engine->backend->embed(engine, ids, n, engine->hidden);
    free(ids);
    return status;
}

/* Copy each session's last row to where its logits are computed from, in `order`. */
static rt_status keep_last_rows(const request *r, const group *g) {
    glm_engine *engine = r->engine;
    const int64_t row_bytes = glm_hidden_row_bytes(engine);
    int64_t row = -1;
    for (int32_t k = g->first; k < g->first + g->n; k++) {
        row += n_left(r, r->order[k]);
        RT_TRY(engine->backend->copy_hidden(engine, (char *)engine->decode_hidden + k * row_bytes,
                (const char *)engine->hidden + row * row_bytes, row_bytes));
    }
    return RT_OK;
}

static rt_status run_group(const request *r, const group *g) {
    glm_engine *engine = r->engine;
    glm_added added[GLM_DECODE_SEQS_MAX];
    for (int32_t k = 0; k < g->n; k++) {
        const int32_t i = r->order[g->first + k];
        kv_seq *seq = r->sessions[i]->seq;
        added[k] = (glm_added){.seq = seq,
                .pos = kv_seq_length(seq),
                .n = n_left(r, i),
                .is_decoded = is_decoded(r, i)};
    }
    RT_TRY(glm_step_agree(engine, begin_all(r, g)));
    RT_TRY(embed_all(r, g));
    for (int32_t layer = 0; layer < engine->config.n_layers; layer++) {
        RT_TRY(ask_stop(r));
        RT_TRY(engine->backend->together(engine, layer, added, g->n, engine->hidden));
    }
    RT_TRY(keep_last_rows(r, g));
    for (int32_t k = 0; k < g->n; k++) glm_session_commit(r->sessions[r->order[g->first + k]]);
    return RT_OK;
}

static void abort_group(glm_session *const *sessions, int32_t n) {
    for (int32_t i = 0; i < n; i++) kv_span_abort(sessions[i]->seq);
}

/* run_group; what the disk has lost is computed again, as in decode, and the group is run once more. */
static rt_status run_until_whole(const request *r, const group *g) {
    glm_session *sessions[GLM_DECODE_SEQS_MAX];
    int64_t lengths[GLM_DECODE_SEQS_MAX];
    members(r, g, sessions);
    for (int32_t i = 0; i < g->n; i++) lengths[i] = kv_seq_length(sessions[i]->seq);
    rt_status status = run_group(r, g);
    for (int32_t i = 0; glm_is_mendable(status) && i < GLM_RECOVERIES_MAX; i++) {
        abort_group(sessions, g->n);
        RT_TRY(glm_restore_all(sessions, lengths, g->n, status));
        status = run_group(r, g);
    }
    if (status != RT_OK) abort_group(sessions, g->n);
    return status;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The logits of every row (wants_all), or of each session's last. */
static rt_status make_logits(const request *r) {
    glm_engine *engine = r->engine;
    const int64_t n = r->wants_all ? r->n_ids[0] : r->n;
    const void *hidden = r->wants_all ? engine->hidden : engine->decode_hidden;
    RT_TRY(glm_step_agree(
            engine, engine->backend->logits(engine, hidden, r->n_decoded, n, engine->logits)));
    engine->logits_serial++;
    for (int32_t k = 0; k < r->n; k++) {
        glm_session *session = r->sessions[r->order[k]];
        session->logits_serial = engine->logits_serial;
        session->logits_row = k;
        session->n_logits = r->wants_all ? n : 1;
    }
    return RT_OK;
}

static rt_status run_all(request *r) {
    const glm_engine *engine = r->engine;
    if (!engine->backend->together) return one_by_one(r);
    RT_TRY(shorten(r));
    put_in_order(r);
    for (int32_t at = 0; at < r->n;) {
        const group g = next_group(r, at);
        RT_TRY(run_until_whole(r, &g));
        at += g.n;
    }
    return make_logits(r);
}

/* Begin the step on all ranks, with the ids of all sessions in one list. */
static rt_status announce(const request *r) {
    int64_t numbers[GLM_DECODE_SEQS_MAX];
    int32_t *ids = NULL;
    int64_t n = 0;
    for (int32_t i = 0; i < r->n; i++) {
        numbers[i] = r->sessions[i]->number;
        n += r->n_ids[i];
    }
    RT_TRY(rt_calloc(n, sizeof *ids, "token ids", &ids));
    n = 0;
    for (int32_t i = 0; i < r->n; i++) {
        memcpy(ids + n, r->ids[i], (size_t)r->n_ids[i] * sizeof *ids);
        n += r->n_ids[i];
    }
    const glm_step step = {.kind = GLM_STEP_TOGETHER,
            .numbers = {r->wants_all},
            .sessions = numbers,
            .n_sessions = r->n,
            .ids = ids,
            .n_ids = n,
            .wanted = r->n_ids,
            .n_wanted = r->n};
    const rt_status status = glm_step_begin(r->engine, &step);
    free(ids);
    return status;
}

static rt_status take(request *r) {
    for (int32_t i = 0; i < r->n; i++) glm_session_drop_drafts(r->sessions[i]);
    RT_TRY(check_request(r));
    RT_TRY(announce(r));
    const rt_status status = run_all(r);
    glm_step_end(r->engine);
    return status;
}

rt_status glm_prefill_together(glm_session *const *sessions, const int32_t *const *ids,
        const int64_t *n_ids, int32_t n_sessions) {
    rt_assert(n_sessions > 0);
    request r = {.engine = sessions[0]->engine,
            .sessions = sessions,
            .ids = ids,
            .n_ids = n_ids,
            .n = n_sessions};
    return take(&r);
}

rt_status glm_prefill_rows(glm_session *session, const int32_t *ids, int64_t n_ids) {
    request r = {.engine = session->engine,
            .sessions = &session,
            .ids = &ids,
            .n_ids = &n_ids,
            .n = 1,
            .wants_all = true};
    rt_assert(r.engine->backend->together);
    rt_assert(n_ids <= rows_max(r.engine) && n_ids <= r.engine->plan.max_logits);
    return take(&r);
}

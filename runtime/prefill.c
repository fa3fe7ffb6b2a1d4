/* Prefill: spans x layers x chunks, one (layer, chunk) item a step.
 *
 *     for each span        kv_span_begin; embed
 *         for each layer
 *             for each chunk    <- a step ends here; Ctrl-C, progress and other requests fit in
 *         keep the wanted rows; kv_span_commit
 *     final norm and head of the wanted rows
 *
 * Spans and chunks start at absolute multiples of their size, whatever the session held before.
 * In the last layer only wanted rows are computed past their keys and values: nobody reads the
 * others. Where every row is wanted, final norm and head are one more layer, chunk by chunk. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/log.h"
#include "costs.h"
#include "ranks.h"
#include "turn.h"

enum { WHY_TEXT = 512 };

static void clear(glm_prefill_run *run) {
    free(run->ids);
    free(run->wanted);
    *run = (glm_prefill_run){0};
}

void glm_prefill_abort(glm_session *session) {
    glm_prefill_run *run = &session->engine->prefill;
    if (run->session != session) return;
    const glm_step step = {.kind = GLM_STEP_PREFILL_ABORT, .session = session->number};
    const bool is_begun = glm_step_begin(session->engine, &step) == RT_OK;
    kv_span_abort(session->seq);
    clear(run);
    if (is_begun) glm_step_end(session->engine);
}

/* ---- begin ----------------------------------------------------------------------------------- */

static rt_status check_request(const glm_session *session, const int32_t *ids, int64_t n_ids,
        const int64_t *logits_at, int64_t n_logits) {
    const glm_engine *engine = session->engine;
    if (engine->prefill.session)
        return rt_fail(RT_EUSAGE, "prefill: another prefill is running on this engine");
    RT_TRY(glm_session_check_ids(session, ids, n_ids));
    if (n_logits < 0 || n_logits > engine->plan.max_logits)
        return rt_fail(RT_EUSAGE,
                "prefill: %" PRId64 " rows of logits asked for, %" PRId64 " planned", n_logits,
                engine->plan.max_logits);
    for (int64_t i = 0; logits_at && i < n_logits; i++)
        if (logits_at[i] < (i ? logits_at[i - 1] + 1 : 0) || logits_at[i] >= n_ids)
            return rt_fail(RT_EUSAGE,
                    "prefill: logits wanted at %" PRId64
                    ": positions must ascend and lie in 0 .. %" PRId64,
                    logits_at[i], n_ids - 1);
    return RT_OK;
}

double glm_prefill_layer_work(const glm_engine *engine, int64_t pos, int64_t n) {
    const glm_config *config = &engine->config;
    return glm_plan_work(&engine->plan, glm_layer_flop(config, pos, n),
            glm_layer_attention_flop(config, pos, n));
}

/* In the last layer all rows from a chunk's first wanted one to its last are computed; only the wanted ones are counted. */
double glm_prefill_item_work(const glm_engine *engine, int32_t layer, int64_t pos, int64_t end) {
    const glm_config *config = &engine->config;
    const glm_prefill_run *run = &engine->prefill;
    if (layer == config->n_layers) return glm_head_flop(config, end - pos);
    if (layer < config->n_layers - 1 || run->gives_all)
        return glm_prefill_layer_work(engine, pos, end - pos);
    double work = glm_layer_kv_flop(config, end - pos);
    for (int64_t i = 0; i < run->n_wanted; i++)
        if (run->wanted[i] >= pos && run->wanted[i] < end)
            work += glm_prefill_layer_work(engine, run->wanted[i], 1) -
                    glm_layer_kv_flop(config, 1);
    return work;
}

double glm_prefill_work(const glm_engine *engine, int64_t pos, int64_t end) {
    const int32_t last = engine->config.n_layers - 1;
    return last * glm_prefill_layer_work(engine, pos, end - pos) +
           glm_prefill_item_work(engine, last, pos, end) +
           (engine->prefill.gives_all ? glm_head_flop(&engine->config, end - pos) : 0.0);
}

static rt_status say_kept(rt_status failure, int64_t n_kept, int64_t n_all) {
    char why[WHY_TEXT];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    if (n_kept == 0)
        return rt_fail(
                failure, "prefill: of %" PRId64 " tokens none are kept on disk: %s", n_all, why);
    return rt_fail(failure,
            "prefill: no more than the first %" PRId64 " of %" PRId64
            " tokens can be kept on disk: %s; the same command goes on from there",
            n_kept, n_all, why);
}

/* Where a book is made, a text that cannot be kept whole would be computed for nothing: fail then. */
static rt_status require_kept(glm_engine *engine) {
    const glm_prefill_run *run = &engine->prefill;
    if (!engine->plan.kv_keeps_all) return RT_OK;
    rt_status status = kv_store_check_kept(engine->store);
    if (status != RT_OK)
        status = say_kept(status, kv_seq_kept(run->session->seq), run->first_pos + run->n_ids);
    return glm_step_agree(engine, status);
}

static rt_status begin_span(glm_engine *engine) {
    glm_prefill_run *run = &engine->prefill;
    const int64_t end = run->first_pos + run->n_ids;
    const int64_t span = engine->plan.span;
    run->span_begin = kv_seq_length(run->session->seq);
    run->span_end = rt_min64((run->span_begin / span + 1) * span, end);
    run->layer = 0;
    run->chunk_pos = run->span_begin;
    const int64_t n = run->span_end - run->span_begin;
    const int32_t *ids = run->ids + (run->span_begin - run->first_pos);
    RT_TRY(glm_step_agree(engine, kv_span_begin(run->session->seq, ids, n)));
    RT_TRY(require_kept(engine));
    return engine->backend->embed(engine, ids, n, engine->hidden);
}

static rt_status copy_request(
        glm_prefill_run *run, const int32_t *ids, const int64_t *logits_at, int64_t n_logits) {
    RT_TRY(rt_calloc(run->n_ids, sizeof *ids, "token ids", &run->ids));
    RT_TRY(rt_calloc(n_logits, sizeof *logits_at, "wanted positions", &run->wanted));
    memcpy(run->ids, ids, (size_t)run->n_ids * sizeof *ids);
    for (int64_t i = 0; i < n_logits; i++)
        run->wanted[i] = run->first_pos + (logits_at ? logits_at[i] : run->n_ids - 1);
    run->n_wanted = n_logits;
    return RT_OK;
}

/* Who takes every position's logits (glm_prefill_begin_all). */
typedef struct taker {
    int64_t n_given;       /* of the ids, whose logits it has already */
    glm_take_logits *take; /* NULL on other ranks than 0 */
    void *context;
} taker;

static rt_status begin(glm_session *session, const int32_t *ids, int64_t n_ids,
        const int64_t *logits_at, int64_t n_logits, const taker *all) {
    glm_engine *engine = session->engine;
    glm_prefill_run *run = &engine->prefill;
    run->session = session;
    run->n_ids = n_ids;
    run->first_pos = kv_seq_length(session->seq);
    run->asked_pos = run->first_pos;
    run->given_end = run->first_pos + (all ? all->n_given : 0);
    run->gives_all = all != NULL;
    run->take = all ? all->take : NULL;
    run->context = all ? all->context : NULL;
    rt_status status = glm_step_agree(engine, copy_request(run, ids, logits_at, n_logits));
    bool is_resumed = false;
    if (status == RT_OK && engine->plan.kv_persists)
        status = glm_prefill_resume(engine, &is_resumed);
    run->work_total = glm_prefill_work(engine, run->first_pos, run->first_pos + run->n_ids);
    if (status == RT_OK && !is_resumed) status = begin_span(engine);
    if (status == RT_OK) return RT_OK;
    kv_span_abort(session->seq); /* a device may fail after it has begun */
    clear(run);
    return status;
}

static rt_status begin_step(glm_session *session, const int32_t *ids, int64_t n_ids,
        const int64_t *logits_at, int64_t n_logits, const taker *all) {
    glm_session_drop_drafts(session);
    RT_TRY(check_request(session, ids, n_ids, logits_at, n_logits));
    const glm_step step = {.kind = GLM_STEP_PREFILL_BEGIN,
            .session = session->number,
            .numbers = {n_logits, all != NULL, all ? all->n_given : 0},
            .ids = ids,
            .n_ids = n_ids,
            .wanted = logits_at,
            .n_wanted = logits_at ? n_logits : 0};
    RT_TRY(glm_step_begin(session->engine, &step));
    const rt_status status = begin(session, ids, n_ids, logits_at, n_logits, all);
    glm_step_end(session->engine);
    return status;
}

rt_status glm_prefill_begin(glm_session *session, const int32_t *ids, int64_t n_ids,
        const int64_t *logits_at, int64_t n_logits) {
    return begin_step(session, ids, n_ids, logits_at, n_logits, NULL);
}

rt_status glm_prefill_begin_all(glm_session *session, const int32_t *ids, int64_t n_ids,
        int64_t n_given, glm_take_logits *take, void *context) {
    const taker all = {n_given, take, context};
    rt_assert(n_given >= 0 && n_given <= n_ids);
    return begin_step(session, ids, n_ids, NULL, 1, &all);
}

/* ---- step ------------------------------------------------------------------------------------ */

static void *hidden_at(glm_engine *engine, int64_t pos) {
    return (char *)engine->hidden +
           (pos - engine->prefill.span_begin) * glm_hidden_row_bytes(engine);
}

/* In the last layer keys and values are computed for all tokens, the rest only from the first wanted row to the last. */
static glm_chunk chunk_at(
        const glm_prefill_run *run, int64_t pos, int64_t end, bool is_last_layer) {
    if (!is_last_layer || run->gives_all)
        return (glm_chunk){.pos = pos, .n = end - pos, .attend_pos = pos, .n_attend = end - pos};
    int64_t first = end;
    int64_t last = pos;
    for (int64_t i = 0; i < run->n_wanted; i++) {
        if (run->wanted[i] < pos || run->wanted[i] >= end) continue;
        first = rt_min64(first, run->wanted[i]);
        last = run->wanted[i] + 1;
    }
    return (glm_chunk){.pos = pos,
            .n = end - pos,
            .attend_pos = first < end ? first : pos,
            .n_attend = rt_max64(last - first, 0)};
}

static int64_t chunk_end(const glm_engine *engine, int64_t pos) {
    const int64_t size = engine->plan.chunk;
    return rt_min64((pos / size + 1) * size, engine->prefill.span_end);
}

int32_t glm_prefill_next_layer(const glm_engine *engine) {
    const glm_prefill_run *run = &engine->prefill;
    const int32_t last = engine->config.n_layers - 1;
    const int64_t end = chunk_end(engine, run->chunk_pos);
    const bool is_same = end < run->span_end;
    const int32_t layer = is_same ? run->layer : run->layer + 1;
    const int64_t pos = is_same ? end : run->span_begin;
    if (layer > last) return -1;
    return chunk_at(run, pos, chunk_end(engine, pos), layer == last).n_attend > 0 ? layer : -1;
}

static rt_status give(glm_engine *engine, int64_t n) {
    const glm_prefill_run *run = &engine->prefill;
    if (!run->take) return RT_OK;
    RT_TRY(glm_logits_check(engine->logits, n, engine->config.vocab));
    return run->take(run->context, run->given_end - run->asked_pos, n, engine->logits);
}

/* Compute a chunk's logits and give them to who takes them, on rank 0. Those before given_end were given already, before a
 * loss made the run go back behind them. */
static rt_status give_all(glm_engine *engine, int64_t pos, int64_t end) {
    glm_prefill_run *run = &engine->prefill;
    rt_assert(pos <= run->given_end);
    while (run->given_end < end) {
        const int64_t n = rt_min64(end - run->given_end, engine->plan.max_logits);
        engine->logits_serial++; /* whoever had logits there has none now */
        RT_TRY(engine->backend->logits(
                engine, hidden_at(engine, run->given_end), 0, n, engine->logits));
        RT_TRY(glm_step_agree(engine, give(engine, n)));
        run->given_end += n;
    }
    return RT_OK;
}

static rt_status run_layer(glm_engine *engine, int64_t pos, int64_t end) {
    const glm_prefill_run *run = &engine->prefill;
    const glm_chunk chunk = chunk_at(run, pos, end, run->layer == engine->config.n_layers - 1);
    return engine->backend->prefill(
            engine, run->layer, run->session->seq, &chunk, hidden_at(engine, pos));
}

static rt_status run_item(glm_engine *engine) {
    glm_prefill_run *run = &engine->prefill;
    const int64_t pos = run->chunk_pos;
    const int64_t end = chunk_end(engine, pos);
    if (pos == end) return RT_OK; /* resumed where nothing is left of the span */
    RT_TRY((run->layer == engine->config.n_layers ? give_all : run_layer)(engine, pos, end));
    run->work_done += glm_prefill_item_work(engine, run->layer, pos, end);
    run->chunk_pos = end;
    return RT_OK;
}

/* Keep the span's wanted rows: the next span overwrites the hidden states. */
static rt_status gather_wanted(glm_engine *engine) {
    glm_prefill_run *run = &engine->prefill;
    const int64_t row_bytes = glm_hidden_row_bytes(engine);
    while (run->n_gathered < run->n_wanted && run->wanted[run->n_gathered] < run->span_end) {
        void *to = (char *)engine->wanted_hidden + run->n_gathered * row_bytes;
        const void *from = hidden_at(engine, run->wanted[run->n_gathered]);
        RT_TRY(engine->backend->copy_hidden(engine, to, from, row_bytes));
        run->n_gathered++;
    }
    return RT_OK;
}

static rt_status finish_run(glm_engine *engine) {
    glm_prefill_run *run = &engine->prefill;
    glm_session *session = run->session;
    RT_TRY(glm_step_agree(engine, engine->backend->logits(engine, engine->wanted_hidden, 0,
                                          run->n_wanted, engine->logits)));
    session->logits_serial = ++engine->logits_serial;
    session->logits_row = 0;
    session->n_logits = run->n_wanted;
    clear(run);
    return RT_OK;
}

/* Say once that what follows is not kept on disk; it is computed all the same. */
static void say_unless_kept(glm_engine *engine) {
    const char *failure = kv_store_keep_failure(engine->store);
    if (!failure[0] || engine->has_said_unkept || engine->plan.kv_keeps_all) return;
    engine->has_said_unkept = true;
    rt_log(RT_LOG_WARN, "prefill", "what follows is not kept on disk: %s", failure);
}

/* After an item: the next layer, the next span, or the end. */
static rt_status advance(glm_engine *engine, bool *is_done) {
    glm_prefill_run *run = &engine->prefill;
    *is_done = false;
    if (run->chunk_pos < run->span_end) return RT_OK;
    run->chunk_pos = run->span_begin;
    if (++run->layer < engine->config.n_layers + run->gives_all) return RT_OK;
    RT_TRY(gather_wanted(engine));
    glm_session_commit(run->session);
    say_unless_kept(engine);
    if (run->span_end < run->first_pos + run->n_ids) return begin_span(engine);
    *is_done = true;
    return RT_OK;
}

/* Tokens through all layers, the open span's counted by the layers behind them, and by its FLOP in the one that is open. Not
 * by work, whose unit each engine measures anew: where a run stops is where the next one goes on. */
static int64_t tokens_done(const glm_engine *engine) {
    const glm_prefill_run *run = &engine->prefill;
    const glm_config *config = &engine->config;
    const int64_t n = run->span_end - run->span_begin;
    const double of_layer =
            glm_layer_flop(config, run->span_begin, run->chunk_pos - run->span_begin) /
            glm_layer_flop(config, run->span_begin, n);
    const double share = fmin((run->layer + of_layer) / config->n_layers, 1.0);
    return run->span_begin - run->first_pos + (int64_t)(share * (double)n);
}

/* ---- losses ---------------------------------------------------------------------------------- */

rt_status glm_prefill_restart_at(glm_prefill_run *run, int64_t pos) {
    const int64_t n_again = run->first_pos - pos;
    int32_t *ids = NULL;
    RT_TRY(rt_calloc(n_again + run->n_ids, sizeof *ids, "token ids", &ids));
    memcpy(ids, kv_seq_ids(run->session->seq) + pos, (size_t)n_again * sizeof *ids);
    memcpy(ids + n_again, run->ids, (size_t)run->n_ids * sizeof *ids);
    free(run->ids);
    run->ids = ids;
    run->n_ids += n_again;
    run->first_pos = pos;
    return RT_OK;
}

/* After a failure that may have cost stored keys and values: go back to where they are whole, and on from there. Where
 * nothing was lost, or too often, the run fails with `failure`. */
static rt_status recover(glm_engine *engine, rt_status failure) {
    glm_prefill_run *run = &engine->prefill;
    glm_session *session = run->session;
    int64_t bad = 0;
    RT_TRY(glm_step_bad_pos(engine, session, failure, &bad));
    if (bad == INT64_MAX || ++run->n_recoveries > GLM_RECOVERIES_MAX) return failure;
    if (engine->comm->rank == 0)
        rt_log(RT_LOG_WARN, "prefill", "computed again from token=%" PRId64 ": %s", bad,
                rt_error_text());
    kv_span_abort(session->seq);
    const int64_t length = rt_min64(kv_seq_length(session->seq), bad);
    if (length < run->first_pos) RT_TRY(glm_prefill_restart_at(run, length));
    glm_session_truncate(session, length);
    run->n_gathered = 0;
    while (run->n_gathered < run->n_wanted && run->wanted[run->n_gathered] < length)
        run->n_gathered++;
    run->work_total = glm_prefill_work(engine, run->first_pos, run->first_pos + run->n_ids);
    run->work_done = glm_prefill_work(engine, run->first_pos, length);
    return begin_span(engine);
}

void glm_prefill_where(const glm_session *session, glm_prefill_progress *progress) {
    const glm_prefill_run *run = &session->engine->prefill;
    rt_assert(run->session == session);
    *progress = (glm_prefill_progress){.tokens_done = tokens_done(session->engine),
            .tokens_total = run->n_ids,
            .work_done = run->work_done,
            .work_total = run->work_total};
}

double glm_session_planned_s(const glm_session *session, double work) {
    const glm_engine *engine = session->engine;
    const double all =
            glm_plan_prefill_work(&engine->plan, &engine->config, 0, engine->plan.max_len);
    return engine->plan.prefill_s * work / all;
}

static rt_status take_step(glm_session *session, glm_prefill_progress *progress) {
    glm_engine *engine = session->engine;
    glm_prefill_run *run = &engine->prefill;
    bool is_done = false;
    rt_status status = run_item(engine);
    if (status == RT_OK)
        status = advance(engine, &is_done);
    else
        status = recover(engine, status);
    if (status == RT_OK) glm_prefill_where(session, progress);
    if (status == RT_OK && is_done) progress->tokens_done = run->n_ids;
    if (status == RT_OK) glm_turn_tell(session, progress);
    progress->is_done = is_done;
    if (status == RT_OK && is_done) status = finish_run(engine);
    if (status != RT_OK) glm_prefill_abort(session);
    return status;
}

rt_status glm_prefill_step(glm_session *session, glm_prefill_progress *progress) {
    glm_engine *engine = session->engine;
    const glm_step step = {.kind = GLM_STEP_PREFILL, .session = session->number};
    rt_assert(engine->prefill.session == session);
    rt_status status = glm_step_begin(engine, &step);
    if (status != RT_OK) {
        glm_prefill_abort(session);
        return status;
    }
    status = take_step(session, progress);
    glm_step_end(engine);
    return status;
}

rt_status glm_prefill(glm_session *session, const int32_t *ids, int64_t n_ids) {
    glm_prefill_progress progress = {0};
    RT_TRY(glm_prefill_begin(session, ids, n_ids, NULL, 1));
    while (!progress.is_done) RT_TRY(glm_prefill_step(session, &progress));
    return RT_OK;
}

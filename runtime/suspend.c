/* Ctrl-C in the middle of a span, and the next run of the same command.
 *
 * What is saved of a run: the span's hidden states, which of its layers and chunks are done, and their keys and values.
 * Whole extents are in segments already; the rows of unfinished ones are saved here, head by head. Logits are not saved: a
 * run that wants some of finished spans starts over, and one that gives all goes on if its caller has those given before. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/log.h"
#include "costs.h"
#include "ranks.h"

/* Ids of the whole text: what the session holds, and the run. */
static rt_status all_ids(const glm_prefill_run *run, int32_t **ids, int64_t *n_ids) {
    *n_ids = run->first_pos + run->n_ids;
    RT_TRY(rt_calloc(*n_ids, sizeof **ids, "token ids", ids));
    memcpy(*ids, kv_seq_ids(run->session->seq), (size_t)run->first_pos * sizeof **ids);
    memcpy(*ids + run->first_pos, run->ids, (size_t)run->n_ids * sizeof **ids);
    return RT_OK;
}

/* *out: host memory for the span's hidden states: their own place on a CPU, otherwise a new buffer, also in *copy, for
 * free(). */
static rt_status host_hidden(const glm_engine *engine, int64_t bytes, void **copy, void **out) {
    *copy = NULL;
    *out = engine->hidden;
    if (!engine->device) return RT_OK;
    RT_TRY(rt_malloc(bytes, "hidden states on the host", copy));
    *out = *copy;
    return RT_OK;
}

/* ---- suspending ------------------------------------------------------------------------------ */

static rt_status save_rows(glm_engine *engine, const kv_rows *rows) {
    if (rows->n_tokens == 0) return RT_OK;
    RT_TRY(engine->backend->pages_to_rows(engine, rows));
    kv_suspend_rows(engine->prefill.session->seq, rows);
    return RT_OK;
}

static rt_status save_layer(glm_engine *engine, int32_t layer) {
    kv_seq *seq = engine->prefill.session->seq;
    for (int32_t head = 0; head < engine->part.n_kv_heads; head++) {
        const kv_rows rows = kv_seq_tail_rows(seq, layer, head);
        RT_TRY(save_rows(engine, &rows));
        const kv_rows open = kv_seq_open_rows(seq, layer, head);
        RT_TRY(save_rows(engine, &open));
    }
    return RT_OK;
}

/* Walk a layer's end, which may be on disk before and after and is in memory meanwhile, and save it if is_saved. */
static rt_status walk_end(glm_engine *engine, int32_t layer, bool is_saved) {
    kv_seq *seq = engine->prefill.session->seq;
    const int64_t end = kv_seq_filled(seq, layer);
    kv_window window = {.n_parts = 1};
    kv_walk *walk = NULL;
    if (end == 0) return RT_OK;
    RT_TRY(kv_walk_begin(engine->store, layer, &seq, &end, 1, KV_WALK_LAST, &walk));
    rt_status status = RT_OK;
    while (status == RT_OK && window.n_parts > 0) {
        status = glm_window_enter(engine, walk, &window);
        if (status != RT_OK || window.n_parts == 0) break;
        if (is_saved) status = save_layer(engine, layer);
        if (status == RT_OK) status = glm_window_leave(engine, walk);
    }
    kv_walk_end(walk);
    return status;
}

static rt_status save_all_rows(glm_engine *engine) {
    for (int32_t layer = 0; layer < engine->config.n_layers; layer++)
        RT_TRY(walk_end(engine, layer, true));
    return RT_OK;
}

static rt_status save(glm_engine *engine, const int32_t *ids, int64_t n_ids) {
    const glm_prefill_run *run = &engine->prefill;
    if (!engine->plan.kv_persists || run->n_gathered > 0)
        return rt_fail(RT_EUSAGE, "suspend: nothing of this run is kept on disk");
    const int64_t bytes = (run->span_end - run->span_begin) * glm_hidden_row_bytes(engine);
    kv_suspension suspension = {.n_ids = n_ids,
            .begin = run->span_begin,
            .end = run->span_end,
            .layer = run->layer,
            .layer_end = run->chunk_pos,
            .is_whole = run->gives_all,
            .hidden_bytes = bytes};
    RT_TRY(kv_suspend_begin(run->session->seq, ids, &suspension));
    RT_TRY(save_all_rows(engine));
    void *copy = NULL;
    RT_TRY(host_hidden(engine, bytes, &copy, &suspension.hidden));
    rt_status status = RT_OK;
    if (copy) status = engine->backend->read_hidden(engine, copy, engine->hidden, bytes);
    glm_disk_begin(engine);
    if (status == RT_OK) status = kv_suspend_span(run->session->seq, &suspension);
    glm_disk_end(engine);
    free(copy);
    return status;
}

static rt_status suspend(glm_session *session) {
    glm_engine *engine = session->engine;
    int32_t *ids = NULL;
    int64_t n_ids = 0;
    rt_status status = all_ids(&engine->prefill, &ids, &n_ids);
    if (status == RT_OK) status = save(engine, ids, n_ids);
    free(ids);
    glm_prefill_abort(session);
    return glm_step_agree(engine, status);
}

rt_status glm_prefill_suspend(glm_session *session) {
    const glm_step step = {.kind = GLM_STEP_PREFILL_SUSPEND, .session = session->number};
    rt_assert(session->engine->prefill.session == session);
    RT_TRY(glm_step_begin(session->engine, &step));
    const rt_status status = suspend(session);
    glm_step_end(session->engine);
    return status;
}

/* ---- resuming -------------------------------------------------------------------------------- */

static rt_status load_rows(glm_engine *engine, kv_rows rows, bool *is_there) {
    if (!*is_there || rows.n_tokens == 0) return RT_OK;
    RT_TRY(kv_resume_rows(engine->prefill.session->seq, &rows, is_there));
    return *is_there ? engine->backend->rows_to_pages(engine, &rows) : RT_OK;
}

static rt_status load_layer(glm_engine *engine, int32_t layer, bool *is_there) {
    kv_seq *seq = engine->prefill.session->seq;
    RT_TRY(kv_resume_layer(seq, layer));
    for (int32_t head = 0; head < engine->part.n_kv_heads; head++) {
        RT_TRY(load_rows(engine, kv_seq_tail_rows(seq, layer, head), is_there));
        RT_TRY(load_rows(engine, kv_seq_open_rows(seq, layer, head), is_there));
    }
    return *is_there ? walk_end(engine, layer, false) : RT_OK;
}

static rt_status load_all_rows(glm_engine *engine, bool *is_there) {
    for (int32_t layer = 0; layer < engine->config.n_layers && *is_there; layer++)
        RT_TRY(load_layer(engine, layer, is_there));
    return RT_OK;
}

/* Whether a run that gives the logits of all rows can go on there: the last layer must have computed all rows, not only some
 * that were wanted; and rows that were given before the stop must not be due again. */
static bool can_give_all(const glm_engine *engine, const kv_suspension *s) {
    const int32_t last = engine->config.n_layers - 1;
    const bool has_rows = s->is_whole || s->layer < last || s->layer_end == s->begin;
    const int64_t given = s->layer > last ? s->layer_end : s->begin;
    return has_rows && given <= engine->prefill.given_end;
}

/* A smaller span of ours has no room for its hidden states; and rows of earlier spans that this run wants are gone. */
static bool is_usable(const glm_engine *engine, const kv_suspension *s) {
    const glm_prefill_run *run = &engine->prefill;
    const int64_t n = s->end - s->begin;
    return s->hidden_bytes == n * glm_hidden_row_bytes(engine) &&
           n <= rt_min64(engine->plan.span, engine->plan.max_len) &&
           (run->n_wanted == 0 || run->wanted[0] >= s->begin) &&
           (!run->gives_all || can_give_all(engine, s));
}

static void go_on(glm_engine *engine, const kv_suspension *s) {
    glm_prefill_run *run = &engine->prefill;
    run->span_begin = s->begin;
    run->span_end = s->end;
    run->layer = s->layer;
    run->chunk_pos = s->layer_end;
    if (s->layer == engine->config.n_layers && !run->gives_all) { /* it was giving rows */
        run->layer = s->layer - 1;
        run->chunk_pos = s->end;
    }
    run->work_done = glm_prefill_work(engine, run->first_pos, s->begin) +
                     run->layer * glm_prefill_layer_work(engine, s->begin, s->end - s->begin) +
                     glm_prefill_item_work(engine, run->layer, s->begin, run->chunk_pos);
    rt_log(RT_LOG_INFO, "prefill",
            "resumed begin=%" PRId64 " end=%" PRId64 " layer=%" PRId32 " pos=%" PRId64, s->begin,
            s->end, s->layer, s->layer_end);
}

/* The place in a suspension, as a number that ranks can compare. */
static int64_t place_of(const kv_suspension *s) {
    return ((s->layer * INT64_C(1000003) + s->layer_end) * INT64_C(1000003) + s->begin) % INT64_MAX;
}

/* All ranks stopped at the same place, and each has what it needs to go on there, or will have. */
static rt_status is_on_all(glm_engine *engine, const kv_suspension *s, bool *is_there) {
    int64_t lowest = *is_there ? place_of(s) : INT64_MIN;
    int64_t highest_negated = -place_of(s);
    RT_TRY(glm_step_smallest(engine, &lowest));
    RT_TRY(glm_step_smallest(engine, &highest_negated));
    *is_there = lowest == -highest_negated;
    return RT_OK;
}

/* What was taken over, put back: slow writes, which a lost peer is not to cut off. */
static void leave(glm_engine *engine) {
    glm_disk_begin(engine);
    kv_resume_leave(engine->prefill.session->seq);
    glm_disk_end(engine);
}

/* Where one rank has to wait, as for room on its disk, all do, and nothing more is kept meanwhile: there could be no room for
 * both. */
static rt_status is_now_on_all(glm_engine *engine, const kv_suspension *s, bool *is_there) {
    kv_seq *seq = engine->prefill.session->seq;
    const rt_status why =
            glm_step_agree(engine, s->waits ? kv_store_check_kept(engine->store) : RT_OK);
    if (why == RT_OK || why == RT_EPEER) return why;
    kv_seq_keep_no_more(seq, why);
    if (engine->comm->rank == 0)
        rt_log(RT_LOG_WARN, "prefill",
                "what was computed of this text before it was stopped stays on disk, and waits");
    *is_there = false;
    if (!s->waits) leave(engine);
    return RT_OK;
}

static rt_status is_with_all(glm_engine *engine, rt_status status, bool *is_there) {
    int64_t all = *is_there;
    RT_TRY(par_agree(engine->comm, status, &all));
    *is_there = all != 0;
    return RT_OK;
}

static rt_status load_hidden(glm_engine *engine, kv_suspension *s, bool *is_there) {
    void *copy = NULL;
    RT_TRY(host_hidden(engine, s->hidden_bytes, &copy, &s->hidden));
    rt_status status = kv_resume_hidden(engine->prefill.session->seq, s, is_there);
    if (status == RT_OK && *is_there && copy)
        status = engine->backend->write_hidden(engine, engine->hidden, copy, s->hidden_bytes);
    free(copy);
    return status;
}

/* What is there, in memory again, on all ranks. */
static rt_status load(glm_engine *engine, kv_suspension *s, bool *is_there) {
    RT_TRY(is_with_all(engine, load_all_rows(engine, is_there), is_there));
    if (!*is_there) return RT_OK;
    return is_with_all(engine, load_hidden(engine, s, is_there), is_there);
}

/* What does not go on because something has failed, here or on another rank, is as it was; what does not fit together is of
 * no use. */
static rt_status resume(glm_engine *engine, const int32_t *ids, int64_t n_ids, bool *is_resumed) {
    kv_seq *seq = engine->prefill.session->seq;
    kv_suspension s = {0};
    bool is_begun = false;
    rt_status status = glm_step_agree(engine, kv_resume_span(seq, ids, n_ids, &s, &is_begun));
    *is_resumed = (is_begun || s.waits) && is_usable(engine, &s);
    if (status == RT_OK) status = is_on_all(engine, &s, is_resumed);
    if (status == RT_OK && *is_resumed) status = is_now_on_all(engine, &s, is_resumed);
    if (status == RT_OK && *is_resumed) status = load(engine, &s, is_resumed);
    if (status != RT_OK) {
        leave(engine);
    } else if (*is_resumed) {
        kv_resume_end(seq);
        go_on(engine, &s);
    } else {
        kv_span_abort(seq);
    }
    return status;
}

rt_status glm_prefill_resume(glm_engine *engine, bool *is_resumed) {
    glm_prefill_run *run = &engine->prefill;
    int32_t *ids = NULL;
    int64_t n_ids = 0;
    RT_TRY(glm_step_agree(engine, all_ids(run, &ids, &n_ids)));
    rt_status status = resume(engine, ids, n_ids, is_resumed);
    /* A try that came to nothing can have cost the session the tokens of an unfinished extent. */
    int64_t length = kv_seq_length(run->session->seq);
    if (status == RT_OK) status = glm_step_smallest(engine, &length);
    if (status == RT_OK && !*is_resumed && kv_seq_length(run->session->seq) > length)
        kv_seq_truncate(run->session->seq, length);
    if (status == RT_OK && length < run->first_pos) status = glm_prefill_restart_at(run, length);
    free(ids);
    return status;
}

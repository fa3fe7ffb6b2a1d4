/* Sessions and the disk: found again by their token ids, kept under a name. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine.h"
#include "ranks.h"
#include "shard_notes.h"

/* Fewer tokens are computed as fast as a segment is read. */
enum { TOKENS_WORTH_READING = ATTN_PAGE_TOKENS };

/* ---- restoring ------------------------------------------------------------------------------- */

static rt_status visit(glm_engine *engine, kv_walk *walk) {
    for (;;) {
        kv_window window;
        RT_TRY(glm_window_enter(engine, walk, &window));
        if (window.n_parts == 0) return RT_OK;
        RT_TRY(glm_window_leave(engine, walk));
    }
}

static rt_status walk_layers(glm_session *session, kv_walk_extent extent) {
    glm_engine *engine = session->engine;
    const int64_t end = kv_seq_length(session->seq);
    for (int32_t layer = 0; layer < engine->config.n_layers && end > 0; layer++) {
        kv_walk *walk = NULL;
        RT_TRY(kv_walk_begin(engine->store, layer, &session->seq, &end, 1, extent, &walk));
        if (layer + 1 < engine->config.n_layers) kv_walk_then(walk, layer + 1);
        const rt_status status = visit(engine, walk);
        kv_walk_end(walk);
        RT_TRY(status);
    }
    return RT_OK;
}

/* Read and verify everything. Where something is bad, it and all that follows count as not found. */
static rt_status load(glm_session *session, glm_reuse *out) {
    for (;;) {
        const rt_status status = walk_layers(session, KV_WALK_ALL);
        if (status == RT_OK) return RT_OK;
        const int64_t bad = kv_walk_bad_pos(session->engine->store, session->seq);
        if (bad < 0) return status;
        (void)snprintf(out->reason, sizeof out->reason, "%s", rt_error_text());
        rt_log(RT_LOG_WARN, "keep", "a miss from token=%" PRId64 ": %s", bad, rt_error_text());
        glm_session_truncate(session, bad);
    }
}

static rt_status find(glm_session *session, const int32_t *ids, int64_t n_ids, glm_reuse *out) {
    const int64_t n_before = kv_seq_length(session->seq);
    kv_found found = {0};
    if (n_ids > 1) RT_TRY(kv_seq_notice(session->seq, ids, n_ids));
    if (n_ids > 1) RT_TRY(kv_seq_find(session->seq, ids, n_ids - 1, &found));
    if (found.n_tokens > n_before && found.n_tokens < n_before + TOKENS_WORTH_READING) {
        glm_session_truncate(session, n_before); /* every text begins alike */
        (void)snprintf(found.reason, sizeof found.reason,
                "only the first %" PRId64 " tokens are like something stored", found.n_tokens);
    }
    (void)snprintf(out->reason, sizeof out->reason, "%s", found.reason);
    out->is_failure = found.is_failure;
    return RT_OK;
}

/* Whether it holds nothing but the first ids, all but the last one at most, in whole segments. */
static bool holds_beginning(const glm_session *session, const int32_t *ids, int64_t n_ids) {
    const glm_plan *plan = &session->engine->plan;
    const int64_t n = kv_seq_length(session->seq);
    return n == 0 || (plan->kv_persists && n < n_ids && n % plan->kv_extent_tokens == 0 &&
                             memcmp(kv_seq_ids(session->seq), ids, (size_t)n * sizeof *ids) == 0);
}

static rt_status restore(glm_session *session, const int32_t *ids, int64_t n_ids, glm_reuse *out) {
    if (!holds_beginning(session, ids, n_ids) || n_ids > kv_seq_max_tokens(session->seq))
        return rt_fail(RT_EUSAGE,
                "session: %" PRId64 " tokens cannot be restored into one that holds %" PRId64
                " and has room for %" PRId64,
                n_ids, kv_seq_length(session->seq), kv_seq_max_tokens(session->seq));
    RT_TRY(find(session, ids, n_ids, out));
    return kv_seq_streams(session->seq) ? RT_OK : load(session, out);
}

/* What a rank has found, and why no more. */
typedef struct rank_found {
    int64_t n_tokens;
    char reason[512];
} rank_found;

/* Make all ranks hold what the one that found least does. Where pages are sealed a cut may leave less than was asked for, so
 * they compare again until they are alike. */
static rt_status restore_alike(glm_session *session, glm_reuse *out) {
    par_comm *comm = session->engine->comm;
    rank_found all[PAR_RANKS_MAX];
    for (;;) {
        rank_found mine = {.n_tokens = kv_seq_length(session->seq)};
        (void)snprintf(mine.reason, sizeof mine.reason, "%s", out->reason);
        out->n_tokens = mine.n_tokens;
        if (comm->n_ranks == 1) return RT_OK;
        RT_TRY(comm->share(comm, &mine, sizeof mine, all));
        int least = 0;
        bool is_alike = true;
        for (int r = 1; r < comm->n_ranks; r++) {
            is_alike = is_alike && all[r].n_tokens == all[0].n_tokens;
            if (all[r].n_tokens < all[least].n_tokens) least = r;
        }
        if (is_alike) return RT_OK;
        if (mine.n_tokens == all[least].n_tokens) continue;
        (void)snprintf(out->reason, sizeof out->reason,
                "rank %d on %s holds only the first %" PRId64 " tokens: %.300s", least,
                comm->hosts[least], all[least].n_tokens, all[least].reason);
        glm_session_truncate(session, all[least].n_tokens);
    }
}

rt_status glm_session_restore(
        glm_session *session, const int32_t *ids, int64_t n_ids, glm_reuse *out) {
    const glm_step step = {
            .kind = GLM_STEP_RESTORE, .session = session->number, .ids = ids, .n_ids = n_ids};
    *out = (glm_reuse){0};
    RT_TRY(glm_step_begin(session->engine, &step));
    rt_status status = glm_step_agree(session->engine, restore(session, ids, n_ids, out));
    if (status == RT_OK) status = restore_alike(session, out);
    glm_step_end(session->engine);
    return status;
}

rt_status glm_session_find_after(glm_session *session, int64_t n_shared, const int32_t *ids,
        int64_t n_ids, int64_t *n_tokens) {
    RT_TRY(kv_seq_find_after(session->seq, n_shared, ids, n_ids, n_tokens));
    *n_tokens = rt_min64(*n_tokens, n_ids - 1);
    if (*n_tokens < n_shared + TOKENS_WORTH_READING) *n_tokens = n_shared;
    return RT_OK;
}

rt_status glm_session_save_beside(glm_session *session, const int32_t *ids, int64_t n_ids,
        int32_t what, void *bytes, int64_t n_bytes) {
    return kv_seq_save_beside(session->seq, ids, n_ids, what, bytes, n_bytes);
}

rt_status glm_session_load_beside(glm_session *session, const int32_t *ids, int64_t n_ids,
        int32_t what, void *bytes, int64_t n_bytes, bool *is_there) {
    return kv_seq_load_beside(session->seq, ids, n_ids, what, bytes, n_bytes, is_there);
}

int64_t glm_session_kept(const glm_session *session) {
    return kv_seq_kept(session->seq);
}

/* ---- books ----------------------------------------------------------------------------------- */

static rt_status save_tail(glm_session *session) {
    bool has_tail = false;
    rt_status status = kv_seq_keep_begin(session->seq, &has_tail);
    if (status == RT_OK && has_tail) status = walk_layers(session, KV_WALK_SAVE);
    return glm_step_agree(session->engine, status); /* no book names what one rank lacks */
}

static rt_status keep(glm_session *session, const char *book, const char *note) {
    char *full_note = NULL;
    RT_TRY(save_tail(session));
    RT_TRY(glm_shards_note(session->engine, note, &full_note));
    glm_disk_begin(session->engine);
    const rt_status status = kv_seq_keep_end(session->seq, book, full_note ? full_note : note);
    glm_disk_end(session->engine);
    free(full_note);
    return glm_step_agree(session->engine, status);
}

rt_status glm_session_keep(glm_session *session, const char *book, const char *note) {
    glm_session_drop_drafts(session);
    const glm_step step = {
            .kind = GLM_STEP_KEEP, .session = session->number, .texts = {book, note}};
    RT_TRY(glm_step_begin(session->engine, &step));
    const rt_status status = keep(session, book, note);
    if (status != RT_OK) kv_seq_keep_leave(session->seq);
    glm_step_end(session->engine);
    return status;
}

/* Fail where a rank cannot read what it needs of the book. */
static rt_status require_shards(glm_engine *engine, const kv_book *book, const int32_t *ids) {
    const glm_step step = {.kind = GLM_STEP_BOOK,
            .ids = ids,
            .n_ids = book->n_tokens,
            .texts = {book->note ? book->note : "", engine->kv_dirs[0]}};
    if (engine->comm->n_ranks == 1) return RT_OK;
    RT_TRY(glm_step_begin(engine, &step));
    rt_status status =
            glm_shards_require(engine, ids, book->n_tokens, step.texts[0], step.texts[1]);
    status = glm_step_agree(engine, status);
    glm_step_end(engine);
    return status;
}

static rt_status read_ids(glm_engine *engine, const kv_book *book, int32_t **ids) {
    int32_t *list = NULL;
    RT_TRY(rt_calloc(book->n_tokens, sizeof *list, "a book's tokens", &list));
    rt_status status = kv_store_book_ids(engine->store, book, list);
    if (status == RT_ECORRUPT) status = glm_shards_explain(book->note);
    if (status == RT_OK) status = require_shards(engine, book, list);
    if (status != RT_OK) {
        free(list);
        return status;
    }
    *ids = list;
    return RT_OK;
}

rt_status glm_book_ids(glm_engine *engine, const char *name, int32_t **ids, int64_t *n_ids) {
    kv_books *books = NULL;
    kv_book book = {0};
    RT_TRY(kv_books_open((const char *const *)engine->kv_dirs, engine->n_kv_dirs, &books));
    rt_status status = kv_books_read(books, name, &book);
    if (status == RT_OK) {
        *n_ids = book.n_tokens;
        status = read_ids(engine, &book, ids);
        kv_book_free(&book);
    }
    kv_books_close(books);
    return status;
}

rt_status glm_book_mend(glm_session *session, const char *name) {
    const glm_engine *engine = session->engine;
    kv_books *books = NULL;
    kv_book book = {0};
    RT_TRY(kv_books_open((const char *const *)engine->kv_dirs, engine->n_kv_dirs, &books));
    rt_status status = kv_books_read(books, name, &book);
    if (status == RT_OK) {
        rt_assert(kv_seq_length(session->seq) == book.n_tokens);
        status = glm_session_keep(session, name, book.note);
        kv_book_free(&book);
    }
    kv_books_close(books);
    return status;
}

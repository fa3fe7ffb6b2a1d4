/* Steps: announced by rank 0, taken by all. On the wire a step is a header and one block of bytes, the
 * lists one after another. */
#include "ranks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shard_notes.h"

enum { STEP_BYTES_MAX = 1 << 30 }; /* a million tokens are 4 MiB */

static const uint64_t step_magic = 0x676c6d3173746570; /* "glm1step" */

typedef struct step_header {
    uint64_t magic;
    int64_t serial;
    int64_t session;
    int64_t numbers[3];
    int64_t n_sessions;
    int64_t n_ids;
    int64_t n_wanted;
    int64_t n_text[2];
    int64_t n_bytes;
    int32_t kind;
    int32_t zero;
} step_header;

static const char *step_name(glm_step_kind kind) {
    static const char *const names[] = {
            [GLM_STEP_CREATE] = "session",
            [GLM_STEP_FREE] = "end of a session",
            [GLM_STEP_FORK] = "fork",
            [GLM_STEP_TRUNCATE] = "truncation",
            [GLM_STEP_REWIND] = "rewinding",
            [GLM_STEP_RESTORE] = "restoring",
            [GLM_STEP_KEEP] = "keeping a book",
            [GLM_STEP_BOOK] = "opening a book",
            [GLM_STEP_PREFILL_BEGIN] = "begin of a prefill",
            [GLM_STEP_PREFILL] = "prefill",
            [GLM_STEP_PREFILL_ABORT] = "end of a prefill",
            [GLM_STEP_PREFILL_SUSPEND] = "suspending",
            [GLM_STEP_DECODE] = "decode",
            [GLM_STEP_TOGETHER] = "prefill of several",
            [GLM_STEP_CLOSE] = "shutdown",
    };
    return names[kind];
}

/* ---- announcing ------------------------------------------------------------------------------ */

static int64_t text_bytes(const char *text) {
    return text ? (int64_t)strlen(text) + 1 : 0;
}

static void *put(void *at, const void *bytes, int64_t n_bytes) {
    if (n_bytes > 0) memcpy(at, bytes, (size_t)n_bytes);
    return (char *)at + n_bytes;
}

static void write_lists(const glm_step *step, const step_header *header, void *at) {
    at = put(at, step->sessions, step->n_sessions * (int64_t)sizeof *step->sessions);
    at = put(at, step->wanted, step->n_wanted * (int64_t)sizeof *step->wanted);
    at = put(at, step->ids, step->n_ids * (int64_t)sizeof *step->ids);
    at = put(at, step->texts[0], header->n_text[0]);
    (void)put(at, step->texts[1], header->n_text[1]);
}

static int64_t list_bytes(const step_header *h) {
    return (h->n_sessions + h->n_wanted) * (int64_t)sizeof(int64_t) +
           h->n_ids * (int64_t)sizeof(int32_t) + h->n_text[0] + h->n_text[1];
}

static step_header make_header(const glm_step *step, int64_t serial) {
    step_header h = {.magic = step_magic,
            .serial = serial,
            .session = step->session,
            .numbers = {step->numbers[0], step->numbers[1], step->numbers[2]},
            .n_sessions = step->n_sessions,
            .n_ids = step->n_ids,
            .n_wanted = step->n_wanted,
            .n_text = {text_bytes(step->texts[0]), text_bytes(step->texts[1])},
            .kind = (int32_t)step->kind};
    h.n_bytes = list_bytes(&h);
    return h;
}

/* Once the header is told the lists are due: what they take is there before. */
static rt_status announce(par_comm *comm, const glm_step *step, int64_t serial) {
    step_header header = make_header(step, serial);
    void *lists = NULL;
    if (header.n_bytes > 0) RT_TRY(rt_malloc(header.n_bytes, "a step's arguments", &lists));
    rt_status status = comm->tell(comm, &header, sizeof header);
    if (lists && status == RT_OK) {
        write_lists(step, &header, lists);
        status = comm->tell(comm, lists, header.n_bytes);
    }
    free(lists);
    return status;
}

static void enter_step(glm_engine *engine) {
    engine->ranks.depth++;
    atomic_store(&engine->comm->is_idle, false);
}

static void leave_step(glm_engine *engine) {
    if (--engine->ranks.depth == 0) atomic_store(&engine->comm->is_idle, true);
}

rt_status glm_step_begin(glm_engine *engine, const glm_step *step) {
    par_comm *comm = engine->comm;
    if (comm->n_ranks == 1) return RT_OK;
    if (engine->ranks.depth == 0 && comm->rank == 0) {
        comm->step = engine->ranks.serial + 1;
        comm->step_name = step_name(step->kind);
        RT_TRY(announce(comm, step, comm->step));
        engine->ranks.serial = comm->step;
    }
    enter_step(engine);
    return RT_OK;
}

void glm_step_end(glm_engine *engine) {
    if (engine->comm->n_ranks > 1) leave_step(engine);
}

void glm_disk_begin(glm_engine *engine) {
    atomic_store(&engine->comm->is_idle, true);
}

void glm_disk_end(glm_engine *engine) {
    atomic_store(&engine->comm->is_idle, engine->ranks.depth == 0);
}

void glm_session_commit(glm_session *session) {
    glm_disk_begin(session->engine);
    kv_span_commit(session->seq);
    glm_disk_end(session->engine);
}

/* ---- deciding -------------------------------------------------------------------------------- */

/* With it goes what else a rank has found, and the record of an answer is to say: that a product's kernel was refused. */
rt_status glm_step_agree(glm_engine *engine, rt_status mine) {
    glm_linear_by *by = &engine->plan.linear_by;
    int64_t least = *by == GLM_LINEAR_CUBLASLT_BY_ROWS ? -1 : 0;
    const rt_status status = par_agree(engine->comm, mine, &least);
    if (least < 0) *by = GLM_LINEAR_CUBLASLT_BY_ROWS;
    return status;
}

rt_status glm_group_end(const glm_engine *engine, rt_status mine) {
    par_comm *comm = engine->comm;
    if (mine == RT_OK || comm->n_ranks == 1) return mine;
    comm->abort(comm, rt_error_text());
    return comm->check(comm);
}

rt_status glm_layer_agree(glm_engine *engine, rt_status mine) {
    return engine->plan.kv_overflows ? par_agree(engine->comm, mine, NULL)
                                     : glm_group_end(engine, mine);
}

rt_status glm_step_smallest(glm_engine *engine, int64_t *value) {
    return par_agree(engine->comm, RT_OK, value);
}

rt_status glm_step_bad_pos(
        glm_engine *engine, const glm_session *session, rt_status failure, int64_t *pos) {
    char text[1024];
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    if (failure == RT_EPEER) return failure;
    const int64_t own = kv_walk_bad_pos(engine->store, session->seq);
    *pos = own < 0 ? INT64_MAX : own;
    RT_TRY(glm_step_smallest(engine, pos));
    const rt_status again = rt_fail(failure, "%s", text);
    (void)again;
    return RT_OK;
}

/* ---- following ------------------------------------------------------------------------------- */

/* A step as it came: the lists point into `lists`. */
typedef struct received {
    glm_step step;
    void *lists;
} received;

static rt_status refuse(par_comm *comm, const char *what, int64_t found, int64_t due) {
    char why[160];
    (void)snprintf(why, sizeof why, "%s is %" PRId64 ", due is %" PRId64, what, found, due);
    comm->abort(comm, why);
    return rt_fail(RT_EPEER, "ranks: %s", why);
}

/* Counts that are within the bound multiply and add up without wrapping. */
static rt_status check_size(par_comm *comm, const step_header *h) {
    const int64_t counts[] = {h->n_sessions, h->n_ids, h->n_wanted, h->n_text[0], h->n_text[1]};
    if (h->n_bytes < 0 || h->n_bytes > STEP_BYTES_MAX)
        return refuse(comm, "a step's size", h->n_bytes, STEP_BYTES_MAX);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i] < 0 || counts[i] > h->n_bytes)
            return refuse(comm, "a count of a step's", counts[i], h->n_bytes);
    const int64_t due = list_bytes(h);
    return h->n_bytes == due ? RT_OK : refuse(comm, "a step's size", h->n_bytes, due);
}

static rt_status check_header(glm_engine *engine, const step_header *h) {
    par_comm *comm = engine->comm;
    const int64_t due = engine->ranks.serial + 1;
    if (h->magic != step_magic)
        return refuse(comm, "the mark of a step", (int64_t)h->magic, (int64_t)step_magic);
    if (h->serial != due) return refuse(comm, "a step's serial number", h->serial, due);
    if (h->kind < 1 || h->kind > GLM_STEP_LAST)
        return refuse(comm, "a step's kind", h->kind, GLM_STEP_LAST);
    return check_size(comm, h);
}

static const void *take(char **at, int64_t n_bytes) {
    const void *from = n_bytes > 0 ? *at : NULL;
    *at += n_bytes;
    return from;
}

static void read_lists(const step_header *h, received *out) {
    glm_step *step = &out->step;
    char *at = out->lists;
    step->sessions = take(&at, h->n_sessions * (int64_t)sizeof *step->sessions);
    step->wanted = take(&at, h->n_wanted * (int64_t)sizeof *step->wanted);
    step->ids = take(&at, h->n_ids * (int64_t)sizeof *step->ids);
    step->texts[0] = take(&at, h->n_text[0]);
    step->texts[1] = take(&at, h->n_text[1]);
}

/* What is told next would be taken for another step's. */
static rt_status give_up(par_comm *comm) {
    char why[256];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    comm->abort(comm, why);
    return rt_fail(RT_EPEER, "ranks: %s", why);
}

static rt_status receive(glm_engine *engine, received *out) {
    par_comm *comm = engine->comm;
    step_header h;
    *out = (received){0};
    comm->step_name = "waiting for a step";
    RT_TRY(comm->tell(comm, &h, sizeof h));
    RT_TRY(check_header(engine, &h));
    comm->step = engine->ranks.serial = h.serial;
    comm->step_name = step_name((glm_step_kind)h.kind);
    out->step = (glm_step){.kind = (glm_step_kind)h.kind,
            .session = h.session,
            .numbers = {h.numbers[0], h.numbers[1], h.numbers[2]},
            .n_sessions = h.n_sessions,
            .n_ids = h.n_ids,
            .n_wanted = h.n_wanted};
    if (h.n_bytes == 0) return RT_OK;
    if (rt_malloc(h.n_bytes, "a step's arguments", &out->lists) != RT_OK) return give_up(comm);
    read_lists(&h, out);
    return comm->tell(comm, out->lists, h.n_bytes);
}

static glm_session *find(const glm_engine *engine, int64_t number) {
    glm_session *session = engine->ranks.sessions;
    while (session && session->number != number) session = session->next;
    rt_assert(session); /* rank 0 made it in a step that was taken here, too */
    return session;
}

static rt_status decode(glm_engine *engine, const glm_step *step) {
    glm_session *sessions[GLM_DECODE_SEQS_MAX];
    rt_assert(step->n_sessions <= GLM_DECODE_SEQS_MAX);
    rt_assert(step->n_ids == step->n_sessions || step->n_sessions == 1);
    for (int64_t i = 0; i < step->n_sessions; i++) sessions[i] = find(engine, step->sessions[i]);
    if (step->n_ids > step->n_sessions)
        return glm_decode_several(sessions[0], step->ids, (int32_t)step->n_ids);
    return glm_decode(sessions, step->ids, (int32_t)step->n_sessions);
}

static rt_status prefill_together(glm_engine *engine, const glm_step *step) {
    glm_session *sessions[GLM_DECODE_SEQS_MAX];
    const int32_t *ids[GLM_DECODE_SEQS_MAX];
    int64_t at = 0;
    rt_assert(step->n_sessions <= GLM_DECODE_SEQS_MAX && step->n_wanted == step->n_sessions);
    for (int64_t i = 0; i < step->n_sessions; at += step->wanted[i++]) {
        sessions[i] = find(engine, step->sessions[i]);
        ids[i] = step->ids + at;
    }
    rt_assert(at == step->n_ids);
    if (step->numbers[0]) return glm_prefill_rows(sessions[0], ids[0], step->n_ids);
    return glm_prefill_together(sessions, ids, step->wanted, (int32_t)step->n_sessions);
}

/* The same call as rank 0's. What fails there and here alike is rank 0's to report. */
static rt_status take_step(glm_engine *engine, const glm_step *step) {
    glm_session *made = NULL;
    glm_reuse reuse;
    glm_prefill_progress progress;
    switch (step->kind) {
    case GLM_STEP_CREATE:
        return glm_session_create(engine, step->numbers[0], &made);
    case GLM_STEP_FREE:
        glm_session_free(find(engine, step->session));
        return RT_OK;
    case GLM_STEP_FORK:
        return glm_session_fork(
                find(engine, step->session), step->numbers[0], step->numbers[1], &made);
    case GLM_STEP_TRUNCATE:
        glm_session_truncate(find(engine, step->session), step->numbers[0]);
        return RT_OK;
    case GLM_STEP_REWIND:
        return glm_session_rewind(find(engine, step->session), step->numbers[0]);
    case GLM_STEP_RESTORE:
        return glm_session_restore(find(engine, step->session), step->ids, step->n_ids, &reuse);
    case GLM_STEP_KEEP:
        return glm_session_keep(find(engine, step->session), step->texts[0], step->texts[1]);
    case GLM_STEP_BOOK:
        return glm_step_agree(engine,
                glm_shards_require(engine, step->ids, step->n_ids, step->texts[0], step->texts[1]));
    case GLM_STEP_PREFILL_BEGIN:
        return step->numbers[1] ? glm_prefill_begin_all(find(engine, step->session), step->ids,
                                          step->n_ids, step->numbers[2], NULL, NULL)
                                : glm_prefill_begin(find(engine, step->session), step->ids,
                                          step->n_ids, step->wanted, step->numbers[0]);
    case GLM_STEP_PREFILL:
        return glm_prefill_step(find(engine, step->session), &progress);
    case GLM_STEP_PREFILL_ABORT:
        glm_prefill_abort(find(engine, step->session));
        return RT_OK;
    case GLM_STEP_PREFILL_SUSPEND:
        return glm_prefill_suspend(find(engine, step->session));
    case GLM_STEP_DECODE:
        return decode(engine, step);
    case GLM_STEP_TOGETHER:
        return prefill_together(engine, step);
    case GLM_STEP_CLOSE:
        return RT_OK;
    }
    return RT_OK;
}

rt_status glm_ranks_follow(glm_engine *engine) {
    for (;;) {
        received one;
        rt_status status = receive(engine, &one);
        if (status == RT_OK) {
            enter_step(engine);
            status = take_step(engine, &one.step);
            leave_step(engine);
        }
        const bool is_over = one.step.kind == GLM_STEP_CLOSE;
        free(one.lists);
        if (status == RT_EPEER) return status;
        if (is_over) return RT_OK;
    }
}

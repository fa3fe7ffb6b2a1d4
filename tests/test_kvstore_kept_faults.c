/* A store that keeps its sequences on a disk that fails: what is found again is right, a book that was
 * acknowledged is whole, and a failure costs time and never a token.
 *
 * Method: a scripted run of two processes (append spans, make a book, suspend a span in its middle; in
 * the second: find, resume, finish, make another book) over a file system in memory, sequences in
 * memory, overflowing or parked; repeated with one kind of fault at the k-th event of its kind, and
 * with the k-th call to the file system failing, once and from there on for ever. Then a third process,
 * on a disk that works, finds what there is, reads it all and verifies the books.
 * `test_kvstore_kept_faults FAULT AT FOREVER BUDGET` repeats one run; FAULT 100 and more: errno. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "help_kv_io.h"
#include "help_kv_kept.h"
#include "help_kv_memfs.h"
#include "help_verify_book.h"
#include "kvstore/books.h"

enum {
    LAYERS = 2,
    N = KV_SEGMENT_TOKENS,
    TEXT = 2 * N + 900,
    FIRST = N + 800,       /* in the first span */
    BEGIN = FIRST,         /* of the span that is suspended */
    STOPPED = 2 * N + 100, /* in layer 1 */
    HIDDEN = 5000,
    TRIES = 6,
    PATIENCE = 3,
    ERRNOS = 100
};

enum { OVERFLOWING, IN_MEMORY, PARKED, BUDGETS };

static const uint64_t value = 1u << 30;

typedef struct fault_at {
    int fault; /* a kvh_fault, or ERRNOS + errno: of a call to the file system */
    int64_t at;
    bool for_ever;
} fault_at;

typedef struct run {
    kvh_memfs *fs;
    fault_at where;
    int budget;
    kvh_faults *faults;
    kv_store *store;
    kv_seq *seq;
    int32_t ids[TEXT];
    int64_t n_events; /* of processes that are over */
    int64_t n_injected;
    int64_t n_failed;
    bool is_book[2]; /* acknowledged */
} run;

static int64_t n_runs, n_noticed;

static bool went_well(run *r, rt_status status) {
    CHECK(status == RT_OK || status == RT_EIO || status == RT_ENOFIT || status == RT_ECORRUPT ||
            status == RT_EUSAGE);
    r->n_failed += status != RT_OK;
    return status == RT_OK;
}

static bool is_over(const run *r) {
    return r->where.for_ever && r->n_failed >= PATIENCE;
}

/* ---- processes ------------------------------------------------------------------------------- */

static kv_config config_of(int budget) {
    static const char *dirs[] = {"/"};
    kv_config config = kvh_overflow_config(LAYERS, 0, 0);
    config.overflow.dirs = dirs;
    config.overflow.extent_tokens = N;
    config.overflow.append_tokens = TEXT;
    config.overflow.bytes_max = kv_overflow_disk_bytes(&config, TEXT);
    config.host_bytes_max = kv_overflow_bytes(&config);
    if (budget == OVERFLOWING) config.host_bytes_max += kv_overflow_tail_bytes(&config);
    if (budget == IN_MEMORY) config.host_bytes_max += kv_pages_for(&config, TEXT) * KVH_PAGE_BYTES;
    return config;
}

static kv_io *io_of(run *r) {
    const fault_at *w = &r->where;
    const bool is_call = w->fault >= ERRNOS;
    const kvh_fault fault = is_call ? KVH_NONE : (kvh_fault)w->fault;
    const kv_io_config config = {.timeout_s = kvh_is_silent(fault, w->for_ever) ? 0.001 : 30};
    const int64_t at = w->for_ever ? rt_max64(w->at - r->n_events, 0) : w->at - r->n_events;
    kv_io *io = NULL;
    const kv_io_engine engine =
            kvh_inject(kvh_memfs_engine(r->fs), fault, at, w->for_ever, &r->faults);
    CHECK(kv_io_create_on(engine, &config, &io) == RT_OK);
    return io;
}

static bool enter(run *r) {
    static const uint8_t fingerprint[32] = {1, 2, 3};
    static const char *dirs[] = {"/disk"};
    const kv_config config = config_of(r->budget);
    const kv_keep keep = {.fingerprint = fingerprint,
            .fingerprint_text = "kv=bf16\n",
            .dirs = dirs,
            .n_dirs = 1,
            .bytes_max = 1 << 24};
    r->store = NULL;
    r->seq = NULL;
    if (!went_well(r, kv_store_open_over(&config, io_of(r), &r->store))) {
        r->store = NULL;
        return false;
    }
    if (!went_well(r, kv_store_keep(r->store, &keep))) return false;
    if (!went_well(r, kv_seq_create(r->store, TEXT, &r->seq))) return false;
    return true;
}

/* Whatever is late is answered before the end: its memory is the store's. */
static void leave(run *r) {
    if (!r->store) return;
    r->n_events += kvh_faults_events(r->faults);
    r->n_injected += kvh_faults_injected(r->faults);
    kvh_faults_release(r->faults);
    kv_seq_free(r->seq);
    kv_store_close(r->store);
    r->store = NULL;
    r->seq = NULL;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void recover(run *r) {
    kv_span_abort(r->seq);
    const int64_t bad = kv_walk_bad_pos(r->store, r->seq);
    if (bad >= 0 && bad < kv_seq_length(r->seq)) kv_seq_truncate(r->seq, bad);
    CHECK(kv_walk_bad_pos(r->store, r->seq) == -1);
}

static rt_status write_layer(run *r, int32_t layer, int64_t first, int64_t end) {
    for (int64_t pos = first, next; pos < end; pos = next) {
        next = rt_min64(pos + 1900, end);
        RT_TRY(kvh_try_write(r->store, r->seq, layer, pos, next - pos, value));
    }
    return RT_OK;
}

static rt_status append_to(run *r, int64_t end) {
    const int64_t first = kv_seq_length(r->seq);
    if (first >= end) return RT_OK;
    RT_TRY(kv_span_begin(r->seq, r->ids + first, end - first));
    for (int32_t layer = 0; layer < LAYERS; layer++) RT_TRY(write_layer(r, layer, first, end));
    kv_span_commit(r->seq);
    return RT_OK;
}

static rt_status read_all(run *r) {
    const int64_t n = kv_seq_length(r->seq);
    uint64_t *seen = malloc(TEXT * sizeof *seen);
    CHECK(seen && memcmp(kv_seq_ids(r->seq), r->ids, (size_t)n * sizeof *r->ids) == 0);
    rt_status status = RT_OK;
    for (int32_t layer = 0; layer < LAYERS && status == RT_OK; layer++) {
        for (int64_t i = 0; i < n; i++) seen[i] = value + (uint64_t)i;
        status = kvh_try_read(r->store, r->seq, layer, seen);
        for (int64_t i = 0; i < n; i++) CHECK(seen[i] == value + (uint64_t)i);
    }
    free(seen);
    return status;
}

/* As the runtime does it: what is lost is computed again. */
static bool hold(run *r, int64_t end) {
    for (int tries = 0; !is_over(r); tries++) {
        if (went_well(r, append_to(r, end)) && went_well(r, read_all(r)) &&
                kv_seq_length(r->seq) >= end)
            return true;
        recover(r);
        CHECK(r->where.for_ever || tries < TRIES);
    }
    return false;
}

static rt_status keep_book(run *r, const char *name) {
    bool has_tail = false;
    RT_TRY(kv_seq_keep_begin(r->seq, &has_tail));
    for (int32_t layer = 0; layer < LAYERS && has_tail; layer++)
        RT_TRY(kvh_try_save(r->store, r->seq, layer));
    return kv_seq_keep_end(r->seq, name, "source=a test\n");
}

/* ---- a span that is stopped ------------------------------------------------------------------ */

static void hidden_bytes(char *bytes) {
    for (int i = 0; i < HIDDEN; i++) bytes[i] = (char)(i * 7 + (i >> 6));
}

static rt_status suspend(run *r) {
    char hidden[HIDDEN];
    hidden_bytes(hidden);
    const kv_suspension s = {.n_ids = TEXT,
            .begin = BEGIN,
            .end = TEXT,
            .layer = 1,
            .layer_end = STOPPED,
            .hidden = hidden,
            .hidden_bytes = HIDDEN};
    RT_TRY(kv_span_begin(r->seq, r->ids + BEGIN, TEXT - BEGIN));
    RT_TRY(write_layer(r, 0, BEGIN, TEXT));
    RT_TRY(write_layer(r, 1, BEGIN, STOPPED));
    return kvh_suspend(r->store, r->seq, LAYERS, r->ids, &s);
}

static rt_status load_rows(run *r, bool *is_there) {
    for (int32_t layer = 0; layer < LAYERS && *is_there; layer++) {
        RT_TRY(kv_resume_layer(r->seq, layer));
        kv_rows rows = kv_seq_tail_rows(r->seq, layer, 0);
        CHECK(rows.n_tokens > 0);
        RT_TRY(kv_resume_rows(r->seq, &rows, is_there));
        if (!*is_there) break;
        kvh_rows_to_pages(&rows);
        RT_TRY(kvh_try_walk_end(r->store, r->seq, layer, NULL, NULL));
    }
    return RT_OK;
}

/* Whether the span is finished; if not, the sequence is as before it. */
static rt_status resume(run *r, bool *is_there) {
    char hidden[HIDDEN], expected[HIDDEN];
    kv_suspension s = {0};
    RT_TRY(kv_resume_span(r->seq, r->ids, TEXT, &s, is_there));
    if (!*is_there) return RT_OK;
    CHECK(s.begin == BEGIN && s.end == TEXT && s.layer == 1 && s.layer_end == STOPPED);
    CHECK(s.hidden_bytes == HIDDEN);
    RT_TRY(load_rows(r, is_there));
    s.hidden = hidden;
    if (*is_there) RT_TRY(kv_resume_hidden(r->seq, &s, is_there));
    if (!*is_there) return RT_OK;
    kv_resume_end(r->seq);
    hidden_bytes(expected);
    CHECK(memcmp(hidden, expected, HIDDEN) == 0);
    RT_TRY(write_layer(r, 1, STOPPED, TEXT));
    kv_span_commit(r->seq);
    return RT_OK;
}

/* ---- the script ------------------------------------------------------------------------------ */

static void first_process(run *r) {
    if (!enter(r)) return;
    if (!hold(r, FIRST)) return;
    r->is_book[0] = went_well(r, keep_book(r, "first"));
    if (is_over(r)) return;
    if (went_well(r, suspend(r)))
        CHECK(kv_seq_length(r->seq) == FIRST);
    else
        recover(r);
}

/* Whether something happened that may keep what is stored from being found. */
static bool may_miss(const run *r) {
    const fault_at *w = &r->where;
    if (w->at == INT64_MAX) return false;
    if (w->fault >= ERRNOS || w->for_ever) return true;
    return !kvh_is_harmless_once((kvh_fault)w->fault) || w->fault >= KVH_FILE_FAULTS;
}

static void second_process(run *r) {
    kv_found found = {0};
    bool is_there = false;
    if (is_over(r) || !enter(r)) return;
    if (!went_well(r, kv_seq_find(r->seq, r->ids, TEXT, &found))) return;
    CHECK(found.n_tokens == kv_seq_length(r->seq) && found.n_tokens <= FIRST);
    CHECK(may_miss(r) || found.n_tokens == FIRST);
    if (!went_well(r, resume(r, &is_there)) || !is_there) recover(r);
    CHECK(may_miss(r) || is_there);
    if (!hold(r, TEXT)) return;
    r->is_book[1] = went_well(r, keep_book(r, "second"));
}

/* Nothing fails any more: what was acknowledged is whole, and everything works. */
static void third_process(run *r) {
    static const char *dirs[] = {"/disk"};
    kv_found found = {0};
    r->where = (fault_at){0};
    CHECK(enter(r));
    CHECK(kv_seq_find(r->seq, r->ids, TEXT, &found) == RT_OK);
    CHECK(found.n_tokens >= (r->is_book[1] ? TEXT : r->is_book[0] ? FIRST : 0));
    CHECK(hold(r, TEXT));
    CHECK(keep_book(r, "third") == RT_OK);
    leave(r);
    kv_io *io = kvh_memfs_io(r->fs);
    kv_books *books = NULL;
    CHECK(kv_books_open_on(io, dirs, 1, &books) == RT_OK);
    static const char *const names[] = {"first", "second", "third"};
    for (int i = 0; i < 3; i++) {
        kv_book_report report;
        if (i < 2 && !r->is_book[i]) continue;
        CHECK(help_verify_book(books, names[i], &report) == RT_OK);
        CHECK(report.n_bad == 0 && report.n_segments > 0);
    }
    kv_books_close(books);
    CHECK(kv_io_close(io) == RT_OK);
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* The places where it could go wrong, seen with a fault that never comes. */
static int64_t one_run(int fault, int64_t at, bool for_ever, int budget) {
    run *r = calloc(1, sizeof *r);
    CHECK(r);
    r->fs = kvh_memfs_new();
    r->where = (fault_at){fault, at, for_ever};
    r->budget = budget;
    for (int64_t i = 0; i < TEXT; i++) r->ids[i] = (int32_t)(i * 2654435761u % 151000);
    if (fault >= ERRNOS) kvh_memfs_fail(r->fs, at, fault - ERRNOS, for_ever);
    first_process(r);
    leave(r);
    second_process(r);
    leave(r);
    const int64_t n_events = fault >= ERRNOS ? kvh_memfs_n_calls(r->fs) : r->n_events;
    n_runs++;
    n_noticed += r->n_failed > 0;
    if (!may_miss(r)) CHECK(r->n_failed == 0 && r->is_book[0] && r->is_book[1]);
    /* What was acknowledged by a disk that lies is nobody's promise. */
    if (fault >= KVH_SILENT_FAULTS && fault < ERRNOS) r->is_book[0] = r->is_book[1] = false;
    kvh_memfs_fail(r->fs, 0, 0, false);
    third_process(r);
    kvh_memfs_free(r->fs);
    free(r);
    return n_events;
}

static void every_event(int fault, int budget, int64_t step, int64_t step_for_ever) {
    const int64_t n_before = n_runs;
    const int64_t n_events = one_run(fault, INT64_MAX, false, budget);
    for (int64_t at = fault % step; at < n_events; at += step)
        (void)one_run(fault, at, false, budget);
    for (int64_t at = fault % step; at < n_events; at += step_for_ever)
        (void)one_run(fault, at, true, budget);
    (void)printf("budget %d: %-18s %5" PRId64 " events, %5" PRId64 " runs\n", budget,
            fault >= ERRNOS ? strerror(fault - ERRNOS) : kvh_fault_name((kvh_fault)fault), n_events,
            n_runs - n_before);
    (void)fflush(stdout);
}

int main(int argc, char **argv) {
    static const int errnos[] = {EIO, ENOSPC, EACCES};
    const int64_t step = getenv("GLM_TEST_FAST") ? 101 : 11;
    if (argc > 4) {
        (void)one_run(atoi(argv[1]), atoll(argv[2]), atoi(argv[3]), atoi(argv[4]));
        return 0;
    }
    const int64_t by = argc > 1 ? atoll(argv[1]) : step;
    for (int budget = 0; budget < BUDGETS; budget++) {
        for (int fault = KVH_NONE + 1; fault < KVH_N_FAULTS; fault++)
            if (fault != KVH_STOPPED) every_event(fault, budget, by, 8 * by);
        for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++)
            every_event(ERRNOS + errnos[i], budget, by, 4 * by);
    }
    (void)printf("%" PRId64 " runs, %" PRId64 " noticed\n", n_runs, n_noticed);
    CHECK(n_noticed > n_runs / 20);
    return 0;
}

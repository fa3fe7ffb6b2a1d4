#include "help_kv_script.h"

#include <inttypes.h>
#include <string.h>

enum { N = KV_SEGMENT_TOKENS, TAIL = 50, PART = 60, STATE_BYTES = 5000 };

/* Small: 2 layers, 1 KV head of 2 values. A full segment takes about 100 KiB. */
static kvh_vault small_vault(int64_t bytes_max) {
    kvh_vault v = kvh_vault_in_memory();
    v.bytes_max = bytes_max;
    v.shape = (kv_segment_shape){RT_BF16, 2, 1, 2};
    return v;
}

static void promise(kvh_promises *p, const kvh_memfs *fs, kvh_subject subject, int64_t least) {
    CHECK(p->n < 64);
    p->all[p->n++] = (kvh_promise){kvh_memfs_n_effects(fs), subject, least};
}

/* The next effect may take it away. */
static void take_back(kvh_promises *p, const kvh_memfs *fs, kvh_subject subject) {
    promise(p, fs, subject, 0);
    p->all[p->n - 1].from++;
}

static bool went_well(kvh_promises *p, rt_status status) {
    CHECK(status == RT_OK || status == RT_EIO || status == RT_ENOFIT || status == RT_ENOMEM ||
            status == RT_ECORRUPT || status == RT_EUSAGE);
    p->n_failed += status != RT_OK;
    return status == RT_OK;
}

static void state_bytes(int64_t version, char *bytes) {
    for (int i = 0; i < STATE_BYTES; i++) bytes[i] = (char)(i * version + (i >> 5));
}

/* ---- the script ------------------------------------------------------------------------------ */

static void write_book(kvh_vault *v, kvh_promises *p, const kvh_memfs *fs) {
    int32_t *ids = kvh_ids(1, N + TAIL);
    kv_hash chains[2];
    const kv_hash *root = kv_vault_root(v->vault);
    if (went_well(p, kvh_write_segment(v, root, 0, ids, N, &chains[0]))) {
        promise(p, fs, KVH_PREFIX, N);
        if (went_well(p, kv_vault_write_book(v->vault, "book", chains, 1, N, "v=1")))
            promise(p, fs, KVH_BOOK, 1);
        if (went_well(p, kvh_write_segment(v, &chains[0], N, ids + N, TAIL, &chains[1]))) {
            promise(p, fs, KVH_PREFIX, N + TAIL);
            if (went_well(p, kv_vault_write_book(v->vault, "book", chains, 2, N + TAIL, "v=2")))
                promise(p, fs, KVH_BOOK, 2);
        }
    }
    free(ids);
}

static void save_state(kvh_vault *v, kvh_promises *p, const kvh_memfs *fs, int64_t version) {
    char bytes[STATE_BYTES];
    state_bytes(version, bytes);
    const kv_part part = {bytes, STATE_BYTES};
    if (went_well(p, kv_vault_save_state(v->vault, kv_vault_root(v->vault), &part, 1)))
        promise(p, fs, KVH_STATE, version);
}

static void suspend(kvh_vault *v, kvh_promises *p, const kvh_memfs *fs) {
    int32_t *ids = kvh_ids(2, PART);
    kv_writer *writer = NULL;
    const kv_hash *root = kv_vault_root(v->vault);
    if (went_well(p, kv_writer_begin(v->vault, root, 0, ids, PART, &writer)) && writer) {
        const bool is_filled = went_well(p, kvh_fill_segment(v, writer, 1));
        if (!is_filled)
            kv_writer_abort(writer);
        else if (went_well(p, kv_writers_suspend(&writer, 1, RT_OK)))
            promise(p, fs, KVH_PART, 1);
    }
    save_state(v, p, fs, 1);
    save_state(v, p, fs, 2);
    free(ids);
}

static void resume(kvh_vault *v, kvh_promises *p, const kvh_memfs *fs) {
    int32_t *ids = kvh_ids(2, PART);
    kv_writer *writer = NULL;
    take_back(p, fs, KVH_PART);
    const rt_status status =
            kv_writer_resume(v->vault, kv_vault_root(v->vault), 0, ids, PART, &writer);
    if (went_well(p, status) && writer) {
        const bool is_filled = went_well(p, kvh_fill_segment(v, writer, 2));
        if (!is_filled)
            kv_writer_abort(writer);
        else if (went_well(p, kv_writer_finish(writer, NULL)))
            promise(p, fs, KVH_CONTINUED, PART);
    }
    take_back(p, fs, KVH_STATE);
    kv_vault_drop_state(v->vault, kv_vault_root(v->vault));
    free(ids);
}

/* Two more, of which only one fits: the other goes, or the one that was continued. */
static void overfill(kvh_vault *v, kvh_promises *p, const kvh_memfs *fs) {
    take_back(p, fs, KVH_CONTINUED);
    for (uint64_t seed = 10; seed < 13; seed++)
        (void)went_well(p, kvh_write_first(v, seed, N, NULL));
}

static void remove_book(kvh_vault *v, kvh_promises *p, const kvh_memfs *fs) {
    const char *dirs[] = {v->dirs[0]};
    kv_books *books = NULL;
    kv_gc_report report;
    take_back(p, fs, KVH_BOOK);
    if (!went_well(p, kv_books_open_on(v->io, dirs, 1, &books))) return;
    if (went_well(p, kv_books_remove(books, "book"))) promise(p, fs, KVH_BOOK, 3);
    take_back(p, fs, KVH_PREFIX);
    (void)went_well(p, kv_books_gc(books, 0, &report));
    kv_books_close(books);
}

kvh_promises kvh_script_run_vault(kvh_memfs *fs) {
    kvh_promises p = {0};
    kvh_vault v = small_vault(500 << 10);
    if (went_well(&p, kvh_vault_try_open(&v, kvh_memfs_io(fs)))) {
        write_book(&v, &p, fs);
        suspend(&v, &p, fs);
    }
    kvh_vault_close(&v);
    if (went_well(&p, kvh_vault_try_open(&v, kvh_memfs_io(fs)))) {
        resume(&v, &p, fs);
        overfill(&v, &p, fs);
        remove_book(&v, &p, fs);
    }
    kvh_vault_close(&v);
    return p;
}

/* ---- what is left ---------------------------------------------------------------------------- */

typedef struct check {
    kvh_vault vault;
    int64_t least[KVH_N_SUBJECTS];
    int n_broken;
    bool says_so;
    int64_t n_effects;
} check;

static void broken(check *c, const char *what, int64_t is, int64_t least) {
    if (c->n_broken++ == 0 && c->says_so)
        (void)fprintf(stderr,
                "after %" PRId64 " effects: %s: %" PRId64 ", promised %" PRId64 " (%s)\n",
                c->n_effects, what, is, least, kv_vault_stats_of(c->vault.vault).last_bad);
}

static void check_prefixes(check *c) {
    int32_t *ids = kvh_ids(1, N + TAIL), *continued = kvh_ids(2, PART);
    const int64_t n = kvh_find(&c->vault, ids, N + TAIL, NULL);
    const int64_t n_continued = kvh_find(&c->vault, continued, PART, NULL);
    if (n < c->least[KVH_PREFIX]) broken(c, "tokens", n, c->least[KVH_PREFIX]);
    if (n_continued < c->least[KVH_CONTINUED])
        broken(c, "continued tokens", n_continued, c->least[KVH_CONTINUED]);
    for (uint64_t seed = 10; seed < 13; seed++) {
        int32_t *others = kvh_ids(seed, N);
        const int64_t n_others = kvh_find(&c->vault, others, N, NULL);
        if (n_others != 0 && n_others != N) broken(c, "a segment in part", n_others, N);
        free(others);
    }
    free(ids);
    free(continued);
}

static void check_book(check *c) {
    const char *dirs[] = {c->vault.dirs[0]};
    kv_books *books;
    kv_book book;
    CHECK(kv_books_open_on(c->vault.io, dirs, 1, &books) == RT_OK);
    const rt_status status = kv_books_read(books, "book", &book);
    int64_t version = 0;
    if (status == RT_OK) {
        version = strcmp(book.note, "v=1\n") == 0 ? 1 : strcmp(book.note, "v=2\n") == 0 ? 2 : 0;
        if (book.n_missing) broken(c, "segments missing in a book", book.n_missing, 0);
        if (book.n_tokens != N + (version == 2 ? TAIL : 0)) broken(c, "book tokens", version, 1);
        kv_book_free(&book);
    } else if (status != RT_EUSAGE) {
        broken(c, "a damaged book", status, RT_OK);
    }
    const int64_t least = c->least[KVH_BOOK];
    if (least == 3 ? status != RT_EUSAGE : version < least)
        broken(c, "book version", version, least);
    kv_books_close(books);
}

static void check_state(check *c) {
    char bytes[STATE_BYTES], expected[STATE_BYTES];
    const kv_part part = {bytes, STATE_BYTES};
    bool found;
    int64_t version = 0;
    const kv_hash *root = kv_vault_root(c->vault.vault);
    CHECK(kv_vault_load_state(c->vault.vault, root, &part, 1, &found) == RT_OK);
    for (int64_t i = 1; i <= 2 && found; i++) {
        state_bytes(i, expected);
        if (memcmp(bytes, expected, sizeof bytes) == 0) version = i;
    }
    CHECK(!found || version > 0);
    if (version < c->least[KVH_STATE]) broken(c, "state version", version, c->least[KVH_STATE]);
}

static void check_part(check *c) {
    int32_t *ids = kvh_ids(2, PART);
    kv_writer *writer;
    const kv_hash *root = kv_vault_root(c->vault.vault);
    CHECK(kv_writer_resume(c->vault.vault, root, 0, ids, PART, &writer) == RT_OK);
    if (c->least[KVH_PART] && !writer) broken(c, "a suspended segment", 0, 1);
    if (writer) {
        CHECK(kv_writer_has_layer(writer, 1) && !kv_writer_has_layer(writer, 0));
        CHECK(kvh_fill_segment(&c->vault, writer, 2) == RT_OK);
        CHECK(kv_writer_finish(writer, NULL) == RT_OK);
        if (kvh_find(&c->vault, ids, PART, NULL) != PART) broken(c, "resumed tokens", 0, PART);
    }
    free(ids);
}

/* Whatever was there before, what is written now is found. */
static void check_use(check *c) {
    int32_t *ids = kvh_ids(3, 20);
    const kv_hash *root = kv_vault_root(c->vault.vault);
    CHECK(kvh_write_segment(&c->vault, root, 0, ids, 20, NULL) == RT_OK);
    CHECK(kvh_find(&c->vault, ids, 20, NULL) == 20);
    free(ids);
}

int kvh_script_check(
        kvh_memfs *disk, const kvh_promises *promises, int64_t n_effects, bool says_so) {
    check c = {.vault = small_vault(INT64_MAX / 2), .says_so = says_so, .n_effects = n_effects};
    for (int i = 0; i < promises->n; i++)
        if (promises->all[i].from <= n_effects)
            c.least[promises->all[i].subject] = promises->all[i].least;
    kvh_vault_open(&c.vault, kvh_memfs_io(disk));
    const int64_t n_temporary = kvh_memfs_count(disk, ".tmp");
    if (n_temporary) broken(&c, "temporaries left", n_temporary, 0);
    check_prefixes(&c);
    check_book(&c);
    check_state(&c);
    check_part(&c);
    check_use(&c);
    const int64_t n_bad = kv_vault_stats_of(c.vault.vault).n_quarantined;
    if (n_bad) broken(&c, "half-written files", n_bad, 0);
    kvh_vault_close(&c.vault);
    return c.n_broken;
}

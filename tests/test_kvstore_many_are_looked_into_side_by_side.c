/* Where nothing is known of a vault's segments yet, many are looked into at a time, and the manifests of many books are
 * read at a time: a slow disk is waited for as often as for a few of them. One that is damaged among them is put aside, and
 * says so of itself.
 *
 * Method: an engine before a file system in memory that counts files opened alone, those opened in company, and the reads
 * that are under way at a time. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = 70, TOKENS = 20, DAMAGED = 33, DEPTH = 16, FOUND_ALONE = 6 };

static kv_io_engine inner;
static int64_t n_alone, n_rounds, n_in_flight, n_in_flight_max;

static int open_alone(void *self, const char *path, int flags) {
    n_alone++;
    return inner.table->open(self, path, flags);
}

static void open_all(void *self, kv_io_opening *openings, int n) {
    n_rounds++;
    for (int i = 0; i < n; i++)
        openings[i].result = inner.table->open(self, openings[i].path, openings[i].flags);
}

static int submit(void *self, const kv_io_request *requests, int n_requests) {
    const int n = inner.table->submit(self, requests, n_requests);
    for (int i = 0; i < n; i++) n_in_flight += !requests[i].is_write;
    n_in_flight_max = rt_max64(n_in_flight_max, n_in_flight);
    return n;
}

/* Only to those who wait. Writes have no part in what is counted: there are none then. */
static int complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    if (timeout_ms == 0) return 0;
    const int n = inner.table->complete(self, answers, n_max, timeout_ms);
    n_in_flight = rt_max64(n_in_flight - n, 0);
    return n;
}

static kv_io *io_over(kvh_memfs *fs) {
    static const kv_io_table counting = {
            .open = open_alone, .open_all = open_all, .submit = submit, .complete = complete};
    n_alone = n_rounds = n_in_flight = n_in_flight_max = 0;
    return kvh_memfs_io_instead(fs, &counting, &inner);
}

static void check_company(int64_t alone_max) {
    (void)printf("%d: %ld alone, %ld rounds, %ld reads at a time\n", N, (long)n_alone,
            (long)n_rounds, (long)n_in_flight_max);
    CHECK(n_alone <= alone_max && n_rounds <= 3 + 1 && n_in_flight_max == DEPTH);
}

/* N books of a segment each. */
static void fill(kvh_vault *v) {
    for (int i = 0; i < N; i++) {
        char name[20];
        kv_hash chain;
        CHECK(kvh_write_first(v, (uint64_t)i, TOKENS, &chain) == RT_OK);
        (void)snprintf(name, sizeof name, "book-%03d", i);
        CHECK(kv_vault_write_book(v->vault, name, &chain, 1, TOKENS, "source=x") == RT_OK);
    }
}

static kv_path path_of(const kvh_vault *v, int number) {
    kv_hash chain;
    int32_t *ids = kvh_ids((uint64_t)number, TOKENS);
    CHECK(kv_chain_next(kv_vault_root(v->vault), ids, TOKENS, &chain) == RT_OK);
    free(ids);
    return kv_vault_path(v->vault, 0, &chain, ".kvs");
}

static void damage(kvh_vault *v, const char *path) {
    kv_blocks *blocks = NULL;
    kv_file *file = NULL;
    uint8_t block[KV_BLOCK_BYTES];
    CHECK(kv_blocks_create(v->io, &blocks) == RT_OK);
    CHECK(kv_file_open(v->io, path, O_RDWR, &file) == RT_OK);
    CHECK(kv_blocks_read(blocks, file, 0, sizeof block, block) == RT_OK);
    block[70] ^= 1;
    CHECK(kv_blocks_write(blocks, file, 0, sizeof block, block) == RT_OK);
    kv_file_close(file);
    kv_blocks_free(blocks);
}

static void check_segments(kvh_vault *v, kvh_memfs *fs) {
    const kv_path known = kv_dirs_join(&v->vault->dirs, 0, "", KV_KNOWN_NAME);
    damage(v, path_of(v, DAMAGED).text);
    kvh_vault_close(v);
    kv_io *io = io_over(fs);
    CHECK(kv_path_unlink(io, known.text) == RT_OK);
    kvh_vault_open(v, io);
    check_company(FOUND_ALONE);
    const kv_vault_stats stats = kv_vault_stats_of(v->vault);
    CHECK(stats.n_segments == N - 1 && stats.n_quarantined == 1 && stats.n_strays == 0);
    CHECK(strstr(stats.last_bad, path_of(v, DAMAGED).text));
    for (int i = 0; i < N; i++) {
        int32_t *ids = kvh_ids((uint64_t)i, TOKENS);
        CHECK(kvh_find(v, ids, TOKENS, NULL) == (i == DAMAGED ? 0 : TOKENS));
        free(ids);
    }
}

static void check_books(kvh_vault *v, kvh_memfs *fs) {
    const char *const dirs[] = {v->dirs[0]};
    const kv_path damaged = kv_dirs_join(&v->vault->dirs, 0, "books", "book-033.book");
    const kv_path removed = kv_dirs_join(&v->vault->dirs, 0, "books", "book-069.book");
    kv_books *books = NULL;
    int64_t n_bytes = 0;
    damage(v, damaged.text);
    kvh_vault_close(v);
    kv_io *io = io_over(fs);
    CHECK(kv_books_open_on(io, dirs, 1, &books) == RT_OK);
    CHECK(kv_books_survey(books, &n_bytes) == RT_OK);
    CHECK(kv_path_unlink(io, removed.text) == RT_OK); /* behind its back */
    for (int i = 0; i < N; i++) {
        char name[20];
        kv_book book = {0};
        (void)snprintf(name, sizeof name, "book-%03d", i);
        const rt_status status = kv_books_read(books, name, &book);
        CHECK(status == (i == DAMAGED ? RT_ECORRUPT : i == N - 1 ? RT_EUSAGE : RT_OK));
        CHECK(status != RT_OK || strcmp(book.name, name) == 0);
        CHECK(status != RT_OK || book.n_missing == 0);
        kv_book_free(&book);
    }
    check_company(FOUND_ALONE);
    kv_books_close(books);
    CHECK(kv_io_close(io) == RT_OK);
}

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, io_over(fs));
    fill(&v);
    check_segments(&v, fs);
    fill(&v); /* the damaged one is written again */
    check_books(&v, fs);
    kvh_memfs_free(fs);
    return 0;
}

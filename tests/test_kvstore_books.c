/* Books: names for persisted prefixes that need no model to be listed, read, verified and removed; what
 * a book holds stays until it is removed.
 *
 * Method: write books with a vault, look at them without one; every kind of wrong name; damage to
 * manifest and segments; a book of another model. */
#include <string.h>

#include "help_kv_vault.h"
#include "help_verify_book.h"

enum { N = KV_SEGMENT_TOKENS };

static kv_books *open_books(kvh_vault *v) {
    const char *dirs[4];
    for (int32_t i = 0; i < v->n_dirs; i++) dirs[i] = v->dirs[i];
    kv_books *books;
    CHECK(kv_books_open(dirs, v->n_dirs, &books) == RT_OK);
    return books;
}

static void check_names(void) {
    const char *const good[] = {"a", "War_and-Peace.2", "0", "A.b"};
    const char *const bad[] = {
            "", ".", "..", ".hidden", "-n", "a/b", "../a", "a b", "a\nb", "\xc3\xa4"};
    char longest[KV_BOOK_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(kv_book_check_name(good[i]) == RT_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(kv_book_check_name(bad[i]) == RT_EUSAGE && strstr(rt_error_text(), "a book's name"));
    memset(longest, 'x', sizeof longest);
    longest[KV_BOOK_NAME_MAX + 1] = 0;
    CHECK(kv_book_check_name(longest) == RT_EUSAGE);
    longest[KV_BOOK_NAME_MAX] = 0;
    CHECK(kv_book_check_name(longest) == RT_OK);
}

static void check_book(kv_books *books, const kv_hash *chains) {
    kv_book book;
    CHECK(kv_books_read(books, "war", &book) == RT_OK);
    CHECK(strcmp(book.name, "war") == 0 && book.n_tokens == 2 * N + 70 && book.n_segments == 3);
    CHECK(strcmp(book.note, "source=war.txt\nsha256=00\n") == 0);
    CHECK(strcmp(book.fingerprint_text, "kv=bf16") == 0);
    CHECK(book.n_missing == 0 && book.stored_bytes > 0 && book.created_s > 0);
    CHECK(memcmp(book.chains, chains, 3 * 32) == 0);
    kv_book_free(&book);
}

static void check_listing(kv_books *books, int64_t n_expected, const char *first) {
    char **names;
    int64_t n;
    CHECK(kv_books_list(books, &names, &n) == RT_OK && n == n_expected);
    if (n > 0) CHECK(strcmp(names[0], first) == 0);
    for (int64_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

static void check_verify(kvh_vault *v, kv_books *books, const int32_t *ids) {
    kv_book_report report;
    kv_book book;
    CHECK(help_verify_book(books, "war", &report) == RT_OK);
    CHECK(report.n_segments == 3 && report.n_bad == 0 && *report.first_error == 0);
    CHECK(report.n_runs == 3 * KVH_LAYERS * KVH_HEADS && report.bytes_read > 0);
    char path[4096];
    kv_prefix prefix;
    CHECK(kv_vault_find(v->vault, ids, 2 * N, &prefix) == RT_OK && prefix.n_segments == 2);
    (void)snprintf(path, sizeof path, "%s", kv_file_path(kv_segment_file(prefix.segments[1])));
    const int64_t run = kv_segment_layer(prefix.segments[1], 1)[0].offset;
    kv_prefix_free(&prefix);
    kvh_flip(path, run + 100);
    CHECK(help_verify_book(books, "war", &report) == RT_OK);
    CHECK(report.n_bad == 1 && strstr(report.first_error, "checksum"));
    CHECK(report.n_segments == 3 && report.n_runs >= 2 * KVH_LAYERS * KVH_HEADS);
    CHECK(kvh_count_files(v->dirs[0], ".bad") == 1);
    CHECK(help_verify_book(books, "war", &report) == RT_OK);
    CHECK(report.n_bad == 1 && strstr(report.first_error, "missing"));
    CHECK(kv_books_read(books, "war", &book) == RT_OK && book.n_missing == 1);
    kv_book_free(&book);
    CHECK(kvh_find(v, ids, 2 * N + 70, NULL) == N);
    CHECK(kvh_write_prefix(v, ids, 2 * N + 100, NULL) == 3); /* made good */
    CHECK(help_verify_book(books, "war", &report) == RT_OK && report.n_bad == 0);
}

static void check_other_model(kvh_vault *v, kv_books *books) {
    kv_book book;
    CHECK(kv_books_read(books, "war", &book) == RT_OK);
    CHECK(kv_vault_check_book(v->vault, &book) == RT_OK);
    kvh_vault_close(v);
    v->model = "kv=int8\n";
    kvh_vault_open(v, NULL);
    CHECK(kv_vault_check_book(v->vault, &book) == RT_EUSAGE);
    CHECK(strcmp(rt_error_text(),
                  "kvstore: book war was made with kv=bf16, this run has kv=int8") == 0);
    kvh_vault_close(v);
    v->model = "kv=bf16\nlinear=other\n";
    kvh_vault_open(v, NULL);
    CHECK(kv_vault_check_book(v->vault, &book) == RT_EUSAGE);
    CHECK(strcmp(rt_error_text(),
                  "kvstore: book war was made with less, this run has linear=other") == 0);
    kv_book_free(&book);
    kvh_vault_close(v);
    v->model = "kv=bf16\n";
    kvh_vault_open(v, NULL);
}

static void check_removal(kvh_vault *v, kv_books *books, const int32_t *ids) {
    kv_gc_report report;
    int32_t *others = kvh_ids(9, N);
    CHECK(kvh_write_prefix(v, others, N, NULL) == 1);
    CHECK(kv_books_gc(books, 0, &report) == RT_OK && report.n_removed >= 1);
    CHECK(report.bytes_after < report.bytes_before);
    CHECK(kvh_find(v, others, N, NULL) == 0);
    CHECK(kvh_find(v, ids, 2 * N, NULL) == 2 * N);
    CHECK(kv_books_remove(books, "war") == RT_OK);
    CHECK(kv_books_remove(books, "war") == RT_EUSAGE);
    CHECK(strstr(rt_error_text(), "no book war"));
    check_listing(books, 1, "peace");
    CHECK(kv_books_gc(books, 0, &report) == RT_OK && report.n_removed == 2);
    CHECK(kvh_find(v, ids, 2 * N, NULL) == N); /* "peace" holds the first */
    free(others);
}

static void check_damaged_manifest(kvh_vault *v, kv_books *books) {
    kv_book book;
    kv_book_report report;
    kvh_flip(kvh_only_file(v->dirs[0], "peace.book"), 40);
    CHECK(kv_books_read(books, "peace", &book) == RT_ECORRUPT);
    CHECK(help_verify_book(books, "peace", &report) == RT_ECORRUPT);
    check_listing(books, 1, "peace");
    CHECK(kv_books_remove(books, "peace") == RT_OK);
    check_listing(books, 0, NULL);
}

/* Directories are the same in any order: the book that was written last is the only one of its name. */
static void check_order_of_directories(void) {
    kvh_vault v = kvh_vault_new(2);
    kvh_vault swapped = v;
    const char *dirs[] = {v.dirs[0], v.dirs[1]};
    kv_books *books;
    kv_book book;
    int32_t *ids = kvh_ids(3, N);
    kv_hash chain;
    memcpy(swapped.dirs[0], v.dirs[1], sizeof v.dirs[0]);
    memcpy(swapped.dirs[1], v.dirs[0], sizeof v.dirs[0]);
    kvh_vault_open(&v, NULL);
    CHECK(kvh_write_segment(&v, kv_vault_root(v.vault), 0, ids, N, &chain) == RT_OK);
    CHECK(kv_vault_write_book(v.vault, "war", &chain, 1, N, "source=old") == RT_OK);
    kvh_vault_open(&swapped, NULL);
    CHECK(kv_vault_write_book(swapped.vault, "war", &chain, 1, 50, "source=new") == RT_OK);
    CHECK(kv_books_open(dirs, 2, &books) == RT_OK);
    CHECK(kv_books_read(books, "war", &book) == RT_OK);
    CHECK(book.n_tokens == 50 && strcmp(book.note, "source=new\n") == 0);
    kv_book_free(&book);
    kv_books_close(books);
    kvh_vault_close(&swapped);
    free(ids);
    kvh_vault_remove(&v);
}

static void check_books(int32_t n_dirs) {
    kvh_vault v = kvh_vault_new(n_dirs);
    kv_books *books = open_books(&v);
    int32_t *ids = kvh_ids(1, 3 * N);
    kv_hash chains[3];
    kv_gc_report report;
    check_listing(books, 0, NULL);
    CHECK(kv_books_gc(books, 0, &report) == RT_OK && report.bytes_before == 0);
    CHECK(kvh_count_files(v.dirs[0], "") == 0);
    kvh_vault_open(&v, NULL);
    CHECK(kvh_write_prefix(&v, ids, 2 * N + 100, chains) == 3);
    CHECK(kv_vault_write_book(v.vault, "no/good", chains, 3, 2 * N + 70, NULL) == RT_EUSAGE);
    CHECK(kv_vault_write_book(v.vault, "war", chains, 3, 2 * N + 70, "x=\001") == RT_EUSAGE);
    CHECK(kv_vault_write_book(v.vault, "war", chains, 1, N, "source=old") == RT_OK);
    CHECK(kv_vault_write_book(v.vault, "war", chains, 3, 2 * N + 70, "source=war.txt\nsha256=00") ==
            RT_OK);
    CHECK(kv_vault_write_book(v.vault, "peace", chains, 1, N, NULL) == RT_OK);
    check_listing(books, 2, "peace");
    check_book(books, chains);
    if (n_dirs == 1) check_verify(&v, books, ids);
    check_other_model(&v, books);
    check_removal(&v, books, ids);
    chains[1].bytes[5] ^= 1;
    CHECK(kv_vault_write_book(v.vault, "lost", chains, 2, 2 * N, NULL) == RT_EIO);
    check_damaged_manifest(&v, books);
    kv_books_close(books);
    free(ids);
    kvh_vault_remove(&v);
}

int main(void) {
    check_order_of_directories();
    check_names();
    check_books(1);
    check_books(3);
    return 0;
}

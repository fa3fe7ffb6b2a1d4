/* Books without a model: listed, read, removed; and gc. books_verify.c reads all of one. Manifests are in
 * book_format.c, the vault writes them (vault_books.c). */
#include "books.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book_format.h"
#include "runtime/base/memory.h"
#include "vault_inside.h"
#include "vault_space.h"

enum { FINGERPRINT_BYTES_MAX = 64 << 10 };

/* ---- open, close ----------------------------------------------------------------------------- */

rt_status kv_books_open_on(kv_io *io, const char *const *dirs, int32_t n_dirs, kv_books **out) {
    kv_books *books = NULL;
    RT_TRY(rt_calloc(1, sizeof *books, "books", &books));
    const rt_status status = kv_dirs_open(io, dirs, n_dirs, &books->dirs);
    if (status != RT_OK) {
        free(books);
        return status;
    }
    *out = books;
    return RT_OK;
}

static void close_io(kv_io *io) {
    const rt_status ignored = kv_io_close(io); /* what is late stays the kernel's */
    (void)ignored;
}

rt_status kv_books_open(const char *const *dirs, int32_t n_dirs, kv_books **out) {
    kv_io *io = NULL;
    RT_TRY(kv_io_create(&(kv_io_config){.mode = KV_IO_AUTO}, &io));
    const rt_status status = kv_books_open_on(io, dirs, n_dirs, out);
    if (status != RT_OK) {
        close_io(io);
        return status;
    }
    (*out)->own_io = io;
    return RT_OK;
}

static void forget_ahead(kv_books *books) {
    for (int32_t i = 0; i < books->n_ahead; i++) free(books->ahead[i]);
    books->n_ahead = 0;
}

void kv_books_close(kv_books *books) {
    if (!books) return;
    forget_ahead(books);
    kv_listing_free(&books->seen);
    free(books->model_text);
    kv_dirs_close(&books->dirs);
    if (books->own_io) close_io(books->own_io);
    free(books);
}

rt_status kv_books_bytes(kv_books *books, int64_t *n_bytes) {
    kv_listing listing;
    RT_TRY(kv_dirs_scan(&books->dirs, &listing));
    *n_bytes = listing.bytes;
    kv_listing_free(&listing);
    return RT_OK;
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(((const kv_entry *)a)->path, ((const kv_entry *)b)->path);
}

rt_status kv_books_survey(kv_books *books, int64_t *n_bytes) {
    forget_ahead(books);
    kv_listing_free(&books->seen);
    books->has_seen = false;
    RT_TRY(kv_dirs_scan(&books->dirs, &books->seen));
    if (books->seen.n_entries > 0)
        qsort(books->seen.entries, (size_t)books->seen.n_entries, sizeof *books->seen.entries,
                compare_paths);
    books->has_seen = true;
    *n_bytes = books->seen.bytes;
    return RT_OK;
}

/* ---- list ------------------------------------------------------------------------------------ */

typedef struct name_list {
    char **names;
    int64_t n;
} name_list;

static void free_names(name_list *list) {
    for (int64_t i = 0; i < list->n; i++) free(list->names[i]);
    free(list->names);
    *list = (name_list){0};
}

/* "NAME.book" -> NAME, once. */
static rt_status add_name(name_list *list, const char *file_name) {
    const size_t n = strlen(file_name);
    char name[KV_BOOK_NAME_MAX + 1];
    if (n <= 5 || n - 5 > KV_BOOK_NAME_MAX || strcmp(file_name + n - 5, ".book") != 0) return RT_OK;
    memcpy(name, file_name, n - 5);
    name[n - 5] = 0;
    if (kv_book_check_name(name) != RT_OK) return RT_OK;
    for (int64_t i = 0; i < list->n; i++)
        if (strcmp(list->names[i], name) == 0) return RT_OK;
    char **more = realloc(list->names, (size_t)(list->n + 1) * sizeof *more);
    if (more) list->names = more;
    char *copy = more ? strdup(name) : NULL;
    if (!copy) return rt_fail(RT_ENOMEM, "kvstore: no memory to list books");
    list->names[list->n++] = copy;
    return RT_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

rt_status kv_books_list(kv_books *books, char ***names, int64_t *n_names) {
    name_list list = {0};
    rt_status status = RT_OK;
    for (int32_t dir = 0; dir < books->dirs.n_dirs && status == RT_OK; dir++) {
        const kv_path folder = kv_dirs_join(&books->dirs, dir, "books", "");
        kv_names files;
        status = kv_path_list(books->dirs.io, folder.text, &files);
        for (int64_t i = 0; i < files.n_names && status == RT_OK; i++)
            status = add_name(&list, files.names[i]);
        kv_names_free(&files);
    }
    if (status != RT_OK) {
        free_names(&list);
        return status;
    }
    if (list.n > 0) qsort(list.names, (size_t)list.n, sizeof *list.names, compare_names);
    *names = list.names;
    *n_names = list.n;
    return RT_OK;
}

/* ---- read ------------------------------------------------------------------------------------ */

static rt_status no_such_book(const char *name) {
    return rt_fail(RT_EUSAGE, "kvstore: there is no book %s", name);
}

/* Of the survey; NULL: none. */
static const kv_entry *seen_at(const kv_books *books, const char *path) {
    const kv_entry key = {.path = (char *)path};
    return books->seen.n_entries == 0
                   ? NULL
                   : bsearch(&key, books->seen.entries, (size_t)books->seen.n_entries, sizeof key,
                             compare_paths);
}

/* The manifests that lie at `first` of the survey and behind it, side by side. */
static void read_ahead(kv_books *books, int64_t first) {
    const char *paths[KV_TEXTS_AT_ONCE];
    forget_ahead(books);
    books->first_ahead = first;
    while (books->n_ahead < KV_TEXTS_AT_ONCE && first + books->n_ahead < books->seen.n_entries &&
            books->seen.entries[first + books->n_ahead].kind == KV_ENTRY_BOOK) {
        paths[books->n_ahead] = books->seen.entries[first + books->n_ahead].path;
        books->n_ahead++;
    }
    kv_dirs_read_texts(&books->dirs, paths, books->n_ahead, KV_BOOK_BYTES_MAX, books->ahead,
            books->ahead_bytes);
}

/* A copy, where it was read ahead. RT_ENOMEM. */
static rt_status copy_ahead(kv_books *books, const char *path, char **text, int64_t *n_bytes) {
    const kv_entry *entry = seen_at(books, path);
    if (!entry || entry->kind != KV_ENTRY_BOOK) return RT_OK;
    const int64_t number = entry - books->seen.entries;
    if (number < books->first_ahead || number >= books->first_ahead + books->n_ahead)
        read_ahead(books, number);
    const int64_t i = number - books->first_ahead;
    if (!books->ahead[i]) return RT_OK;
    void *copy = NULL;
    *n_bytes = books->ahead_bytes[i];
    RT_TRY(rt_malloc(*n_bytes + 1, "a manifest", &copy));
    *text = memcpy(copy, books->ahead[i], (size_t)*n_bytes + 1);
    return RT_OK;
}

/* The manifest's text, from the first directory that has it. */
static rt_status read_manifest(kv_books *books, const char *name, char **text, int64_t *n_bytes) {
    char file_name[KV_BOOK_NAME_MAX + 8];
    RT_TRY(kv_book_check_name(name));
    (void)snprintf(file_name, sizeof file_name, "%s.book", name);
    *text = NULL;
    for (int32_t dir = 0; dir < books->dirs.n_dirs; dir++) {
        const kv_path path = kv_dirs_join(&books->dirs, dir, "books", file_name);
        bool exists;
        if (books->has_seen) RT_TRY(copy_ahead(books, path.text, text, n_bytes));
        if (*text) return RT_OK;
        RT_TRY(kv_dirs_read_text(
                &books->dirs, path.text, KV_BOOK_BYTES_MAX, text, n_bytes, &exists));
        if (exists) return RT_OK;
    }
    return no_such_book(name);
}

/* Whether a line before `line` names the same shard, n bytes long behind the key. */
static bool is_earlier(const kv_shard_reader *r, const char *line, size_t n) {
    const size_t n_name = n + strlen("shard=");
    for (const char *at = strstr(r->whole, "shard="); at && at < line;
            at = strstr(at + 1, "shard="))
        if (memcmp(at, line, n_name) == 0 && strcspn(at, " \n") == n_name) return true;
    return false;
}

bool kv_shard_next(kv_shard_reader *r, char shard[KV_SHARD_BYTES]) {
    static const char key[] = "shard=";
    for (const char *line = strstr(r->note, key); line; line = strstr(line + 1, key)) {
        const size_t n = strcspn(line + sizeof key - 1, " \n");
        if (line != r->note && line[-1] != '\n') continue;
        if (n + 2 > KV_SHARD_BYTES || is_earlier(r, line, n)) continue;
        (void)snprintf(shard, KV_SHARD_BYTES, ".%.*s", (int)n, line + sizeof key - 1);
        r->note = line + sizeof key - 1;
        r->has_any = true;
        return true;
    }
    const bool is_whole = !r->has_any && !r->is_over;
    r->is_over = true;
    shard[0] = '\0';
    return is_whole;
}

/* As kv_path_stat, or as the survey has it. */
static bool is_there(kv_books *books, const char *path, kv_io_stat *st) {
    bool exists;
    if (!books->has_seen) return kv_path_stat(books->dirs.io, path, st, &exists) == RT_OK && exists;
    const kv_entry *entry = seen_at(books, path);
    if (entry) *st = entry->stat;
    return entry != NULL;
}

int32_t kv_books_locate(kv_books *books, const kv_book *book, int32_t segment, const char *shard,
        int32_t dir, kv_path *path, kv_io_stat *st) {
    char suffix[KV_SHARD_BYTES + 8];
    (void)snprintf(suffix, sizeof suffix, "%s.kvs", shard);
    const kv_hash fingerprint = kv_hash_of(book->fingerprint);
    const kv_hash chain = kv_hash_of(book->chains[segment]);
    for (; dir < books->dirs.n_dirs; dir++) {
        *path = kv_dirs_path(&books->dirs, dir, &fingerprint, &chain, suffix);
        if (is_there(books, path->text, st)) return dir;
    }
    return -1;
}

static rt_status read_fingerprint(kv_books *books, kv_book *book) {
    const kv_hash model = kv_hash_of(book->fingerprint);
    if (books->model_text && kv_hash_equal(&books->model, &model)) {
        book->fingerprint_text = strdup(books->model_text);
        return book->fingerprint_text ? RT_OK : rt_fail(RT_ENOMEM, "kvstore: no memory for a book");
    }
    char hex[KV_HEX_BYTES], folder[9], name[KV_HEX_BYTES + 16];
    const kv_hash fingerprint = kv_hash_of(book->fingerprint);
    (void)snprintf(name, sizeof name, "%s.fingerprint", kv_hash_hex(&fingerprint, hex));
    (void)snprintf(folder, sizeof folder, "%.8s", hex);
    for (int32_t dir = 0; dir < books->dirs.n_dirs && !book->fingerprint_text; dir++) {
        const kv_path path = kv_dirs_join(&books->dirs, dir, folder, name);
        int64_t n_bytes;
        bool exists;
        if (kv_dirs_read_text(&books->dirs, path.text, FINGERPRINT_BYTES_MAX,
                    &book->fingerprint_text, &n_bytes, &exists) == RT_ENOMEM)
            return RT_ENOMEM;
        while (book->fingerprint_text && n_bytes > 0 && book->fingerprint_text[n_bytes - 1] == '\n')
            book->fingerprint_text[--n_bytes] = 0;
    }
    if (book->fingerprint_text) {
        free(books->model_text);
        books->model_text = strdup(book->fingerprint_text); /* or it is read again */
        books->model = model;
    }
    if (!book->fingerprint_text) book->fingerprint_text = strdup("");
    return book->fingerprint_text ? RT_OK : rt_fail(RT_ENOMEM, "kvstore: no memory for a book");
}

/* One segment: whether all of it is there, and its size. */
static void measure(kv_books *books, int32_t segment, kv_book *book) {
    kv_shard_reader shards = {.whole = book->note, .note = book->note};
    char shard[KV_SHARD_BYTES];
    bool is_missing = false;
    while (kv_shard_next(&shards, shard)) {
        kv_path path;
        kv_io_stat st;
        int32_t n_copies = 0;
        for (int32_t dir = -1;
                (dir = kv_books_locate(books, book, segment, shard, dir + 1, &path, &st)) >= 0;
                n_copies++)
            book->stored_bytes += st.physical_bytes;
        is_missing |= n_copies == 0;
    }
    book->n_missing += is_missing;
}

rt_status kv_books_read(kv_books *books, const char *name, kv_book *out) {
    char *text = NULL;
    int64_t n_bytes;
    *out = (kv_book){0};
    RT_TRY(read_manifest(books, name, &text, &n_bytes));
    rt_status status = kv_book_parse(text, n_bytes, out);
    free(text);
    if (status == RT_ECORRUPT) status = rt_fail(status, "%s (book %s)", rt_error_text(), name);
    if (status == RT_OK && strcmp(out->name, name) != 0)
        status = rt_fail(
                RT_ECORRUPT, "kvstore: the manifest of book %s says it is %s", name, out->name);
    if (status == RT_OK) status = read_fingerprint(books, out);
    for (int32_t i = 0; i < out->n_segments && status == RT_OK; i++) measure(books, i, out);
    if (status != RT_OK) kv_book_free(out);
    return status;
}

/* ---- remove ---------------------------------------------------------------------------------- */

static rt_status remove_everywhere(kv_books *books, const char *file_name, bool *found) {
    for (int32_t dir = 0; dir < books->dirs.n_dirs; dir++) {
        const kv_path path = kv_dirs_join(&books->dirs, dir, "books", file_name);
        const kv_path folder = kv_path_parent(&path);
        kv_io_stat st;
        bool exists;
        RT_TRY(kv_path_stat(books->dirs.io, path.text, &st, &exists));
        if (!exists) continue;
        *found = true;
        RT_TRY(kv_path_unlink(books->dirs.io, path.text));
        RT_TRY(kv_path_sync_dir(books->dirs.io, folder.text));
    }
    return RT_OK;
}

rt_status kv_books_remove(kv_books *books, const char *name) {
    char file_name[KV_BOOK_NAME_MAX + 8];
    bool found = false;
    RT_TRY(kv_book_check_name(name));
    (void)snprintf(file_name, sizeof file_name, "%s.book", name);
    RT_TRY(remove_everywhere(books, file_name, &found));
    return found ? RT_OK : no_such_book(name);
}

/* ---- gc -------------------------------------------------------------------------------------- */

/* Whether there is anything at all; then the other directories are made, to be locked. */
static rt_status has_any(kv_books *books, bool *has) {
    *has = false;
    for (int32_t dir = 0; dir < books->dirs.n_dirs && !*has; dir++) {
        kv_io_stat st;
        RT_TRY(kv_path_stat(books->dirs.io, books->dirs.roots[dir], &st, has));
    }
    return *has ? kv_dirs_make(&books->dirs) : RT_OK;
}

rt_status kv_books_gc(kv_books *books, int64_t bytes_max, kv_gc_report *report) {
    kv_space_report space = {0};
    bool has;
    *report = (kv_gc_report){0};
    RT_TRY(has_any(books, &has));
    if (!has) return RT_OK;
    RT_TRY(kv_dirs_lock_stoppable(&books->dirs));
    const rt_status status = kv_space_shrink(&books->dirs, bytes_max, &space);
    kv_dirs_unlock(&books->dirs);
    *report = (kv_gc_report){.n_removed = space.n_swept + space.n_evicted,
            .bytes_before = space.bytes_before,
            .bytes_after = space.bytes_used};
    return status;
}

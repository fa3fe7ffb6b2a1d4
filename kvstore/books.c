/* Books without a model: listed, read, verified, removed; and gc. Manifests are in book_format.c, the
 * vault writes them (vault_books.c). */
#include "books.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book_format.h"
#include "runtime/base/machine.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "segment.h"
#include "vault.h"
#include "vault_inside.h"
#include "vault_space.h"

enum { FINGERPRINT_BYTES_MAX = 64 << 10 };

struct kv_books {
    kv_io *own_io; /* NULL: the caller's */
    kv_dirs dirs;
};

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

void kv_books_close(kv_books *books) {
    if (!books) return;
    kv_dirs_close(&books->dirs);
    if (books->own_io) close_io(books->own_io);
    free(books);
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

/* The manifest's text, from the first directory that has it. */
static rt_status read_manifest(kv_books *books, const char *name, char **text, int64_t *n_bytes) {
    char file_name[KV_BOOK_NAME_MAX + 8];
    RT_TRY(kv_book_check_name(name));
    (void)snprintf(file_name, sizeof file_name, "%s.book", name);
    for (int32_t dir = 0; dir < books->dirs.n_dirs; dir++) {
        const kv_path path = kv_dirs_join(&books->dirs, dir, "books", file_name);
        bool exists;
        RT_TRY(kv_dirs_read_text(
                &books->dirs, path.text, KV_BOOK_BYTES_MAX, text, n_bytes, &exists));
        if (exists) return RT_OK;
    }
    return no_such_book(name);
}

static kv_hash hash_of(const uint8_t bytes[32]) {
    kv_hash hash;
    memcpy(hash.bytes, bytes, sizeof hash.bytes);
    return hash;
}

/* The next of the note's lines "shard=2-3of4 ...", of ranks that keep some heads each, as the part of
 * their files' names; a book without any has whole files. False: there is no further one. */
typedef struct shard_reader {
    const char *note;
    bool has_any;
    bool is_over;
} shard_reader;

static bool next_shard(shard_reader *r, char shard[KV_SHARD_BYTES]) {
    static const char key[] = "shard=";
    for (const char *line = strstr(r->note, key); line; line = strstr(line + 1, key)) {
        const size_t n = strcspn(line + sizeof key - 1, " \n");
        if (line != r->note && line[-1] != '\n') continue;
        if (n + 2 > KV_SHARD_BYTES) continue;
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

/* Which directory has a segment of a book, or one rank's part of it; -1: none. */
static int32_t locate(kv_books *books, const kv_book *book, int32_t segment, const char *shard,
        kv_path *path, kv_io_stat *st) {
    char suffix[KV_SHARD_BYTES + 8];
    (void)snprintf(suffix, sizeof suffix, "%s.kvs", shard);
    const kv_hash fingerprint = hash_of(book->fingerprint);
    const kv_hash chain = hash_of(book->chains[segment]);
    for (int32_t dir = 0; dir < books->dirs.n_dirs; dir++) {
        bool exists;
        *path = kv_dirs_path(&books->dirs, dir, &fingerprint, &chain, suffix);
        if (kv_path_stat(books->dirs.io, path->text, st, &exists) == RT_OK && exists) return dir;
    }
    return -1;
}

static rt_status read_fingerprint(kv_books *books, kv_book *book) {
    char hex[KV_HEX_BYTES], folder[9], name[KV_HEX_BYTES + 16];
    const kv_hash fingerprint = hash_of(book->fingerprint);
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
    if (!book->fingerprint_text) book->fingerprint_text = strdup("");
    return book->fingerprint_text ? RT_OK : rt_fail(RT_ENOMEM, "kvstore: no memory for a book");
}

/* One segment: whether all of it is there, and its size. */
static void measure(kv_books *books, int32_t segment, kv_book *book) {
    shard_reader shards = {.note = book->note};
    char shard[KV_SHARD_BYTES];
    bool is_missing = false;
    while (next_shard(&shards, shard)) {
        kv_path path;
        kv_io_stat st = {0};
        is_missing |= locate(books, book, segment, shard, &path, &st) < 0;
        book->stored_bytes += st.physical_bytes;
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

/* ---- verify ---------------------------------------------------------------------------------- */

struct kv_verify {
    kv_books *books;
    kv_book book;
    kv_codec *codec;
    kv_book_report report;
    uint8_t *stored, *raw;
    int64_t stored_room, raw_room;
};

static rt_status grow(uint8_t **bytes, int64_t *room, int64_t n_bytes) {
    if (n_bytes <= *room) return RT_OK;
    free(*bytes);
    *bytes = NULL;
    *room = 0;
    void *memory = NULL;
    RT_TRY(rt_malloc(n_bytes, "a run to verify", &memory));
    *bytes = memory;
    *room = n_bytes;
    return RT_OK;
}

static rt_status verify_runs(kv_verify *v, kv_segment *segment) {
    const kv_run_shape shape = kv_segment_run_shape(segment);
    RT_TRY(grow(&v->stored, &v->stored_room, kv_run_stored_bytes_max(&shape)));
    RT_TRY(grow(&v->raw, &v->raw_room, kv_run_raw_bytes(&shape)));
    for (int32_t layer = 0; layer < segment->header.shape.n_layers; layer++)
        for (int32_t head = 0; head < segment->header.shape.n_kv_heads; head++) {
            const kv_run_place *run = &kv_segment_layer(segment, layer)[head];
            const kv_run_address address = kv_segment_address(segment, layer, head);
            RT_TRY(kv_blocks_read(
                    v->books->dirs.blocks, segment->file, run->offset, run->n_bytes, v->stored));
            v->report.bytes_read += run->n_bytes;
            RT_TRY(kv_run_decode(v->codec, &address, &shape, v->stored, run->n_bytes, v->raw));
            v->report.n_runs++;
        }
    return RT_OK;
}

/* Whether the segment is the one that the book has at this place. */
static rt_status check_place(const kv_book *book, int32_t i, const kv_segment *segment) {
    const kv_segment_header *h = &segment->header;
    const int64_t n_here = rt_min64(book->n_tokens - h->first_pos, KV_SEGMENT_TOKENS);
    const bool is_next = i == 0 || memcmp(h->parent.bytes, book->chains[i - 1], 32) == 0;
    if (is_next && h->first_pos == (int64_t)i * KV_SEGMENT_TOKENS && h->n_tokens >= n_here &&
            segment->footer.is_complete && memcmp(h->fingerprint.bytes, book->fingerprint, 32) == 0)
        return RT_OK;
    return rt_fail(
            RT_ECORRUPT, "kvstore: segment %" PRId32 " of book %s is another one", i, book->name);
}

static rt_status verify_file(kv_verify *v, int32_t i, const char *shard) {
    kv_path path;
    kv_io_stat st;
    kv_segment *segment = NULL;
    const kv_hash chain = hash_of(v->book.chains[i]);
    if (locate(v->books, &v->book, i, shard, &path, &st) < 0)
        return rt_fail(RT_EIO, "kvstore: segment %" PRId32 "%s of book %s is missing", i, shard,
                v->book.name);
    rt_status status = kv_segment_open(&v->books->dirs, path.text, &chain, &segment);
    if (status == RT_OK) status = check_place(&v->book, i, segment);
    if (status == RT_OK) status = verify_runs(v, segment);
    if (status == RT_ECORRUPT) kv_dirs_quarantine(&v->books->dirs, path.text, rt_error_text());
    kv_segment_close(segment);
    return status;
}

/* All of its files, also after one that is bad: each is quarantined. */
static rt_status verify_segment(kv_verify *v, int32_t i) {
    shard_reader shards = {.note = v->book.note};
    char shard[KV_SHARD_BYTES];
    char text[KV_WHY_BYTES] = "";
    rt_status status = RT_OK;
    while (next_shard(&shards, shard)) {
        const rt_status one = verify_file(v, i, shard);
        if (one == RT_ENOMEM) return one;
        if (one != RT_OK && status == RT_OK) {
            status = one;
            (void)snprintf(text, sizeof text, "%s", rt_error_text());
        }
    }
    return status == RT_OK ? RT_OK : rt_fail(status, "%s", text);
}

rt_status kv_verify_begin(kv_books *books, const char *name, kv_verify **out) {
    kv_verify *verify = NULL;
    RT_TRY(rt_calloc(1, sizeof *verify, "a book to verify", &verify));
    verify->books = books;
    rt_status status = kv_books_read(books, name, &verify->book);
    if (status == RT_OK) status = kv_codec_create(rt_machine_isa(), &verify->codec);
    if (status != RT_OK) {
        kv_verify_end(verify);
        return status;
    }
    *out = verify;
    return RT_OK;
}

rt_status kv_verify_step(kv_verify *verify, bool *is_done) {
    kv_book_report *report = &verify->report;
    *is_done = report->n_segments == verify->book.n_segments;
    if (*is_done) return RT_OK;
    const rt_status status = verify_segment(verify, (int32_t)report->n_segments);
    if (status == RT_ENOMEM) return status;
    if (status != RT_OK && report->n_bad++ == 0)
        (void)snprintf(report->first_error, sizeof report->first_error, "%s", rt_error_text());
    *is_done = ++report->n_segments == verify->book.n_segments;
    return RT_OK;
}

const kv_book_report *kv_verify_report(const kv_verify *verify) {
    return &verify->report;
}

void kv_verify_end(kv_verify *verify) {
    if (!verify) return;
    kv_codec_free(verify->codec);
    free(verify->stored);
    free(verify->raw);
    kv_book_free(&verify->book);
    free(verify);
}

rt_status kv_books_verify(kv_books *books, const char *name, kv_book_report *report) {
    kv_verify *verify = NULL;
    bool is_done = false;
    *report = (kv_book_report){0};
    RT_TRY(kv_verify_begin(books, name, &verify));
    rt_status status = RT_OK;
    while (status == RT_OK && !is_done) status = kv_verify_step(verify, &is_done);
    *report = *kv_verify_report(verify);
    kv_verify_end(verify);
    return status;
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
    RT_TRY(kv_dirs_lock(&books->dirs));
    const rt_status status = kv_space_shrink(&books->dirs, bytes_max, &space);
    kv_dirs_unlock(&books->dirs);
    *report = (kv_gc_report){.n_removed = space.n_swept + space.n_evicted,
            .bytes_before = space.bytes_before,
            .bytes_after = space.bytes_used};
    return status;
}

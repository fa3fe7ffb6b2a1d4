/* Every byte of a book: each segment, each shard of it, each copy of that is opened and all its runs are
 * decoded. What is damaged is quarantined. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "books.h"
#include "runtime/base/machine.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "segment.h"

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

static rt_status verify_run(
        kv_verify *v, kv_segment *segment, int32_t layer, int32_t head, kv_reader *reader) {
    const int64_t n_bytes = kv_segment_layer(segment, layer)[head].n_bytes;
    const kv_run_address address = kv_segment_address(segment, layer, head);
    const kv_run_shape shape = kv_segment_run_shape(kv_segment_header_of(segment));
    RT_TRY(kv_reader_take(reader, v->stored, n_bytes));
    v->report.bytes_read += n_bytes;
    RT_TRY(kv_run_decode(v->codec, &address, &shape, v->stored, n_bytes, v->raw));
    v->report.n_runs++;
    return RT_OK;
}

/* Its runs lie side by side. */
static rt_status verify_layer(kv_verify *v, kv_segment *segment, int32_t layer) {
    const kv_run_place *runs = kv_segment_layer(segment, layer);
    kv_reader *reader = NULL;
    int64_t n_bytes = 0;
    rt_status status = RT_OK;
    for (int32_t head = 0; head < segment->header.shape.n_kv_heads; head++)
        n_bytes += runs[head].n_bytes;
    RT_TRY(kv_reader_open(v->books->dirs.blocks, segment->file, runs[0].offset, n_bytes, &reader));
    for (int32_t head = 0; head < segment->header.shape.n_kv_heads && status == RT_OK; head++)
        status = verify_run(v, segment, layer, head, reader);
    kv_reader_close(reader);
    return status;
}

static rt_status verify_runs(kv_verify *v, kv_segment *segment) {
    const kv_run_shape shape = kv_segment_run_shape(kv_segment_header_of(segment));
    RT_TRY(grow(&v->stored, &v->stored_room, kv_run_stored_bytes_max(&shape)));
    RT_TRY(grow(&v->raw, &v->raw_room, kv_run_raw_bytes(&shape)));
    for (int32_t layer = 0; layer < segment->header.shape.n_layers; layer++)
        RT_TRY(verify_layer(v, segment, layer));
    return RT_OK;
}

rt_status kv_book_check_place(const kv_book *book, int32_t i, const kv_segment *segment) {
    const kv_segment_header *h = &segment->header;
    const int64_t n_here = rt_min64(book->n_tokens - h->first_pos, KV_SEGMENT_TOKENS);
    const bool is_next = i == 0 || memcmp(h->parent.bytes, book->chains[i - 1], 32) == 0;
    if (is_next && h->first_pos == (int64_t)i * KV_SEGMENT_TOKENS && h->n_tokens >= n_here &&
            segment->footer.is_complete && memcmp(h->fingerprint.bytes, book->fingerprint, 32) == 0)
        return RT_OK;
    return rt_fail(RT_ECORRUPT,
            "kvstore: book %s: segment %" PRId32 " of %" PRId32 " is another one", book->name,
            i + 1, book->n_segments);
}

static rt_status verify_file(kv_verify *v, int32_t i, const char *path) {
    kv_segment *segment = NULL;
    const kv_hash chain = kv_hash_of(v->book.chains[i]);
    rt_status status = kv_segment_open(&v->books->dirs, path, &chain, &segment);
    if (status == RT_OK) status = kv_book_check_place(&v->book, i, segment);
    if (status == RT_OK) status = verify_runs(v, segment);
    if (status == RT_ECORRUPT) kv_dirs_quarantine(&v->books->dirs, path, rt_error_text());
    kv_segment_close(segment);
    return status;
}

/* The first failure stays, with the file's name. */
static void note_failure(rt_status one, const char *path, rt_status *status, char *text) {
    if (one == RT_OK || *status != RT_OK) return;
    *status = one;
    if (strstr(rt_error_text(), path))
        (void)snprintf(text, KV_WHY_BYTES, "%s", rt_error_text());
    else
        (void)snprintf(text, KV_WHY_BYTES, "%s: %s", path, rt_error_text());
}

/* All copies of one shard. */
static rt_status verify_shard(
        kv_verify *v, int32_t i, const char *shard, rt_status *status, char *text) {
    kv_path path;
    kv_io_stat st;
    int32_t n_copies = 0;
    for (int32_t dir = -1;
            (dir = kv_books_locate(v->books, &v->book, i, shard, dir + 1, &path, &st)) >= 0;
            n_copies++) {
        const rt_status one = verify_file(v, i, path.text);
        if (one == RT_ENOMEM) return one;
        note_failure(one, path.text, status, text);
    }
    if (n_copies == 0)
        note_failure(rt_fail(RT_EIO,
                             "kvstore: book %s: segment %" PRId32 " of %" PRId32 " is missing%s%s",
                             v->book.name, i + 1, v->book.n_segments, *shard ? ", KV heads " : "",
                             *shard ? shard + 1 : ""),
                "segment", status, text);
    return RT_OK;
}

/* All of its files, also after one that is bad: each is quarantined. */
static rt_status verify_segment(kv_verify *v, int32_t i) {
    kv_shard_reader shards = {.whole = v->book.note, .note = v->book.note};
    char shard[KV_SHARD_BYTES];
    char text[KV_WHY_BYTES] = "";
    rt_status status = RT_OK;
    while (kv_shard_next(&shards, shard)) RT_TRY(verify_shard(v, i, shard, &status, text));
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

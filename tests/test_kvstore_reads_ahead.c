/* What is read from end to end has several reads on their way at a time: a suspended span's rows and hidden states, state
 * beside a text. So a disk that is far away is waited for a fraction of the times that it is read.
 *
 * Method: an engine before a file system in memory whose answers come together, when somebody has to wait for the first of
 * them; the waits are counted. Bytes as they were written, whatever pieces they are taken in; and where one of the reads
 * fails or is never answered, those before it are right, those behind it are not given, and nothing is left over. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "help_kv_io.h"
#include "help_kv_kept.h"
#include "help_kv_memfs.h"
#include "kvstore/io_blocks.h"

enum { MIB = 1 << 20, FILE_BYTES = 37 * MIB + 5000, HELD_MAX = 64 };

/* ---- a disk far away ------------------------------------------------------------------------- */

static kv_io_engine inner;
static kv_io_request held[HELD_MAX];
static int n_held;
static int64_t n_waits, n_reads, fails_at; /* the read of so many before; -1: none does */

static int hold(void *self, const kv_io_request *requests, int n) {
    (void)self;
    CHECK(n_held + n <= HELD_MAX);
    memcpy(held + n_held, requests, (size_t)n * sizeof *held);
    n_held += n;
    return n;
}

static int answer_held(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    int n = 0;
    if (timeout_ms == 0 || n_held == 0) return 0;
    n_waits += !held[0].is_write;
    for (; n < n_held && n < n_max; n++) {
        const bool fails = !held[n].is_write && n_reads++ == fails_at;
        if (fails) answers[n] = (kv_io_answer){.tag = held[n].tag, .result = -EIO};
        if (fails) continue;
        CHECK(inner.table->submit(self, &held[n], 1) == 1);
        CHECK(inner.table->complete(self, &answers[n], 1, 0) == 1);
    }
    n_held -= n;
    memmove(held, held + n, (size_t)n_held * sizeof *held);
    return n;
}

static kv_io *far_io(kvh_memfs *fs) {
    static const kv_io_table far = {.submit = hold, .complete = answer_held};
    n_waits = n_reads = 0;
    fails_at = -1;
    return kvh_memfs_io_instead(fs, &far, &inner);
}

/* ---- a file ---------------------------------------------------------------------------------- */

static char *bytes, *room;

static void open_file(kvh_memfs *fs, kv_io **io, kv_blocks **blocks, kv_file **file) {
    *io = far_io(fs);
    CHECK(kv_blocks_create(*io, blocks) == RT_OK);
    CHECK(kv_file_open(*io, "/file", O_RDWR | O_CREAT, file) == RT_OK);
}

static void close_file(kv_io *io, kv_blocks *blocks, kv_file *file) {
    kv_blocks_close_file(blocks, file);
    kv_blocks_free(blocks);
    CHECK(kv_io_close(io) == RT_OK);
}

/* In pieces of so many bytes and one more each time, as far as it goes; how many bytes were right. */
static int64_t take_all(kv_blocks *blocks, kv_file *file, int64_t piece) {
    kv_reader *reader = NULL;
    int64_t at = 0;
    CHECK(kv_reader_open(blocks, file, 0, FILE_BYTES, &reader) == RT_OK);
    while (at < FILE_BYTES) {
        const int64_t n = rt_min64(piece++, FILE_BYTES - at);
        if (kv_reader_take(reader, room, n) != RT_OK) break;
        CHECK(memcmp(room, bytes + at, (size_t)n) == 0);
        at += n;
    }
    if (at < FILE_BYTES) CHECK(kv_reader_take(reader, room, 1) == RT_EIO);
    kv_reader_close(reader);
    return at;
}

/* One that is not answered in time is given up, and its memory and its file stay until it is. */
static void check_silence(kvh_memfs *fs, int64_t at) {
    kvh_faults *faults = NULL;
    kv_io *io = NULL;
    kv_blocks *blocks = NULL;
    kv_file *file = NULL;
    const kv_io_engine engine = kvh_inject(kvh_memfs_engine(fs), KVH_LATE, at, false, &faults);
    CHECK(kv_io_create_on(engine, &(kv_io_config){.timeout_s = 0.02}, &io) == RT_OK);
    CHECK(kv_blocks_create(io, &blocks) == RT_OK);
    CHECK(kv_file_open(io, "/file", O_RDWR, &file) == RT_OK);
    const int64_t n_right = take_all(blocks, file, 70000);
    CHECK(n_right <= at * MIB && n_right > at * MIB - 80000);
    CHECK(take_all(blocks, file, MIB) == FILE_BYTES);
    kvh_faults_release(faults);
    kv_blocks_close_file(blocks, file);
    kv_blocks_free(blocks);
    CHECK(kv_io_close(io) == RT_OK);
}

static void check_file(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kv_io *io = NULL;
    kv_blocks *blocks = NULL;
    kv_file *file = NULL;
    bytes = malloc(FILE_BYTES);
    room = malloc(FILE_BYTES);
    CHECK(bytes && room);
    for (int64_t i = 0; i < FILE_BYTES; i++) bytes[i] = (char)(i * 7 + (i >> 9) + (i >> 20));
    open_file(fs, &io, &blocks, &file);
    CHECK(kv_blocks_write(blocks, file, 0, FILE_BYTES, bytes) == RT_OK);
    n_waits = 0;
    CHECK(kv_blocks_read(blocks, file, 0, FILE_BYTES, room) == RT_OK);
    CHECK(memcmp(room, bytes, FILE_BYTES) == 0);
    (void)printf("a file of %d MiB: %" PRId64 " waits\n", FILE_BYTES / MIB, n_waits);
    CHECK(n_waits >= 1 && n_waits <= 6);
    static const int64_t pieces[] = {100000, MIB - 1, MIB, 3 * MIB, FILE_BYTES};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        n_waits = 0;
        CHECK(take_all(blocks, file, pieces[i]) == FILE_BYTES);
        CHECK(n_waits <= 6);
    }
    for (int64_t at = 0; at < FILE_BYTES / MIB; at += 5) {
        n_reads = 0;
        fails_at = at;
        const int64_t n_right = take_all(blocks, file, 70000);
        CHECK(n_right <= at * MIB && n_right > at * MIB - 80000);
        n_reads = 0;
        CHECK(kv_blocks_read(blocks, file, 0, FILE_BYTES, room) == RT_EIO);
        fails_at = -1;
        CHECK(take_all(blocks, file, MIB) == FILE_BYTES);
    }
    CHECK(kv_blocks_read(blocks, file, 36 * MIB, 5 * MIB, room) == RT_EIO);
    CHECK(strstr(rt_error_text(), "ends at byte 38805504")); /* the first that failed */
    kv_reader *reader = NULL;
    CHECK(kv_reader_open(blocks, file, 0, FILE_BYTES, &reader) == RT_OK);
    CHECK(kv_reader_take(reader, room, MIB) == RT_OK && n_held > 0);
    kv_reader_close(reader);
    CHECK(n_held == 0);
    close_file(io, blocks, file);
    check_silence(fs, 0);
    check_silence(fs, 11);
    kvh_memfs_free(fs);
    free(bytes);
    free(room);
}

/* ---- a span --------------------------------------------------------------------------------- */

enum { N = KV_SEGMENT_TOKENS, TEXT = N + 900, LAYERS = 2, STOPPED = 300, HIDDEN = 24 * MIB };

static int32_t ids[TEXT];

static void check_resumed(void) {
    char *hidden = malloc(HIDDEN), *back = malloc(HIDDEN);
    kvh_memfs *fs = kvh_memfs_new();
    CHECK(hidden && back);
    for (int64_t i = 0; i < HIDDEN; i++) hidden[i] = (char)(i * 5 + (i >> 11));
    kv_suspension s = {.n_ids = TEXT,
            .end = TEXT,
            .layer = LAYERS - 1,
            .layer_end = STOPPED,
            .hidden = hidden,
            .hidden_bytes = HIDDEN};
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, TEXT);
    kvh_kept_write(&p, ids, &s);
    CHECK(kvh_suspend(p.store, p.seq, LAYERS, ids, &s) == RT_OK);
    kvh_kept_end(&p);

    bool is_there = false;
    p = kvh_kept_begin(far_io(fs), LAYERS, TEXT);
    CHECK(kv_resume_span(p.seq, ids, TEXT, &s, &is_there) == RT_OK && is_there);
    n_waits = 0;
    for (int32_t layer = 0; layer < LAYERS; layer++) {
        CHECK(kv_resume_layer(p.seq, layer) == RT_OK);
        kv_rows rows = kv_seq_tail_rows(p.seq, layer, 0);
        CHECK(kv_resume_rows(p.seq, &rows, &is_there) == RT_OK && is_there);
        kvh_rows_to_pages(&rows);
    }
    s.hidden = back;
    CHECK(kv_resume_hidden(p.seq, &s, &is_there) == RT_OK && is_there);
    kv_resume_end(p.seq);
    CHECK(memcmp(hidden, back, HIDDEN) == 0);
    (void)printf("a span with %d MiB of hidden states: %" PRId64 " waits\n", HIDDEN / MIB, n_waits);
    CHECK(n_waits >= 1 && n_waits <= 5);
    kv_span_abort(p.seq);

    CHECK(kv_seq_save_beside(p.seq, ids, TEXT, 1, hidden, HIDDEN) == RT_OK);
    n_waits = 0;
    memset(back, 0, HIDDEN);
    CHECK(kv_seq_load_beside(p.seq, ids, TEXT, 1, back, HIDDEN, &is_there) == RT_OK && is_there);
    CHECK(memcmp(hidden, back, HIDDEN) == 0 && n_waits >= 1 && n_waits <= 5);
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    free(hidden);
    free(back);
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    check_file();
    check_resumed();
    return 0;
}

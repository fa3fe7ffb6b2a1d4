/* A write of a commit that the disk answers so late that it was given up and repeated meanwhile costs nothing but that time:
 * all of the span is kept, and found at once. (The first write has the file open to its end, and with it the lock of
 * whoever wrote it.)
 *
 * Method: a file system in memory; the write of a segment's header is not answered until the commit is over. */
#include "help_kv_kept.h"
#include "help_kv_memfs.h"
#include "runtime/base/log.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 2, EXTENTS = 3, LATE = 2 };

static int32_t ids[EXTENTS * N];
static kv_io_engine inner;
static kv_io_request held;
static int n_headers;
static bool has_held, is_released;

static bool is_late(const kv_io_request *request) {
    return request->is_write && request->offset == 0 && request->n_bytes == KV_IO_ALIGN &&
           ++n_headers == LATE;
}

static int submit(void *self, const kv_io_request *requests, int n_requests) {
    if (n_requests == 0 || is_released || !is_late(requests))
        return inner.table->submit(self, requests, n_requests > 1 ? 1 : n_requests);
    held = *requests;
    has_held = true;
    return 1;
}

static int complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    if (has_held && is_released) {
        has_held = false;
        CHECK(inner.table->submit(self, &held, 1) == 1);
    }
    return inner.table->complete(self, answers, n_max, timeout_ms);
}

static kv_io *io_over(kvh_memfs *fs) {
    static kv_io_table table;
    kv_io *io = NULL;
    inner = kvh_memfs_engine(fs);
    table = *inner.table;
    table.submit = submit;
    table.complete = complete;
    const kv_io_engine engine = {.table = &table, .self = inner.self};
    CHECK(kv_io_create_on(engine, &(kv_io_config){.timeout_s = 0.2}, &io) == RT_OK);
    return io;
}

int main(void) {
    const kv_suspension all = {.end = EXTENTS * N, .layer = LAYERS};
    for (int64_t i = 0; i < EXTENTS * N; i++) ids[i] = (int32_t)(i * 2654435761u % 151000);
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin(io_over(fs), LAYERS, EXTENTS * N);
    kvh_kept_write(&p, ids, &all);
    n_headers = 0;
    const double begin = rt_now();
    kv_span_commit(p.seq);
    const double took_s = rt_now() - begin;
    if (took_s > 2) (void)fprintf(stderr, "the commit took %.2f s\n", took_s);
    CHECK(has_held && took_s > 0.1 && took_s < 4.5);
    CHECK(kv_seq_kept(p.seq) == EXTENTS * N && *kv_store_keep_failure(p.store) == 0);
    CHECK(kvh_holds(p.store, p.seq, LAYERS, 0, EXTENTS * N, 77));
    is_released = true;
    kvh_kept_end(&p);
    CHECK(!has_held);
    kv_found found = {0};
    p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, EXTENTS * N);
    CHECK(kv_seq_find(p.seq, ids, EXTENTS * N, &found) == RT_OK && found.n_tokens == EXTENTS * N);
    CHECK(kvh_holds(p.store, p.seq, LAYERS, 0, EXTENTS * N, 77));
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return 0;
}

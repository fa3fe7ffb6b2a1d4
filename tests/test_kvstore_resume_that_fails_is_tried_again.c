/* To go on with a suspended span can fail when its segments are taken over already, as where a tail that memory does not
 * hold finds no room on a disk where none could be reserved. What is on disk of it stays, and the next try goes on with it.
 *
 * Method: a file system in memory without fallocate, and a sequence that memory holds nothing of. The disk becomes full
 * before, or while, the layers are loaded; there is room again for a second process, which loads them and finishes the span. */
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 3, TEXT = 2 * N + 900, STOPPED = N + 300, VALUE = 77 };

static int32_t ids[TEXT];

static kvh_kept begin(kvh_memfs *fs) {
    kvh_kept p = kvh_kept_begin_beyond(kvh_memfs_io(fs), LAYERS, TEXT, 0);
    CHECK(!kv_seq_is_in_memory(p.seq));
    return p;
}

static void suspend(kvh_memfs *fs) {
    kvh_kept p = begin(fs);
    const kv_suspension s = kvh_stopped_at(TEXT, 1, STOPPED);
    CHECK(kvh_kept_stop(&p, ids, &s) == RT_OK);
}

static rt_status load_layer(kvh_kept *p, int32_t layer) {
    bool is_there = false;
    RT_TRY(kv_resume_layer(p->seq, layer));
    kv_rows rows = kv_seq_tail_rows(p->seq, layer, 0);
    if (rows.n_tokens == 0) return RT_OK;
    RT_TRY(kv_resume_rows(p->seq, &rows, &is_there));
    CHECK(is_there);
    kvh_rows_to_pages(&rows);
    return kvh_try_walk_end(p->store, p->seq, layer, NULL, NULL);
}

/* On a disk that becomes full before this layer is loaded. */
static rt_status load(kvh_kept *p, kvh_memfs *fs, int32_t full_at) {
    rt_status status = RT_OK;
    for (int32_t layer = 0; layer < LAYERS && status == RT_OK; layer++) {
        if (layer == full_at) kvh_memfs_limit(fs, kvh_memfs_bytes(fs));
        status = load_layer(p, layer);
    }
    /* what the last one has written is told by the next */
    return status == RT_OK && full_at < LAYERS ? kvh_try_walk_end(p->store, p->seq, 0, NULL, NULL)
                                               : status;
}

static kvh_kept resume(kvh_memfs *fs, kv_suspension *s) {
    kvh_kept p = begin(fs);
    bool is_there = false;
    CHECK(kv_resume_span(p.seq, ids, TEXT, s, &is_there) == RT_OK && is_there);
    CHECK(s->layer == 1 && s->layer_end == STOPPED && !s->waits);
    CHECK(kvh_memfs_count(fs, ".part") == 0);
    return p;
}

static void fail(kvh_memfs *fs, int32_t full_at) {
    kv_suspension s = {0};
    kvh_kept p = resume(fs, &s);
    const rt_status status = load(&p, fs, full_at);
    (void)printf("full before layer %d: %s\n", (int)full_at, rt_error_text());
    CHECK(status == RT_ENOFIT);
    kv_resume_leave(p.seq);
    CHECK(strstr(rt_error_text(), "No space left") && kv_seq_length(p.seq) == 0);
    kvh_kept_end(&p);
    CHECK(kvh_memfs_count(fs, ".part") == 2 && kvh_memfs_count(fs, ".state") == 1);
    kvh_memfs_limit(fs, 0);
}

static void check_read(kvh_kept *p) {
    uint64_t *seen = malloc(TEXT * sizeof *seen);
    CHECK(seen);
    for (int32_t layer = 0; layer < LAYERS; layer++) {
        CHECK(kvh_try_read(p->store, p->seq, layer, seen) == RT_OK);
        for (int64_t i = 0; i < TEXT; i++) CHECK(seen[i] == VALUE + (uint64_t)i);
    }
    free(seen);
}

static void finish(kvh_memfs *fs) {
    kv_suspension s = {0};
    char back[KVH_HIDDEN];
    bool is_there = false;
    kvh_kept p = resume(fs, &s);
    CHECK(load(&p, fs, LAYERS) == RT_OK);
    s.hidden = back;
    CHECK(kv_resume_hidden(p.seq, &s, &is_there) == RT_OK && is_there);
    CHECK(memcmp(back, kvh_stopped_at(TEXT, 1, STOPPED).hidden, KVH_HIDDEN) == 0);
    kv_resume_end(p.seq);
    CHECK(kvh_try_write(p.store, p.seq, 1, STOPPED, TEXT - STOPPED, VALUE) == RT_OK);
    CHECK(kvh_try_write(p.store, p.seq, 2, 0, TEXT, VALUE) == RT_OK);
    kv_span_commit(p.seq);
    CHECK(kv_seq_kept(p.seq) == 2 * N);
    check_read(&p);
    kvh_kept_end(&p);
    CHECK(kvh_memfs_count(fs, ".part") == 0 && kvh_memfs_count(fs, ".state") == 0);
    CHECK(kvh_memfs_count(fs, ".tmp") == 0 && kvh_memfs_count(fs, ".bad") == 0);
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    for (int32_t full_at = 0; full_at < 2; full_at++) {
        kvh_memfs *fs = kvh_memfs_new();
        kvh_memfs_cannot_reserve(fs);
        suspend(fs);
        fail(fs, full_at);
        fail(fs, full_at);
        finish(fs);
        kvh_memfs_free(fs);
    }
    return 0;
}

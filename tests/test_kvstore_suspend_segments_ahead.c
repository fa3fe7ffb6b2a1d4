/* A state that is older than the segments beside it is no suspended span: they have layers that it says are yet to be
 * computed, and what is there is not written twice. Without them it is one.
 *
 * Method: a file system in memory. A span is suspended in its first layer; a second process, which does not look for it,
 * is suspended in its last one, and cannot name its state. What a third one finds; and it computes the span anew. */
#include <errno.h>
#include <string.h>

#include "help_kv_io.h"
#include "help_kv_memfs.h"
#include "kvstore/store_impl.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 3, TEXT = 2 * N + 900, STOPPED = 300, HIDDEN = 5000 };

static int32_t ids[TEXT];
static char hidden[HIDDEN];
static kv_io_engine inner;
static bool refuses; /* to name a state */

static int maybe_rename(void *self, const char *from, const char *to) {
    const size_t n = strlen(to);
    if (refuses && n > 6 && strcmp(to + n - 6, ".state") == 0) return -EIO;
    return inner.table->rename(self, from, to);
}

static kv_io *io_over(kvh_memfs *fs) {
    static kv_io_table table;
    kv_io *io = NULL;
    inner = kvh_memfs_engine(fs);
    table = *inner.table;
    table.rename = maybe_rename;
    const kv_io_engine engine = {.table = &table, .self = inner.self};
    CHECK(kv_io_create_on(engine, &(kv_io_config){0}, &io) == RT_OK);
    return io;
}

typedef struct process {
    kv_store *store;
    kv_seq *seq;
} process;

static process begin_process(kvh_memfs *fs) {
    static const char *dirs[] = {"/disk"}, *scratch[] = {"/"};
    process p;
    kv_config config = kvh_overflow_config(LAYERS, 0, 0);
    config.overflow.dirs = scratch;
    config.overflow.extent_tokens = N;
    config.overflow.append_tokens = TEXT;
    config.overflow.bytes_max = kv_overflow_disk_bytes(&config, TEXT);
    config.host_bytes_max =
            kv_overflow_bytes(&config) + kv_pages_for(&config, TEXT) * KVH_PAGE_BYTES;
    const kv_keep keep = {.fingerprint = (const uint8_t[32]){1},
            .fingerprint_text = "kv=bf16\n",
            .dirs = dirs,
            .n_dirs = 1,
            .bytes_max = 1 << 26};
    CHECK(kv_store_open_over(&config, io_over(fs), &p.store) == RT_OK);
    CHECK(kv_store_keep(p.store, &keep) == RT_OK);
    CHECK(kv_seq_create(p.store, TEXT, &p.seq) == RT_OK);
    return p;
}

static void end_process(process *p) {
    kv_seq_free(p->seq);
    kv_store_close(p->store);
}

typedef struct save_job {
    kv_seq *seq;
    int32_t layer;
} save_job;

static rt_status save_tail(void *context) {
    const save_job *job = context;
    const kv_rows rows = kv_seq_tail_rows(job->seq, job->layer, 0);
    kvh_pages_to_rows(&rows);
    kv_suspend_rows(job->seq, &rows);
    return RT_OK;
}

static rt_status suspend_in(kvh_memfs *fs, int32_t stopped_in) {
    process p = begin_process(fs);
    const kv_suspension s = {.n_ids = TEXT,
            .end = TEXT,
            .layer = stopped_in,
            .layer_end = STOPPED,
            .hidden = hidden,
            .hidden_bytes = HIDDEN};
    CHECK(kv_span_begin(p.seq, ids, TEXT) == RT_OK);
    for (int32_t layer = 0; layer <= stopped_in; layer++)
        CHECK(kvh_try_write(p.store, p.seq, layer, 0, layer < stopped_in ? TEXT : STOPPED, 77) ==
                RT_OK);
    CHECK(kv_suspend_begin(p.seq, ids, &s) == RT_OK);
    for (int32_t layer = 0; layer <= stopped_in; layer++) {
        save_job job = {p.seq, layer};
        CHECK(kvh_try_walk_end(p.store, p.seq, layer, save_tail, &job) == RT_OK);
    }
    const rt_status status = kv_suspend_span(p.seq, &s);
    end_process(&p);
    return status;
}

static bool finds(process *p) {
    kv_suspension s = {0};
    bool is_there = false;
    CHECK(kv_resume_span(p->seq, ids, TEXT, &s, &is_there) == RT_OK);
    CHECK(!is_there || (s.layer == 0 && s.layer_end == STOPPED && s.hidden_bytes == HIDDEN));
    return is_there;
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    kvh_memfs *fs = kvh_memfs_new();
    CHECK(suspend_in(fs, 0) == RT_OK);
    process p = begin_process(fs);
    CHECK(finds(&p));
    kv_span_abort(p.seq);
    end_process(&p);

    refuses = true;
    CHECK(suspend_in(fs, LAYERS - 1) == RT_EIO);
    refuses = false;
    CHECK(kvh_memfs_count(fs, ".state") == 1 && kvh_memfs_count(fs, ".part") == 2);
    p = begin_process(fs);
    CHECK(!finds(&p));
    CHECK(kv_span_begin(p.seq, ids, TEXT) == RT_OK);
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_try_write(p.store, p.seq, layer, 0, TEXT, 77) == RT_OK);
    kv_span_commit(p.seq);
    CHECK(kv_seq_kept(p.seq) == 2 * N);
    end_process(&p);
    CHECK(kvh_memfs_count(fs, ".tmp") == 0);
    kvh_memfs_free(fs);
    return 0;
}

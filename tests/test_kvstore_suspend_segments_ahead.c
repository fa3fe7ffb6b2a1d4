/* A state that is older than the segments beside it is no suspended span: they have layers that it says are yet to be
 * computed, and what is there is not written twice. Without them it is one.
 *
 * Method: a file system in memory. A span is suspended in its first layer; a second process, which does not look for it,
 * is suspended in its last one, and cannot name its state. What a third one finds; and it computes the span anew. */
#include <errno.h>
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 3, TEXT = 2 * N + 900, STOPPED = 300 };

static int32_t ids[TEXT];
static kv_io_engine inner;
static bool refuses; /* to name a state */

static int maybe_rename(void *self, const char *from, const char *to) {
    const size_t n = strlen(to);
    if (refuses && n > 6 && strcmp(to + n - 6, ".state") == 0) return -EIO;
    return inner.table->rename(self, from, to);
}

static kv_io *io_over(kvh_memfs *fs) {
    return kvh_memfs_io_instead(fs, &(kv_io_table){.rename = maybe_rename}, &inner);
}

static rt_status suspend_in(kvh_memfs *fs, int32_t stopped_in) {
    kvh_kept p = kvh_kept_begin(io_over(fs), LAYERS, TEXT);
    const kv_suspension s = kvh_stopped_at(TEXT, stopped_in, STOPPED);
    return kvh_kept_stop(&p, ids, &s);
}

static bool finds(kvh_kept *p) {
    kv_suspension s = {0};
    bool is_there = false;
    CHECK(kv_resume_span(p->seq, ids, TEXT, &s, &is_there) == RT_OK);
    CHECK(!is_there || (s.layer == 0 && s.layer_end == STOPPED && s.hidden_bytes == KVH_HIDDEN));
    return is_there;
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    kvh_memfs *fs = kvh_memfs_new();
    CHECK(suspend_in(fs, 0) == RT_OK);
    kvh_kept p = kvh_kept_begin(io_over(fs), LAYERS, TEXT);
    CHECK(finds(&p));
    kv_span_abort(p.seq);
    kvh_kept_end(&p);

    refuses = true;
    CHECK(suspend_in(fs, LAYERS - 1) == RT_EIO);
    refuses = false;
    CHECK(kvh_memfs_count(fs, ".state") == 1 && kvh_memfs_count(fs, ".part") == 2);
    p = kvh_kept_begin(io_over(fs), LAYERS, TEXT);
    CHECK(!finds(&p));
    CHECK(kv_span_begin(p.seq, ids, TEXT) == RT_OK);
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_try_write(p.store, p.seq, layer, 0, TEXT, 77) == RT_OK);
    kv_span_commit(p.seq);
    CHECK(kv_seq_kept(p.seq) == 2 * N);
    kvh_kept_end(&p);
    CHECK(kvh_memfs_count(fs, ".tmp") == 0);
    kvh_memfs_free(fs);
    return 0;
}

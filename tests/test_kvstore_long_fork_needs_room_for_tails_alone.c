/* What a fork adds goes to disk in segments, as of a sequence that was created: of the room for what overflows it takes that of
 * an unfinished extent, however long it may become.
 *
 * Method: room for two extents; a fork of a sequence, and a new one, that may have ten. */
#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { LAYERS = 2, N = KV_SEGMENT_TOKENS, LONG = 10 * N, HELD = 2 * N };

static int32_t ids[HELD];
static const uint64_t value = 1 << 30;

static void add(kvh_kept *p, kv_seq *seq, int64_t from, int64_t to) {
    CHECK(kv_span_begin(seq, ids + from, to - from) == RT_OK);
    kvh_write(p->store, seq, LAYERS, from, to - from, value);
    kv_span_commit(seq);
}

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin_beyond(kvh_memfs_io(fs), LAYERS, 2 * N, 0);
    kv_seq *fork = NULL, *created = NULL;
    for (int32_t i = 0; i < HELD; i++) ids[i] = i * 7 % 151;
    add(&p, p.seq, 0, N);
    CHECK(kv_seq_fork(p.seq, N, LONG, &fork) == RT_OK && !kv_seq_is_in_memory(fork));
    add(&p, fork, N, HELD);
    CHECK(kvh_holds(p.store, fork, LAYERS, 0, HELD, value) && kv_seq_kept(fork) == HELD);
    kv_seq_free(fork);
    CHECK(kv_seq_create(p.store, LONG, &created) == RT_OK && !kv_seq_is_in_memory(created));
    kv_seq_free(created);
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return 0;
}

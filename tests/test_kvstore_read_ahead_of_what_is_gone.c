/* What was read ahead for a walk that never came is nobody's once its sequence is gone: another sequence,
 * whose extents may lie where the old ones' did in memory, gets its own tokens.
 *
 * Method: keep a text. Write another through a fork, which is not kept and overflows to the scratch; walk one
 * of its layers, which reads of the next one ahead; free it, find the text and read it, that next layer
 * first. No slot may remember the old extents: whether a new one lies where one did, and is then given
 * what was read for that, is the allocator's affair. */
#include "help_kv.h"
#include "help_kv_memfs.h"
#include "kvstore/store_impl.h"

enum { LAYERS = 2, N = KV_SEGMENT_TOKENS, TEXT = 2 * N };

static int32_t ids[2][TEXT];

static uint64_t value_of(int text) {
    return (uint64_t)(text + 1) << 30;
}

static kv_store *open_store(kvh_memfs *fs) {
    static const uint8_t fingerprint[32] = {4, 5, 6};
    static const char *dirs[] = {"/disk"};
    static const char *scratch[] = {"/"};
    kv_config config = kvh_overflow_config(LAYERS, 0, 0);
    config.overflow.dirs = scratch;
    config.overflow.extent_tokens = N;
    config.overflow.append_tokens = TEXT;
    config.overflow.bytes_max = kv_overflow_disk_bytes(&config, TEXT);
    config.host_bytes_max = kv_overflow_bytes(&config) + kv_overflow_tail_bytes(&config);
    const kv_keep keep = {.fingerprint = fingerprint,
            .fingerprint_text = "kv=bf16\n",
            .dirs = dirs,
            .n_dirs = 1,
            .bytes_max = 1 << 24};
    const kv_io_config io_config = {.timeout_s = 30};
    kv_io *io = NULL;
    kv_store *store = NULL;
    CHECK(kv_io_create_on(kvh_memfs_engine(fs), &io_config, &io) == RT_OK);
    CHECK(kv_store_open_over(&config, io, &store) == RT_OK);
    CHECK(kv_store_keep(store, &keep) == RT_OK);
    return store;
}

static void keep_text(kv_store *store, int text) {
    kv_seq *seq = kvh_seq(store, TEXT);
    CHECK(kv_span_begin(seq, ids[text], TEXT) == RT_OK);
    kvh_write(store, seq, LAYERS, 0, TEXT, value_of(text));
    kv_span_commit(seq);
    kv_seq_free(seq);
}

static kv_seq *find_text(kv_store *store, int text) {
    kv_seq *seq = kvh_seq(store, TEXT);
    kv_found found;
    CHECK(kv_seq_find(seq, ids[text], TEXT, &found) == RT_OK && found.n_tokens == TEXT);
    return seq;
}

static kv_seq *write_fork(kv_store *store, kv_seq *parent, int text) {
    kv_seq *seq = NULL;
    CHECK(kv_seq_fork(parent, 0, TEXT, &seq) == RT_OK && !kv_seq_is_in_memory(seq));
    CHECK(kv_span_begin(seq, ids[text], TEXT) == RT_OK);
    kvh_write(store, seq, LAYERS, 0, TEXT, value_of(text));
    kv_span_commit(seq);
    return seq;
}

static void check_layer(kv_store *store, kv_seq *seq, int32_t layer, int text) {
    uint64_t *seen = calloc(TEXT, sizeof *seen);
    CHECK(seen);
    kvh_read_all(store, seq, layer, seen);
    for (int64_t i = 0; i < TEXT; i++) CHECK(seen[i] == value_of(text) + (uint64_t)i);
    free(seen);
}

static int n_read_ahead(const kv_store *store) {
    int n = 0;
    for (int32_t i = 0; i < store->staging.n_slots; i++)
        n += store->staging.slots[i].is_early && store->staging.slots[i].stored;
    return n;
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) {
        ids[0][i] = i % 1000;
        ids[1][i] = i % 1001;
    }
    kvh_memfs *fs = kvh_memfs_new();
    kv_store *store = open_store(fs);
    keep_text(store, 1);
    kv_seq *parent = kvh_seq(store, 0);
    for (int32_t layer = 0; layer < LAYERS; layer++) {
        kv_seq *seq = write_fork(store, parent, 0);
        check_layer(store, seq, layer, 0);
        CHECK(n_read_ahead(store) > 0);
        kv_seq_free(seq);
        CHECK(n_read_ahead(store) == 0);
        seq = find_text(store, 1);
        check_layer(store, seq, (layer + 1) % LAYERS, 1);
        check_layer(store, seq, layer, 1);
        kv_seq_free(seq);
    }
    kv_seq_free(parent);
    kv_store_close(store);
    kvh_memfs_free(fs);
    return 0;
}

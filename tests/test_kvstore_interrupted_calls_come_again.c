/* A call that a signal has interrupted, as the first Ctrl-C may a sync on a file system of a cluster, is made again: what was
 * to be kept is kept.
 *
 * Method: over a file system in memory, a vault is opened, segments are written one by one and several at once, one is
 * suspended and resumed, state and a book are written; each call of all that is interrupted once, and nothing may fail. */
#include <errno.h>
#include <stdlib.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { TOKENS = 20, N = KV_SEGMENT_TOKENS };

static void write_several(kvh_vault *v, const int32_t *ids) {
    kv_writer *writers[2];
    int32_t n_finished;
    CHECK(kv_writers_begin(v->vault, kv_vault_root(v->vault), 0, ids, 2, writers) == RT_OK);
    for (int i = 0; i < 2; i++) CHECK(kvh_fill_segment(v, writers[i], KVH_LAYERS) == RT_OK);
    CHECK(kv_writers_finish(writers, 2, NULL, &n_finished) == RT_OK && n_finished == 2);
}

static void suspend_and_resume(kvh_vault *v, const int32_t *ids) {
    const kv_hash *root = kv_vault_root(v->vault);
    kv_writer *writer = NULL;
    CHECK(kv_writer_begin(v->vault, root, 0, ids, TOKENS, &writer) == RT_OK);
    CHECK(kvh_fill_segment(v, writer, 1) == RT_OK);
    CHECK(kv_writers_suspend(&writer, 1, RT_OK) == RT_OK);
    CHECK(kv_writer_resume(v->vault, root, 0, ids, TOKENS, &writer) == RT_OK && writer);
    CHECK(kvh_fill_segment(v, writer, KVH_LAYERS) == RT_OK);
    CHECK(kv_writer_finish(writer, NULL) == RT_OK);
}

static void save_state(kvh_vault *v) {
    char bytes[100] = "hidden states";
    const kv_part part = {bytes, sizeof bytes};
    const kv_hash key = {{7}};
    CHECK(kv_vault_save_state(v->vault, &key, &part, 1) == RT_OK);
}

static void do_all(kvh_memfs *fs, const int32_t *ids) {
    kvh_vault v = kvh_vault_in_memory();
    kv_hash chain;
    kvh_vault_open(&v, kvh_memfs_io(fs));
    CHECK(kvh_write_first(&v, 1, TOKENS, &chain) == RT_OK);
    write_several(&v, ids);
    suspend_and_resume(&v, ids + N);
    save_state(&v);
    CHECK(kv_vault_write_book(v.vault, "war", &chain, 1, TOKENS, NULL) == RT_OK);
    kvh_vault_close(&v);
}

int main(void) {
    int32_t *ids = kvh_ids(5, 2 * N);
    int64_t n_calls = 1, n = 0;
    for (; n < n_calls; n++) {
        kvh_memfs *fs = kvh_memfs_new();
        if (n > 0) kvh_memfs_fail(fs, n, EINTR, false);
        do_all(fs, ids);
        n_calls = kvh_memfs_n_calls(fs);
        kvh_memfs_free(fs);
    }
    (void)printf("%ld calls\n", (long)n_calls);
    free(ids);
    return n_calls > 100 ? 0 : 1;
}

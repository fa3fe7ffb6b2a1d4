/* To count what of a text the disk has is a look: segments that only another rank's files have count, and are made this rank's
 * own when they are found. One rank looks before all of them find: it must not write by itself meanwhile.
 *
 * Method: segments of all heads; then a vault of the second head alone in the same directory, and one of which a head is
 * nowhere. */
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, SEGMENTS = 2, TEXT = SEGMENTS * N };

static int64_t count(kvh_vault *v, const int32_t *ids) {
    int64_t n = -1;
    const kv_hash *root = kv_vault_root(v->vault);
    CHECK(kv_vault_count_after(v->vault, root, ids, TEXT, &n) == RT_OK);
    return n;
}

int main(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(1, TEXT);
    kvh_vault_open(&v, NULL);
    CHECK(kvh_write_prefix(&v, ids, TEXT, NULL) == SEGMENTS);
    kvh_vault_close(&v);

    v.shape.n_kv_heads = 1;
    v.heads = (kv_heads){.first = 1, .all = KVH_HEADS};
    kvh_vault_open(&v, NULL);
    CHECK(count(&v, ids) == SEGMENTS);
    CHECK(kvh_count_files(v.dirs[0], ".kvs") == SEGMENTS);
    CHECK(kvh_find(&v, ids, TEXT, NULL) == TEXT);
    CHECK(kvh_count_files(v.dirs[0], ".kvs") == 2 * SEGMENTS);
    CHECK(count(&v, ids) == SEGMENTS);
    kvh_vault_close(&v);

    v.heads = (kv_heads){.first = KVH_HEADS, .all = KVH_HEADS + 1};
    kvh_vault_open(&v, NULL);
    CHECK(count(&v, ids) == 0 && kvh_find(&v, ids, TEXT, NULL) == 0);
    kvh_vault_remove(&v);
    free(ids);
    return 0;
}

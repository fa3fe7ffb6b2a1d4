/* To count what of a text the disk has is a look: segments that only another rank's files have count, and are made this rank's
 * own when they are found. One rank looks before all of them find: it must not write by itself meanwhile. The last segment counts
 * where the text that it is of ends as this one does, or a token before: so others find it without having seen it.
 *
 * Method: segments of all heads; then a vault of the second head alone in the same directory, and one of which a head is
 * nowhere. */
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, WHOLE = 2 * N, TEXT = WHOLE + 100, SEGMENTS = 3 };

static int64_t count_of(kvh_vault *v, const int32_t *ids, int64_t n_ids) {
    int64_t n = -1;
    const kv_hash *root = kv_vault_root(v->vault);
    CHECK(kv_vault_count_after(v->vault, root, 0, ids, n_ids, &n) == RT_OK);
    return n;
}

static int64_t count(kvh_vault *v, const int32_t *ids) {
    CHECK(count_of(v, ids, TEXT + 1) == TEXT && count_of(v, ids, WHOLE) == WHOLE);
    CHECK(count_of(v, ids, N + 1) == N && count_of(v, ids, WHOLE - 1) == N);
    return count_of(v, ids, TEXT);
}

int main(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(1, TEXT + 2);
    kvh_vault_open(&v, NULL);
    CHECK(kvh_write_prefix(&v, ids, TEXT, NULL) == SEGMENTS);
    kvh_vault_close(&v);

    v.shape.n_kv_heads = 1;
    v.heads = (kv_heads){.first = 1, .all = KVH_HEADS};
    kvh_vault_open(&v, NULL);
    CHECK(count(&v, ids) == TEXT);
    CHECK(count_of(&v, ids, TEXT + 2) == WHOLE && count_of(&v, ids, TEXT - 1) == WHOLE);
    CHECK(kvh_count_files(v.dirs[0], ".kvs") == SEGMENTS);
    CHECK(kvh_find(&v, ids, TEXT, NULL) == TEXT);
    CHECK(kvh_count_files(v.dirs[0], ".kvs") == 2 * SEGMENTS);
    CHECK(count(&v, ids) == TEXT);
    kvh_vault_close(&v);

    v.heads = (kv_heads){.first = KVH_HEADS, .all = KVH_HEADS + 1};
    kvh_vault_open(&v, NULL);
    CHECK(count_of(&v, ids, TEXT) == 0 && kvh_find(&v, ids, TEXT, NULL) == 0);
    kvh_vault_remove(&v);
    free(ids);
    return 0;
}

/* A text whose last segment is not whole, written by another process after this one has opened its vault, is found whole once
 * its ids are noticed: those up to its end, or to the id behind it; a shorter text is not.
 *
 * Method: two vaults of one directory. */
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, TEXT = N + 70 };

static int64_t found_after(kvh_vault *v, const int32_t *ids, int64_t n_noticed) {
    CHECK(kv_vault_notice(v->vault, ids, n_noticed) == RT_OK);
    return kvh_find(v, ids, TEXT, NULL);
}

int main(void) {
    kvh_vault first = kvh_vault_new(1);
    kvh_vault_open(&first, NULL);
    kvh_vault second = first;
    kvh_vault_open(&second, NULL);
    int32_t *ids = kvh_ids(1, TEXT + 1);
    int32_t *others = kvh_ids(2, TEXT);
    CHECK(kvh_write_prefix(&first, ids, TEXT, NULL) == 2);
    CHECK(kvh_write_prefix(&first, others, 70, NULL) == 1);
    CHECK(kvh_find(&second, ids, TEXT, NULL) == N);
    CHECK(found_after(&second, ids, TEXT - 1) == N);
    CHECK(found_after(&second, ids, TEXT + 1) == TEXT);
    CHECK(kv_vault_notice(second.vault, others, 70) == RT_OK);
    CHECK(kvh_find(&second, others, 70, NULL) == 70);
    CHECK(kv_vault_notice(second.vault, others, 1) == RT_OK);
    CHECK(kv_vault_notice(second.vault, ids, N) == RT_OK);
    free(ids);
    free(others);
    kvh_vault_close(&second);
    kvh_vault_remove(&first);
    return 0;
}

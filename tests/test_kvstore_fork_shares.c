/* Forking: whole pages are the same memory, the partial last one is a copy, and neither sequence
 * ever sees what the other appends.
 *
 * Method: fork at every length of a 12-token parent, compare page addresses, append to both, free
 * in both orders. */
#include "help_kv.h"

enum { LAYERS = 2, LENGTH = 12 };

static void check_addresses(kv_store *store, kv_seq *parent, kv_seq *child, int64_t n_tokens) {
    for (int32_t layer = 0; layer < LAYERS; layer++)
        for (int64_t page = 0; page * KVH_PAGE_TOKENS < n_tokens; page++) {
            const bool is_whole = (page + 1) * KVH_PAGE_TOKENS <= n_tokens;
            const int64_t pos = page * KVH_PAGE_TOKENS;
            const bool is_same =
                    kvh_page(store, parent, layer, pos) == kvh_page(store, child, layer, pos);
            CHECK(is_same == is_whole);
        }
}

static void check_fork_at(int64_t n_tokens, bool parent_goes_first) {
    kv_store *store = kvh_open(LAYERS, (int64_t)10 * LAYERS);
    kv_seq *parent = kvh_seq(store, 20);
    kvh_append(store, parent, LAYERS, LENGTH, 1000);
    kv_seq *child = NULL;
    CHECK(kv_seq_fork(parent, n_tokens, 20, &child) == RT_OK);
    const kv_stats stats = kv_store_stats(store);
    const int64_t n_whole = n_tokens / KVH_PAGE_TOKENS;
    CHECK(stats.pages_shared == n_whole * LAYERS);
    CHECK(stats.pages_copied == (n_tokens % KVH_PAGE_TOKENS ? LAYERS : 0));
    CHECK(stats.pages_reserved == (5 + 5 - n_whole) * LAYERS);
    CHECK(kv_seq_length(child) == n_tokens && kv_seq_max_tokens(child) == 20);
    check_addresses(store, parent, child, n_tokens);

    kvh_append(store, child, LAYERS, 20 - n_tokens, 2000);
    kvh_append(store, parent, LAYERS, 20 - LENGTH, 3000);
    CHECK(kvh_holds(store, parent, LAYERS, 0, LENGTH, 1000));
    CHECK(kvh_holds(store, parent, LAYERS, LENGTH, 20 - LENGTH, 3000));
    if (parent_goes_first) kv_seq_free(parent);
    CHECK(kvh_holds(store, child, LAYERS, 0, n_tokens, 1000));
    CHECK(kvh_holds(store, child, LAYERS, n_tokens, 20 - n_tokens, 2000));
    kv_seq_free(child);
    if (!parent_goes_first) kv_seq_free(parent);
    CHECK(kv_store_stats(store).pages_used == 0 && kv_store_stats(store).pages_reserved == 0);
    kv_store_close(store);
}

int main(void) {
    for (int64_t n_tokens = 0; n_tokens <= LENGTH; n_tokens++) {
        check_fork_at(n_tokens, false);
        check_fork_at(n_tokens, true);
    }
    return 0;
}

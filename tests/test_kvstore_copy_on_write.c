/* Truncating into a shared page and appending: the page is copied first, the other sequence keeps
 * its tokens; a page nobody else has is written in place.
 *
 * Method: every truncation point of a fork and of its parent, then an append. */
#include "help_kv.h"

enum { LAYERS = 2, LENGTH = 12 };

/* `writer` is cut to n_tokens and grows again while `reader` looks on. */
static void check_rewrite(kv_store *store, kv_seq *writer, kv_seq *reader, int64_t n_tokens) {
    const int64_t n_copied = kv_store_stats(store).pages_copied;
    kv_seq_truncate(writer, n_tokens);
    kvh_append(store, writer, LAYERS, LENGTH - n_tokens, 2000);
    CHECK(kvh_holds(store, reader, LAYERS, 0, LENGTH, 1000));
    CHECK(kvh_holds(store, writer, LAYERS, 0, n_tokens, 1000));
    CHECK(kvh_holds(store, writer, LAYERS, n_tokens, LENGTH - n_tokens, 2000));
    const bool is_partial = n_tokens % KVH_PAGE_TOKENS != 0;
    CHECK(kv_store_stats(store).pages_copied == n_copied + (is_partial ? LAYERS : 0));
}

static void check_cut_at(int64_t n_tokens, bool child_writes) {
    kv_store *store = kvh_open(LAYERS, (int64_t)20 * LAYERS);
    kv_seq *parent = kvh_seq(store, LENGTH);
    kvh_append(store, parent, LAYERS, LENGTH, 1000);
    kv_seq *child = NULL;
    CHECK(kv_seq_fork(parent, LENGTH, LENGTH, &child) == RT_OK);
    check_rewrite(store, child_writes ? child : parent, child_writes ? parent : child, n_tokens);
    kv_seq_free(child);
    kv_seq_free(parent);
    kv_store_close(store);
}

static void check_in_place(void) {
    kv_store *store = kvh_open(LAYERS, (int64_t)3 * LAYERS);
    kv_seq *seq = kvh_seq(store, LENGTH);
    kvh_append(store, seq, LAYERS, LENGTH, 1000);
    kv_seq_truncate(seq, 5);
    kvh_append(store, seq, LAYERS, LENGTH - 5, 2000);
    CHECK(kvh_holds(store, seq, LAYERS, 0, 5, 1000) &&
            kvh_holds(store, seq, LAYERS, 5, LENGTH - 5, 2000));
    CHECK(kv_store_stats(store).pages_copied == 0);
    kv_seq_free(seq);
    kv_store_close(store);
}

/* The last sharer to leave frees the page: nothing to copy any more. */
static void check_alone_again(void) {
    kv_store *store = kvh_open(LAYERS, (int64_t)6 * LAYERS);
    kv_seq *parent = kvh_seq(store, LENGTH);
    kvh_append(store, parent, LAYERS, LENGTH, 1000);
    kv_seq *child = NULL;
    CHECK(kv_seq_fork(parent, LENGTH, LENGTH, &child) == RT_OK);
    kv_seq_truncate(child, 6);
    kv_seq_free(parent);
    kvh_append(store, child, LAYERS, LENGTH - 6, 2000);
    CHECK(kvh_holds(store, child, LAYERS, 0, 6, 1000) &&
            kvh_holds(store, child, LAYERS, 6, LENGTH - 6, 2000));
    CHECK(kv_store_stats(store).pages_copied == 0);
    kv_seq_free(child);
    kv_store_close(store);
}

int main(void) {
    for (int64_t n_tokens = 0; n_tokens < LENGTH; n_tokens++) {
        check_cut_at(n_tokens, false);
        check_cut_at(n_tokens, true);
    }
    check_in_place();
    check_alone_again();
    return 0;
}

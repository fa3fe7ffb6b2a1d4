/* Aborting a span: length, tokens, pages and promises are as they were before it began.
 *
 * Method: abort spans that start on and beside page boundaries, with the last page private and
 * with it shared (when the span replaced it by a copy), and after garbage was written. */
#include "help_kv.h"

enum { LAYERS = 3 };

static void check_abort(kv_store *store, kv_seq *seq, int64_t n_tokens) {
    const int64_t length = kv_seq_length(seq);
    kv_stats before = kv_store_stats(store);
    CHECK(kv_span_begin(seq, NULL, n_tokens) == RT_OK);
    kvh_write(store, seq, LAYERS, length, n_tokens, 0xbad);
    kv_span_abort(seq);
    kv_stats after = kv_store_stats(store);
    before.pages_copied = after.pages_copied = 0;
    CHECK(before.pages_used == after.pages_used && before.pages_shared == after.pages_shared);
    CHECK(before.pages_reserved == after.pages_reserved);
    CHECK(kv_seq_length(seq) == length && kvh_holds(store, seq, LAYERS, 0, length, 100));
}

static void check_private(int64_t length) {
    kv_store *store = kvh_open(LAYERS, (int64_t)10 * LAYERS);
    kv_seq *seq = kvh_seq(store, 40);
    if (length) kvh_append(store, seq, LAYERS, length, 100);
    for (int64_t n = 1; n <= 40 - length; n++) check_abort(store, seq, n);
    kv_span_abort(seq); /* idle: nothing to do */
    CHECK(kv_seq_length(seq) == length);
    kv_seq_free(seq);
    kv_store_close(store);
}

/* The sequence's last page, half full, belongs to `other` too. */
static void check_shared_tail(void) {
    kv_store *store = kvh_open(LAYERS, (int64_t)20 * LAYERS);
    kv_seq *other = kvh_seq(store, 8);
    kvh_append(store, other, LAYERS, 8, 100);
    kv_seq *seq = NULL;
    CHECK(kv_seq_fork(other, 8, 16, &seq) == RT_OK);
    kv_seq_truncate(seq, 6); /* a copy of the last page was never promised to it */
    for (int64_t n = 1; n <= 10; n++) check_abort(store, seq, n);
    CHECK(kvh_holds(store, other, LAYERS, 0, 8, 100));
    kv_seq_free(other);
    for (int64_t n = 1; n <= 10; n++) check_abort(store, seq, n);
    CHECK(kv_span_begin(seq, NULL, 10) == RT_OK);
    kv_seq_free(seq); /* an open span goes with its sequence */
    CHECK(kv_store_stats(store).pages_reserved == 0);
    kv_store_close(store);
}

int main(void) {
    for (int64_t length = 0; length < 12; length++) check_private(length);
    check_shared_tail();
    return 0;
}

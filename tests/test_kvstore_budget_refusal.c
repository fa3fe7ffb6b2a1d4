/* What does not fit is refused with numbers, and a refusal leaves nothing behind.
 *
 * Method: ask for more than a 10-page budget at every door (open, create, fork, span) and read the
 * message; then use what is left to the last page. */
#include <string.h>

#include "help_kv.h"

enum { LAYERS = 2 };

static void check_text(const char *part) {
    if (strstr(rt_error_text(), part)) return;
    (void)fprintf(stderr, "no \"%s\" in \"%s\"\n", part, rt_error_text());
    exit(1);
}

static void check_open(void) {
    kv_config config = kvh_config(LAYERS, 1);
    kv_store *store = NULL;
    CHECK(kv_store_open(&config, &store) == RT_ENOFIT && !store);
    check_text("holds 1 pages of 64 bytes");
    check_text("2 layers");
    config.host_bytes_max = 2 * KVH_PAGE_BYTES + KVH_PAGE_BYTES - 1;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    CHECK(kv_store_stats(store).pages_total == 2);
    kv_store_close(store);
    kv_store_close(NULL);
}

static void check_pages_for(void) {
    const kv_config config = kvh_config(LAYERS, 10);
    CHECK(kv_pages_for(&config, 0) == 0 && kv_pages_for(&config, 1) == LAYERS);
    CHECK(kv_pages_for(&config, 4) == LAYERS && kv_pages_for(&config, 5) == (int64_t)2 * LAYERS);
    const kv_config deep = kvh_config(40, 40);
    CHECK(kv_pages_for(&deep, INT64_MAX) == INT64_MAX);
}

static void check_sequences(void) {
    kv_store *store = kvh_open(LAYERS, 10);
    kv_seq *first = kvh_seq(store, 12); /* 6 of the 10 pages */
    kv_seq *none = NULL;
    CHECK(kv_seq_create(store, 9, &none) == RT_ENOFIT && !none);
    check_text("9 tokens need 6 more pages (384 B); 4 of 10 pages are left (256 B)");
    check_text("room for 8 tokens");
    CHECK(kv_seq_create(store, INT64_MAX, &none) == RT_ENOFIT && !none);

    kvh_append(store, first, LAYERS, 12, 100);
    CHECK(kv_seq_fork(first, 8, 20, &none) == RT_ENOFIT && !none);
    check_text("20 tokens need 6 more pages");
    CHECK(kv_span_begin(first, NULL, 1) == RT_EUSAGE);
    check_text("1 tokens after 12, the sequence has room for 12");

    kv_seq *second = kvh_seq(store, 8);
    CHECK(kv_store_stats(store).pages_reserved == 10);
    CHECK(kv_seq_create(store, 1, &none) == RT_ENOFIT && !none);
    check_text("room for 0 tokens");
    kv_seq *empty = kvh_seq(store, 0);
    kv_seq_free(empty);
    kvh_append(store, second, LAYERS, 8, 200);
    CHECK(kvh_holds(store, first, LAYERS, 0, 12, 100) &&
            kvh_holds(store, second, LAYERS, 0, 8, 200));
    kv_seq_free(first);
    kv_seq_free(second);
    kv_store_close(store);
}

/* Pages truncated while shared are not reserved any more: the span that misses them is refused
 * while nothing is left, and goes through once something is. */
static void check_truncated_shared(void) {
    kv_store *store = kvh_open(LAYERS, 8);
    kv_seq *parent = kvh_seq(store, 12);
    kvh_append(store, parent, LAYERS, 12, 100);
    kv_seq *child = NULL;
    CHECK(kv_seq_fork(parent, 12, 12, &child) == RT_OK);
    kv_seq *other = kvh_seq(store, 4);
    kv_seq_truncate(child, 4);
    CHECK(kv_span_begin(child, NULL, 8) == RT_ENOFIT);
    check_text("8 tokens need 4 more pages");
    CHECK(kv_seq_length(child) == 4 && kvh_holds(store, child, LAYERS, 0, 4, 100));
    kv_seq_free(other);
    kvh_append(store, child, LAYERS, 4, 200);
    kv_seq_free(parent);
    kvh_append(store, child, LAYERS, 4, 200);
    CHECK(kvh_holds(store, child, LAYERS, 0, 4, 100) && kvh_holds(store, child, LAYERS, 4, 8, 200));
    kv_seq_free(child);
    kv_store_close(store);
}

int main(void) {
    check_open();
    check_pages_for();
    check_sequences();
    check_truncated_shared();
    return 0;
}

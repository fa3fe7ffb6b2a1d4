/* Where the disk has no room for what a parked sequence has got, its fork holding on to the place of what it had, the
 * append is refused, and neither it nor those that appended in the same walk lose a token.
 *
 * Method: cells for two sequences of one extent each, and pages for one, which another has while these are created. Both
 * have some tokens, parked; a fork of the second is in memory, brings no cell, and shares its parent's. */
#include "help_kv.h"

enum {
    LAYERS = 2,
    LENGTH = 5,
    ROOM = 8,
    N_PAGES = LAYERS * (ROOM / KVH_PAGE_TOKENS),
    VALUE = 1000,
    OTHER = 5000,
    SECOND = 7000
};

static void check_holds(kv_store *store, kv_seq *seq, uint64_t value) {
    CHECK(kv_seq_length(seq) == LENGTH && kvh_holds(store, seq, LAYERS, 0, LENGTH, value));
}

/* Of both at once, the one whose append cannot be stored first or last. */
static void check_refusal(bool is_first) {
    const kv_config config = kvh_overflow_config(LAYERS, N_PAGES, 2 * LAYERS);
    const int64_t one[] = {1, 1};
    kv_store *store = NULL;
    kv_seq *fork = NULL;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    kv_seq *first = kvh_seq(store, ROOM);
    kv_seq *plain = kvh_seq(store, ROOM);
    kv_seq *parent = kvh_seq(store, ROOM);
    CHECK(kv_seq_is_in_memory(first) && !kv_seq_is_in_memory(parent));
    kv_seq_free(first);
    kvh_append(store, plain, LAYERS, LENGTH, OTHER);
    kvh_append(store, parent, LAYERS, LENGTH, VALUE);
    CHECK(kv_seq_fork(parent, LENGTH, ROOM, &fork) == RT_OK && kv_seq_is_in_memory(fork));

    kv_seq *both[] = {is_first ? parent : plain, is_first ? plain : parent};
    for (int i = 0; i < 2; i++) CHECK(kv_span_begin(both[i], NULL, 1) == RT_OK);
    CHECK(kvh_try_write_together(store, both, 2, 0, one, SECOND) == RT_ENOFIT);
    for (int i = 0; i < 2; i++) kv_span_abort(both[i]);
    check_holds(store, plain, OTHER);
    check_holds(store, parent, VALUE);
    check_holds(store, fork, VALUE);

    kv_seq_free(fork);
    kvh_append(store, parent, LAYERS, 1, VALUE);
    CHECK(kvh_holds(store, parent, LAYERS, 0, LENGTH, VALUE));
    kv_seq_free(parent);
    kv_seq_free(plain);
    kv_store_close(store);
}

int main(void) {
    check_refusal(true);
    check_refusal(false);
    return 0;
}

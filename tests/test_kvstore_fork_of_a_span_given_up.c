/* A span that is given up in its first layer leaves a parked sequence stored in that layer and in memory in the other;
 * a fork of it has every token of both, and nobody writes into a page that somebody else reads.
 *
 * Method: room for one sequence of 8 tokens in memory and three pages; its fork parks, begins a span, writes one
 * layer and gives up. The fork's forks are then read, cut, written and read again. */
#include "help_kv.h"

enum { LAYERS = 2, LENGTH = 6, VALUE = 1000, OTHER = 5000 };

static void check_holds(kv_store *store, kv_seq *seq) {
    CHECK(kv_seq_length(seq) == LENGTH && kvh_holds(store, seq, LAYERS, 0, LENGTH, VALUE));
}

/* A parked sequence of LENGTH tokens, of which only the second layer is in memory. */
static kv_seq *half_parked(kv_store *store) {
    kv_seq *whole = kvh_seq(store, LENGTH + 2);
    kv_seq *parked = NULL;
    kvh_append(store, whole, LAYERS, LENGTH, VALUE);
    CHECK(kv_seq_fork(whole, LENGTH, 40, &parked) == RT_OK && !kv_seq_is_in_memory(parked));
    CHECK(kv_span_begin(parked, NULL, 1) == RT_OK);
    CHECK(kvh_try_write(store, parked, 0, LENGTH, 1, OTHER) == RT_OK);
    kv_span_abort(parked);
    kv_seq_free(whole);
    return parked;
}

static void check_fork(bool is_read_first) {
    kv_config config = kvh_overflow_config(LAYERS, 7, 40);
    kv_store *store = NULL;
    kv_seq *fork = NULL;
    kv_seq *other = NULL;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    kv_seq *parked = half_parked(store);
    CHECK(kv_seq_fork(parked, LENGTH, LENGTH + 2, &fork) == RT_OK && kv_seq_is_in_memory(fork));
    if (is_read_first) check_holds(store, fork);
    CHECK(kv_seq_fork(fork, LENGTH, 40, &other) == RT_OK);

    kv_seq_truncate(fork, LENGTH - 1);
    kvh_append(store, fork, LAYERS, 2, OTHER);
    CHECK(kvh_holds(store, fork, LAYERS, LENGTH - 1, 2, OTHER));
    check_holds(store, other);
    check_holds(store, parked);
    kv_seq_free(fork);
    kv_seq_free(other);
    kv_seq_free(parked);
    kv_store_close(store);
}

int main(void) {
    check_fork(true);
    check_fork(false);
    return 0;
}

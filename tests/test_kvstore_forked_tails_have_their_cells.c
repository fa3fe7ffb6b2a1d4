/* A sequence whose unfinished extent is on disk can be forked, and then it and its forks append, although not one cell
 * more is left: whoever writes first has what was reserved for the fork. All of it is given back.
 *
 * Method: no page in memory but the windows'; a parent, its forks, and as many more sequences as the disk has room for;
 * then all append, the parent first or last; one fork may be gone by then. Afterwards as many sequences fit as in the
 * beginning. */
#include "help_kv.h"

enum { LAYERS = 2, LENGTH = 5, ROOM = 8, N_CELLS = 60, N_MAX = 100, FORKS = 3 };

/* Sequences until there is no room for another; how many. */
static int fill(kv_store *store, kv_seq **seqs) {
    int n = 0;
    while (n < N_MAX && kv_seq_create(store, ROOM, &seqs[n]) == RT_OK) n++;
    CHECK(n < N_MAX);
    return n;
}

static void empty(kv_seq **seqs, int n) {
    for (int i = 0; i < n; i++) kv_seq_free(seqs[i]);
}

static void append(kv_store *store, kv_seq *seq, uint64_t value) {
    kvh_append(store, seq, LAYERS, 1, value);
    kvh_append(store, seq, LAYERS, 1, value);
    CHECK(kvh_holds(store, seq, LAYERS, 0, LENGTH, 1000));
    CHECK(kvh_holds(store, seq, LAYERS, LENGTH, 2, value));
}

static void check(bool parent_goes_first, bool one_is_freed) {
    kv_config config = kvh_overflow_config(LAYERS, 0, N_CELLS);
    kv_store *store = NULL;
    kv_seq *others[N_MAX], *forks[FORKS];
    CHECK(kv_store_open(&config, &store) == RT_OK);
    const int n_before = fill(store, others);
    empty(others, n_before);

    kv_seq *parent = kvh_seq(store, ROOM);
    CHECK(!kv_seq_is_in_memory(parent));
    kvh_append(store, parent, LAYERS, LENGTH, 1000);
    for (int i = 0; i < FORKS; i++) CHECK(kv_seq_fork(parent, LENGTH, ROOM, &forks[i]) == RT_OK);
    const int n_others = fill(store, others);
    CHECK(n_others == n_before - 1 - FORKS);
    if (one_is_freed) kv_seq_free(forks[0]);
    if (parent_goes_first) append(store, parent, 2000);
    for (int i = one_is_freed; i < FORKS; i++) append(store, forks[i], 3000 + 100 * (uint64_t)i);
    if (!parent_goes_first) append(store, parent, 2000);

    empty(others, n_others);
    for (int i = one_is_freed; i < FORKS; i++) kv_seq_free(forks[i]);
    kv_seq_free(parent);
    const int n_after = fill(store, others);
    CHECK(n_after == n_before);
    empty(others, n_after);
    kv_store_close(store);
}

int main(void) {
    for (int i = 0; i < 4; i++) check(i & 1, i & 2);
    return 0;
}

/* Whichever allocation is refused as a walk begins: it says so, nothing leaks, and the next walk sees what it should.
 *
 * Method: the first walk of a store allocates what all walks use. It is begun once to count its allocations, then over new
 * stores with each of them refused. The leaks are found by the address sanitizer's build. */
#include "help_faults.h"
#include "help_kv.h"

enum { LAYERS = 2, PAGES = 64, CELLS = 64, N = 30, VALUE = 1000 };

/* RT_ENOMEM where allocation number fail_at of the first walk was refused. */
static rt_status begin_first_walk(int64_t fail_at, int64_t *n_allocations) {
    const kv_config config = kvh_overflow_config(LAYERS, PAGES, CELLS);
    const int32_t ids[N] = {0};
    const int64_t end = N;
    kv_store *store = NULL;
    kv_walk *walk = NULL;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    kv_seq *seq = kvh_seq(store, N);
    CHECK(kv_span_begin(seq, ids, N) == RT_OK);
    faults_begin(fail_at, NULL);
    const rt_status status = kv_walk_begin(store, 0, &seq, &end, 1, KV_WALK_ALL, &walk);
    faults_end();
    *n_allocations = atomic_load(&faults.n_allocations);
    if (status == RT_OK) kv_walk_end(walk);
    kvh_write(store, seq, LAYERS, 0, N, VALUE);
    kv_span_commit(seq);
    CHECK(kvh_holds(store, seq, LAYERS, 0, N, VALUE));
    kv_seq_free(seq);
    kv_store_close(store);
    return status;
}

int main(void) {
    int64_t n = 0, ignored = 0, n_failed = 0;
    CHECK(begin_first_walk(FAULTS_NEVER, &n) == RT_OK);
    for (int64_t i = 0; i < n; i++) {
        const rt_status status = begin_first_walk(i, &ignored);
        CHECK(status == RT_OK || status == RT_ENOMEM);
        n_failed += status == RT_ENOMEM;
    }
    CHECK(n_failed >= 6); /* four lists by sequence, what is lent, and outcomes of loads */
    return 0;
}

/* Disk operations under faults: each ends, in the right bytes or a named error; nothing else notices.
 *
 * Method: a scripted run over a disk in memory, repeated with one kind of fault at the k-th event of
 * its kind, for every k, once and from there on for ever: more than 10,000 runs. What must be
 * survived (transient errors, short and empty answers, strays, other orders) once is not noticed. */
#include "help_kv_io.h"

enum { BLOCKS = 112 };

static int64_t n_runs;

static kvh_outcome run(kvh_fault fault, int64_t at, bool for_ever, int64_t *n_events) {
    /* Late answers are waited for no longer than this; nothing else may take it for late. */
    const kv_io_config config = {.timeout_s = fault == KVH_LATE ? 0.001 : 30};
    kvh_faults *faults = NULL;
    kv_io *io = NULL;
    const kv_io_engine engine = kvh_inject(kvh_ramdisk(), fault, at, for_ever, &faults);
    CHECK(kv_io_create_on(engine, &config, &io) == RT_OK);
    const kvh_outcome outcome = kvh_script(io, "in memory", BLOCKS, faults);
    *n_events = kvh_faults_events(faults);
    n_runs++;
    CHECK(fault == KVH_NONE || at == INT64_MAX || kvh_faults_injected(faults) > 0);
    CHECK(kv_io_close(io) == RT_OK);
    return outcome;
}

static void complain(kvh_fault fault, int64_t at, const kvh_outcome *outcome) {
    (void)fprintf(stderr, "%s at %lld: ok %lld io %lld nofit %lld\n", kvh_fault_name(fault),
            (long long)at, (long long)outcome->n_ok, (long long)outcome->n_io,
            (long long)outcome->n_nofit);
    exit(1);
}

static void check_once(kvh_fault fault, int64_t at, int64_t n_ops) {
    int64_t n_events;
    const kvh_outcome o = run(fault, at, false, &n_events);
    const int64_t n_bad = o.n_io + o.n_nofit;
    const bool is_one =
            fault == KVH_ENOSPC ? o.n_nofit == 1 && o.n_io == 0 : o.n_io == 1 && o.n_nofit == 0;
    /* A submission that fails takes all it was for with it. */
    const bool is_good = kvh_is_harmless_once(fault) ? n_bad == 0
                         : fault == KVH_SUBMIT_EIO   ? n_bad >= 1
                                                     : is_one;
    if (!is_good || (fault != KVH_LATE && o.n_ok + n_bad != n_ops)) complain(fault, at, &o);
}

static void check_for_ever(kvh_fault fault, int64_t at) {
    int64_t n_events;
    const kvh_outcome o = run(fault, at, true, &n_events);
    const bool must_be_fine = fault == KVH_STALE || fault == KVH_TWICE || fault == KVH_REORDERED ||
                              fault == KVH_EINVAL || fault == KVH_SUBMIT_HALF;
    if (must_be_fine && o.n_io + o.n_nofit > 0) complain(fault, at, &o);
    if (fault == KVH_ENOSPC && o.n_io > 0) complain(fault, at, &o);
}

int main(void) {
    int64_t n_events;
    const kvh_outcome clean = run(KVH_NONE, 0, false, &n_events);
    CHECK(clean.n_io == 0 && clean.n_nofit == 0 && clean.n_ok > 3 * BLOCKS);
    for (int fault = KVH_NONE + 1; fault < KVH_FILE_FAULTS; fault++) {
        if (fault == KVH_COMPLETE_EBADR) continue; /* below: for ever, it costs 64 ms a run */
        (void)run((kvh_fault)fault, INT64_MAX, false, &n_events);
        for (int64_t at = 0; at < n_events; at++) {
            check_once((kvh_fault)fault, at, clean.n_ok);
            if (fault < KVH_REQUEST_FAULTS) check_for_ever((kvh_fault)fault, at);
        }
    }
    check_once(KVH_COMPLETE_EBADR, 3, clean.n_ok);
    (void)printf("%lld runs\n", (long long)n_runs);
    CHECK(n_runs >= 10000);
    return 0;
}

/* Disk operations under faults: each ends, in the right bytes or a named error; nothing else notices.
 *
 * Method: a scripted run over a disk in memory, repeated with one kind of fault at the k-th event of
 * its kind, for every k, once and from there on for ever: more than 10,000 runs. What must be
 * survived (transient errors, short and empty answers, strays, other orders) once is not noticed. */
#include "help_kv_io.h"

enum { BLOCKS = 112, SAMPLED = 29, FAST_STEP = 5 };

static int64_t n_runs;

static kvh_outcome run(kvh_fault fault, int64_t at, bool for_ever, int64_t *n_events) {
    /* Silence is waited for no longer than this; nothing else may be taken for it. */
    const kv_io_config config = {.timeout_s = kvh_is_silent(fault, for_ever) ? 0.001 : 30};
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
    /* The memory of the silent is left out of later rounds. */
    if (!is_good || (!kvh_is_silent(fault, false) && o.n_ok + n_bad != n_ops))
        complain(fault, at, &o);
}

static bool is_harmless_for_ever(kvh_fault fault) {
    return fault == KVH_STALE || fault == KVH_TWICE || fault == KVH_REORDERED ||
           fault == KVH_EINVAL || fault == KVH_SUBMIT_HALF;
}

static void check_for_ever(kvh_fault fault, int64_t at) {
    int64_t n_events;
    const kvh_outcome o = run(fault, at, true, &n_events);
    const bool is_good = is_harmless_for_ever(fault) ? o.n_io + o.n_nofit == 0
                         : fault == KVH_ENOSPC       ? o.n_io == 0 && o.n_nofit > 0
                                                     : o.n_io > 0 && o.n_nofit == 0;
    if (!is_good) complain(fault, at, &o);
}

int main(void) {
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL; /* under sanitizers: every fifth */
    int64_t n_events;
    const kvh_outcome clean = run(KVH_NONE, 0, false, &n_events);
    CHECK(clean.n_io == 0 && clean.n_nofit == 0 && clean.n_ok > 3 * BLOCKS);
    for (int number = KVH_NONE + 1; number < KVH_FILE_FAULTS; number++) {
        const kvh_fault fault = (kvh_fault)number;
        /* Without answers for ever a run takes 64 ms: not at every event. */
        const int64_t step =
                fault == KVH_COMPLETE_EINTR || fault == KVH_COMPLETE_EBADR ? SAMPLED : 1;
        const int64_t n_before = n_runs;
        (void)run(fault, INT64_MAX, false, &n_events);
        for (int64_t at = 0; at < n_events; at += is_fast ? FAST_STEP : 1) {
            check_once(fault, at, clean.n_ok);
            if (at % step == 0) check_for_ever(fault, at);
        }
        (void)printf("%-16s %5lld runs\n", kvh_fault_name(fault), (long long)(n_runs - n_before));
    }
    (void)printf("%lld runs\n", (long long)n_runs);
    CHECK(n_runs >= (is_fast ? 2000 : 10000));
    return 0;
}

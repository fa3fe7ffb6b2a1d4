/* A store that overflows to a disk that fails: what a walk shows is right or the walk is an error, and
 * after what is lost has been cut off the sequences work.
 *
 * Method: a scripted run (create, append, read alone and together, fork, cut, give up a span, free)
 * over a disk in memory, in three budgets so that sequences park, overflow and are pinned; repeated
 * with one kind of fault at the k-th event of its kind, for every k, once and from there on for ever:
 * more than 10,000 runs. A fault that happens once must be over after one recovery; in the end the
 * disk works again, every sequence is read and grown, and nothing is left over.
 * `test_kvstore_overflow_faults FAULT AT FOREVER BUDGET` repeats one run. */
#include <inttypes.h>

#include "help_kv_life.h"

enum { SAMPLED = 41, FAST_STEP = 13 };

static int64_t n_runs, n_noticed;

static int64_t one_run(kvh_fault fault, int64_t at, bool for_ever, int budget) {
    const kvh_life life = kvh_play_life(fault, at, for_ever, budget);
    n_runs++;
    n_noticed += life.n_failed > 0;
    if (!for_ever && kvh_is_harmless_once(fault) && fault < KVH_FILE_FAULTS)
        CHECK(life.n_failed == 0);
    return life.n_events;
}

/* Without answers, or with none but refusals, an operation takes 64 ms: not at every event. */
static int64_t step_for_ever(kvh_fault fault) {
    const bool is_slow = fault == KVH_EINTR || fault == KVH_EAGAIN || fault == KVH_ECANCELED ||
                         fault == KVH_COMPLETE_EINTR || fault == KVH_COMPLETE_EBADR ||
                         (fault >= KVH_SUBMIT_EAGAIN && fault <= KVH_SUBMIT_NONE);
    return is_slow ? SAMPLED : 1;
}

static void every_event(kvh_fault fault, int budget, int64_t step) {
    const int64_t n_before = n_runs;
    const int64_t n_events = one_run(fault, INT64_MAX, false, budget);
    for (int64_t at = 0; at < n_events; at += step) {
        (void)one_run(fault, at, false, budget);
        if (at / step % step_for_ever(fault) == 0) (void)one_run(fault, at, true, budget);
    }
    (void)printf("budget %d: %-18s %5" PRId64 " runs\n", budget, kvh_fault_name(fault),
            n_runs - n_before);
    (void)fflush(stdout);
}

int main(int argc, char **argv) {
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    if (argc > 4) {
        (void)one_run((kvh_fault)atoi(argv[1]), atoll(argv[2]), atoi(argv[3]), atoi(argv[4]));
        return 0;
    }
    for (int budget = 0; budget < KVH_LIFE_BUDGETS; budget++)
        for (int fault = KVH_NONE + 1; fault < KVH_N_FAULTS; fault++)
            if (fault != KVH_STOPPED)
                every_event((kvh_fault)fault, budget, is_fast ? FAST_STEP : 1);
    (void)printf("%" PRId64 " runs, %" PRId64 " noticed\n", n_runs, n_noticed);
    CHECK(n_runs >= (is_fast ? 800 : 10000) && n_noticed > n_runs / 5);
    return 0;
}

/* The tests of damage can fail: with the checksum of runs unread, flipped bits, stale cells, reads that went
 * elsewhere, and disks that a crash left torn show wrong tokens. (That each kind of test does, by the tests
 * themselves and a build without the check: tests/campaign.sh mutants.)
 *
 * Method: this program has the run codec built in, in place of the library's, with that one check
 * gone when asked. Runs of the tests go on in child processes: with the check each survives, without it
 * some die. */
static int mutant;
#define KV_MUTANT_UNCHECKED mutant
#include "kvstore/codec.c"

#include "help_kv_codec.h"
#include "help_kv_life.h"
#include "help_kv_script.h"

enum { DISKS = 5 };
static int64_t stride = 1; /* of the events that are tried */

/* ---- a disk that changes what it holds ------------------------------------------------------- */

static kvh_fault fault;
static int64_t fault_at;
static int budget;

static void live(void) {
    (void)kvh_play_life(fault, fault_at, false, budget);
}

static int deaths_by_fault(void) {
    int n = 0;
    for (budget = 0; budget < KVH_LIFE_BUDGETS; budget++) {
        const int64_t n_events = kvh_play_life(fault, INT64_MAX, false, budget).n_events;
        for (fault_at = 0; fault_at < n_events; fault_at += stride) n += !kvh_survives(live);
    }
    return n;
}

/* ---- a disk after a crash -------------------------------------------------------------------- */

static kvh_memfs *fs; /* it ignored every sync */
static kvh_promises promises;
static int64_t n_effects;

static void look(void) {
    uint64_t seed = (uint64_t)n_effects;
    for (int i = 0; i < DISKS; i++) {
        kvh_memfs *disk = kvh_memfs_crash(fs, n_effects, KVH_CRASH_HOLES, &seed);
        (void)kvh_script_check(disk, &promises, n_effects, false);
        kvh_memfs_free(disk);
    }
}

static int deaths_by_crash(void) {
    int n = 0;
    for (n_effects = 0; n_effects < kvh_memfs_n_effects(fs); n_effects += stride)
        n += !kvh_survives(look);
    return n;
}

/* ---- all ------------------------------------------------------------------------------------- */

static void check(const char *what, int deaths(void)) {
    mutant = 0;
    CHECK(deaths() == 0);
    mutant = 1;
    const int n = deaths();
    (void)printf("%s: noticed in %d runs\n", what, n);
    (void)fflush(stdout); /* children would say it again */
    CHECK(n > 0);
}

int main(void) {
    if (getenv("GLM_TEST_FAST"))
        stride = 3; /* a process each, which the sanitizers make slow to fork */
    static const kvh_fault faults[] = {KVH_FLIPPED, KVH_UNWRITTEN, KVH_ELSEWHERE};
    for (int i = 0; i < 3; i++) {
        fault = faults[i];
        check(kvh_fault_name(fault), deaths_by_fault);
    }
    fs = kvh_memfs_new();
    kvh_memfs_lie(fs);
    promises = kvh_script_run_vault(fs);
    check("crash", deaths_by_crash);
    kvh_memfs_free(fs);
    return 0;
}

/* The fault runs can fail: each of three broken rules is noticed at one index or another.
 *
 * Method: this program has io.c built in, in place of the library's, with one rule broken at a time:
 * answers matched by slot alone, memory given back while its answer is out, short answers taken for
 * whole ones. The scripted run goes on in child processes; with no rule broken each survives. */
static int mutant;
#define KV_MUTANT_IO mutant
#include "kvstore/io.c"

#include "help_kv_codec.h"
#include "help_kv_io.h"

enum { BLOCKS = 24, INDEXES = 2 * BLOCKS };

static kvh_fault fault;
static int64_t fault_at;

static void run(void) {
    const kv_io_config config = {.timeout_s = fault == KVH_LATE ? 0.001 : 30};
    kvh_faults *faults = NULL;
    kv_io *io = NULL;
    const kv_io_engine engine = kvh_inject(kvh_ramdisk(), fault, fault_at, false, &faults);
    CHECK(kv_io_create_on(engine, &config, &io) == RT_OK);
    (void)kvh_script(io, "in memory", BLOCKS, faults);
    CHECK(kv_io_close(io) == RT_OK);
}

static int deaths(void) {
    int n = 0;
    for (fault_at = 0; fault_at < INDEXES; fault_at++) n += !kvh_survives(run);
    return n;
}

int main(void) {
    static const kvh_fault faults[] = {KVH_NONE, KVH_STALE, KVH_LATE, KVH_SHORT};
    for (int rule = 1; rule <= 3; rule++) {
        fault = faults[rule];
        mutant = 0;
        CHECK(deaths() == 0);
        mutant = rule;
        const int n = deaths();
        (void)printf("rule %d: noticed at %d of %d indexes\n", rule, n, INDEXES);
        (void)fflush(stdout); /* children would say it again */
        CHECK(n > INDEXES / 4);
    }
    return 0;
}

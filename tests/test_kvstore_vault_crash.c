/* After a crash at any moment every segment, book and state is whole or not there, and nothing that was
 * acknowledged as durable is lost.
 *
 * Method: a scripted run over a file system in memory that remembers every effect. From every moment
 * disks are made as a crash could have left them: all, none, all but for holes, or a random subset of
 * what no sync covers, writes torn between sectors, names in order or not; a vault is opened on each.
 * The same run over a disk that ignores syncs must be noticed. `test_kvstore_vault_crash SEED N`: N at each. */
#include "help_kv_script.h"

enum { PER_MOMENT = 75 };

/* Every moment, n_random random disks at each; returns broken promises. */
static int64_t crash_everywhere(const kvh_memfs *fs, const kvh_promises *promises, int n_random,
        bool says_so, uint64_t seed, int64_t *n) {
    int64_t n_broken = 0;
    for (int64_t k = 0; k <= kvh_memfs_n_effects(fs); k++)
        for (int i = 0; i < n_random + 3; i++) {
            const kvh_crash how = i == 0   ? KVH_CRASH_ALL
                                  : i == 1 ? KVH_CRASH_NONE
                                  : i == 2 ? KVH_CRASH_HOLES
                                           : KVH_CRASH_RANDOM;
            kvh_memfs *disk = kvh_memfs_crash(fs, k, how, &seed);
            n_broken += kvh_script_check(disk, promises, k, says_so && n_broken < 10);
            kvh_memfs_free(disk);
            ++*n;
        }
    return n_broken;
}

static int64_t run(bool is_lying, int n_random, uint64_t seed, int64_t *n_disks) {
    kvh_memfs *fs = kvh_memfs_new();
    if (is_lying) kvh_memfs_lie(fs);
    const kvh_promises promises = kvh_script_run_vault(fs);
    CHECK(promises.n_failed == 0 && promises.n >= 12);
    const int64_t n_broken = crash_everywhere(fs, &promises, n_random, !is_lying, seed, n_disks);
    kvh_memfs_free(fs);
    return n_broken;
}

int main(int argc, char **argv) {
    const bool is_fast = getenv("GLM_TEST_FAST");
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const int n_random = argc > 2 ? atoi(argv[2]) : is_fast ? 4 : PER_MOMENT;
    int64_t n_disks = 0, n_lying = 0;
    CHECK(run(false, n_random, seed, &n_disks) == 0);
    (void)printf("seed %llu: %lld disks\n", (unsigned long long)seed, (long long)n_disks);
    CHECK(n_disks >= (n_random < PER_MOMENT ? 500 : 10000));
    CHECK(run(true, 2, seed, &n_lying) > 100);
    return 0;
}

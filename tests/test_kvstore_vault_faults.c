/* Whatever call to the disk fails, once or from then on: the vault says so or does without, and what it
 * acknowledged is there afterwards.
 *
 * Method: a scripted run over a file system in memory; each of its calls fails in turn in each way.
 * Then the disk works again, and is looked at as after a crash. */
#include <errno.h>

#include "help_kv_script.h"

static int64_t n_injected, n_noticed;

static void run(int64_t at, int error, bool for_ever) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_memfs_fail(fs, at, error, for_ever);
    const kvh_promises promises = kvh_script_run_vault(fs);
    kvh_memfs_fail(fs, 0, 0, false);
    const int n_broken = kvh_script_check(fs, &promises, INT64_MAX, true);
    if (n_broken)
        (void)fprintf(stderr, "call %lld fails with %d%s\n", (long long)at, error,
                for_ever ? " for ever" : "");
    CHECK(n_broken == 0);
    n_injected++;
    n_noticed += promises.n_failed > 0;
    kvh_memfs_free(fs);
}

int main(void) {
    const int errors[] = {EIO, ENOSPC, EINTR, EACCES};
    const int64_t step = getenv("GLM_TEST_FAST") ? 17 : 1;
    kvh_memfs *fs = kvh_memfs_new();
    CHECK(kvh_script_run_vault(fs).n_failed == 0);
    const int64_t n_calls = kvh_memfs_n_calls(fs);
    kvh_memfs_free(fs);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        for (int64_t at = (int64_t)i; at < n_calls; at += step) {
            run(at, errors[i], false);
            if (at % 4 == 0) run(at, errors[i], true);
        }
    (void)printf("%lld calls, %lld failures injected, %lld runs noticed\n", (long long)n_calls,
            (long long)n_injected, (long long)n_noticed);
    CHECK(n_noticed > n_injected / 4);
    return 0;
}

/* Each run reads what is there, adds its cells, and replaces the whole. A lock makes that one step. Where there are no locks (Lustre without its flock
 * option) a cell may be lost in between; the run that it is of has it still, and writes it the next time, or at its end. */
#include "needle_share.h"

#include <time.h>
#include <unistd.h>

#include "base/file.h"

/* Whoever holds the lock writes two small files; who is stopped meanwhile stops nobody for longer. */
static const double patience_s = 10.0;

enum { SETTLE_MS = 200, SETTLE_TRIES_MAX = 8 };

static void pause_ms(int64_t ms) {
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

rt_status glm_needle_share(glm_needle_results *results, const char *dir, int64_t *n_joined) {
    const int64_t n_before = results->n;
    RT_TRY(rt_mkdirs(dir));
    const int fd = rt_directory_lock(dir, patience_s);
    rt_status status = glm_needle_results_load(results, dir);
    if (status == RT_OK) status = glm_needle_results_save(results, dir);
    if (fd >= 0) (void)close(fd);
    *n_joined = results->n - n_before;
    return status;
}

/* Does DIR have all of `results`? */
static rt_status find_all(const glm_needle_results *results, const char *dir, bool *has_all) {
    glm_needle_results there = {.header = results->header};
    const rt_status status = glm_needle_results_load(&there, dir);
    *has_all = true;
    for (int64_t i = 0; i < results->n; i++)
        *has_all = *has_all && glm_needle_results_has(&there, &results->records[i].cell);
    glm_needle_results_free(&there);
    return status;
}

static bool has_locks(const char *dir) {
    const int fd = rt_directory_lock(dir, patience_s);
    if (fd >= 0) (void)close(fd);
    return fd >= 0;
}

rt_status glm_needle_share_end(glm_needle_results *results, const char *dir) {
    if (results->n == 0 || has_locks(dir)) return RT_OK;
    for (int i = 0; i < SETTLE_TRIES_MAX; i++) {
        bool has_all = false;
        int64_t n_joined = 0;
        pause_ms(SETTLE_MS);
        RT_TRY(find_all(results, dir, &has_all));
        if (has_all) return RT_OK;
        RT_TRY(glm_needle_share(results, dir, &n_joined));
    }
    return RT_OK;
}

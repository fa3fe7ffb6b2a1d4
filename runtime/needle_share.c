/* Each run reads what is there, adds its cells, and replaces the whole. A lock makes that one step. Where there are no
 * locks (Lustre without its flock option), or one was waited for too long, a cell may be lost in between; the run that it
 * is of has it still, and writes it the next time, or at its end. */
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

/* Whoever holds the lock of DIR, or has none. */
static rt_status join_and_save(glm_needle_results *results, const char *dir) {
    RT_TRY(glm_needle_results_load(results, dir));
    return glm_needle_results_save(results, dir);
}

rt_status glm_needle_share(glm_needle_results *results, const char *dir, int64_t *n_joined) {
    const int64_t n_before = results->n;
    RT_TRY(rt_mkdirs(dir));
    const int fd = rt_directory_lock(dir, patience_s);
    const rt_status status = join_and_save(results, dir);
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

/* One look whether all is there, and what is not is written. *is_settled: nobody takes it away any more. */
static rt_status settle(
        glm_needle_results *results, const char *dir, double wait_s, bool *is_settled) {
    bool has_all = false;
    RT_TRY(rt_mkdirs(dir));
    const int fd = rt_directory_lock(dir, wait_s);
    if (fd < 0) pause_ms(SETTLE_MS);
    rt_status status = find_all(results, dir, &has_all);
    if (status == RT_OK && !has_all) status = join_and_save(results, dir);
    if (fd >= 0) (void)close(fd);
    *is_settled = has_all || fd >= 0;
    return status;
}

rt_status glm_needle_share_end(glm_needle_results *results, const char *dir) {
    bool is_settled = results->n == 0;
    for (int i = 0; i < SETTLE_TRIES_MAX && !is_settled; i++)
        RT_TRY(settle(results, dir, i == 0 ? patience_s : 0.0, &is_settled));
    return RT_OK;
}

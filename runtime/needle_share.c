/* Each run reads what is there, adds its cells, and replaces the whole. A lock makes that one step. Where there are no
 * locks (Lustre without its flock option), or one was waited for too long, a cell may be lost in between; the run that it
 * is of has it still, and writes it the next time, or at its end. */
#include "needle_share.h"

#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"

/* Whoever holds the lock writes two small files; who is stopped meanwhile holds nobody up for longer, and only once. */
static const double usual_s = 1.0;
static const double patience_s = 10.0;
static const double hurry_s = 0.1;

enum { SETTLE_MS = 200, SETTLE_TRIES_MAX = 8 };

static void pause_ms(int64_t ms) {
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* -1: there is no lock to be had; the cells are saved nevertheless. */
static int lock_directory(glm_needle_share *share) {
    bool is_held = false;
    int fd = rt_directory_lock(share->dir, share->is_held_up ? hurry_s : usual_s, &is_held);
    if (is_held && !share->is_held_up) {
        rt_log(RT_LOG_WARN, "needle",
                "another process holds %s/.lock: cells are saved without it if it does not let go within %.0f s",
                share->dir, patience_s);
        fd = rt_directory_lock(share->dir, patience_s, &is_held);
    }
    share->is_held_up = is_held;
    return fd;
}

/* Whoever holds the lock, or has none. */
static rt_status join_and_save(const glm_needle_share *share) {
    RT_TRY(glm_needle_results_load(share->results, share->dir));
    return glm_needle_results_save(share->results, share->dir);
}

rt_status glm_needle_share_save(glm_needle_share *share) {
    if (!share->dir) return RT_OK;
    RT_TRY(rt_mkdirs(share->dir));
    const int fd = lock_directory(share);
    const rt_status status = join_and_save(share);
    if (fd >= 0) (void)close(fd);
    return status;
}

/* Does the directory have all of the results? */
static rt_status find_all(const glm_needle_share *share, bool *has_all) {
    const glm_needle_results *results = share->results;
    glm_needle_results there = {.header = results->header};
    const rt_status status = glm_needle_results_load(&there, share->dir);
    *has_all = true;
    for (int64_t i = 0; i < results->n; i++)
        *has_all = *has_all && glm_needle_results_has(&there, &results->records[i].cell);
    glm_needle_results_free(&there);
    return status;
}

/* One look whether all is there, and what is not is written. *is_settled: nobody takes it away any more. */
static rt_status settle(glm_needle_share *share, bool *is_settled) {
    bool has_all = false;
    RT_TRY(rt_mkdirs(share->dir));
    const int fd = lock_directory(share);
    if (fd < 0) pause_ms(SETTLE_MS);
    rt_status status = find_all(share, &has_all);
    if (status == RT_OK && !has_all) status = join_and_save(share);
    if (fd >= 0) (void)close(fd);
    *is_settled = has_all || fd >= 0;
    return status;
}

rt_status glm_needle_share_end(glm_needle_share *share) {
    bool is_settled = !share->dir || share->results->n == 0;
    for (int i = 0; i < SETTLE_TRIES_MAX && !is_settled; i++) RT_TRY(settle(share, &is_settled));
    return RT_OK;
}

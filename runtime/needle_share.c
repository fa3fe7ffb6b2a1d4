/* Each run reads what is there, adds its cells, and replaces the whole. A lock makes that one step. Where there are no
 * locks (Lustre without its flock option), or one was waited for too long, a cell may be lost in between; the run that it
 * is of has it still, and writes it the next time, or at its end.
 *
 * While a run computes a cell it holds a lock, too: on a byte of a file, whose place says which cell. The system takes it
 * back from a run that dies, an NFS server from a machine that does. Where there are no locks two runs compute a cell
 * twice, and the one that is saved first counts. */
#include "needle_share.h"

#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/random.h"

/* Whoever holds the lock writes two small files; who is stopped meanwhile holds nobody up for longer, and only once. */
static const double usual_s = 1.0;
static const double patience_s = 10.0;
static const double hurry_s = 0.1;

enum { SETTLE_MS = 200, SETTLE_TRIES_MAX = 8 };

static void pause_ms(int64_t ms) {
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* A file of its own: on NFS flock() is a lock of all bytes of a file. */
void glm_needle_share_open(glm_needle_results *results, const char *dir, glm_needle_share *out) {
    *out = (glm_needle_share){.results = results,
            .dir = dir,
            .cells_fd = dir ? rt_lock_file_open(dir, ".cells") : -1};
}

void glm_needle_share_close(glm_needle_share *share) {
    if (share->cells_fd >= 0) (void)close(share->cells_fd);
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* Of any cell, of whatever grid: two that meet at one are not computed at once, no more. */
static int64_t byte_of(const glm_needle_cell *cell) {
    uint64_t mixed = rt_random_mix((uint64_t)cell->length);
    mixed = rt_random_mix(mixed ^ glm_needle_depth_number(cell->depth));
    return (int64_t)(rt_random_mix(mixed ^ (uint64_t)cell->round) >> 2);
}

rt_status glm_needle_share_take(
        glm_needle_share *share, const glm_needle_cell *cell, glm_needle_turn *turn) {
    *turn = GLM_NEEDLE_DONE;
    if (glm_needle_results_has(share->results, cell)) return RT_OK;
    const rt_byte_lock lock = rt_byte_lock_take(share->cells_fd, byte_of(cell));
    *turn = lock == RT_BYTE_OTHERS ? GLM_NEEDLE_ANOTHERS : GLM_NEEDLE_OURS;
    if (lock != RT_BYTE_OURS) return RT_OK;
    /* Whose it was may have saved it since we looked. */
    const rt_status status = glm_needle_results_load(share->results, share->dir);
    if (status == RT_OK && !glm_needle_results_has(share->results, cell)) return RT_OK;
    *turn = GLM_NEEDLE_DONE;
    glm_needle_share_give_back(share, cell);
    return status;
}

void glm_needle_share_give_back(glm_needle_share *share, const glm_needle_cell *cell) {
    rt_byte_lock_give_back(share->cells_fd, byte_of(cell));
}

/* ---- files ----------------------------------------------------------------------------------- */

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

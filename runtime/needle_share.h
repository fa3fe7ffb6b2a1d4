/* A directory of results that several runs write into, on one machine or on several. */
#ifndef GLM_NEEDLE_SHARE_H
#define GLM_NEEDLE_SHARE_H

#include "needle.h"

typedef struct glm_needle_share {
    glm_needle_results *results;
    const char *dir; /* NULL: results are kept nowhere */
    int cells_fd;    /* a byte of it is locked for each cell that a run is at; -1: nobody tells */
    bool is_held_up; /* the directory's lock was waited for in vain, the last time */
} glm_needle_share;

/* Borrows both; DIR is there. */
void glm_needle_share_open(glm_needle_results *results, const char *dir, glm_needle_share *out);
void glm_needle_share_close(glm_needle_share *share);

typedef enum glm_needle_turn {
    GLM_NEEDLE_OURS, /* nobody else begins it, if the file system knows locks, until it is given back or this process ends */
    GLM_NEEDLE_ANOTHERS, /* another run is at it */
    GLM_NEEDLE_DONE
} glm_needle_turn;

/* Before a cell is computed: may it be? What others have done of it meanwhile joins the results. Errors as for
 * glm_needle_share_save. */
RT_MUST_CHECK rt_status glm_needle_share_take(
        glm_needle_share *share, const glm_needle_cell *cell, glm_needle_turn *turn);
/* After it was saved, or failed. */
void glm_needle_share_give_back(glm_needle_share *share, const glm_needle_cell *cell);

/* Save the results in DIR, with the cells that other runs have put there: those join the results first.
 *
 * Errors: RT_EUSAGE  what is there is of other settings; RT_ECORRUPT, RT_EIO, RT_ENOMEM. All leave DIR as it was. */
RT_MUST_CHECK rt_status glm_needle_share_save(glm_needle_share *share);

/* After the last glm_needle_share_save, once: another run may have read before we wrote and written after that, where the file
 * system knows no locks, or where one of the two did not wait for it any longer. What DIR does not have of the results is
 * written again; without a lock that takes a second or two at most. */
RT_MUST_CHECK rt_status glm_needle_share_end(glm_needle_share *share);

#endif

/* A directory of results that several runs write into, on one machine or on several. */
#ifndef GLM_NEEDLE_SHARE_H
#define GLM_NEEDLE_SHARE_H

#include "needle.h"

/* Save `results` in DIR, with the cells that other runs have put there: those join `results` first, *n_joined of them.
 *
 * Errors: RT_EUSAGE  what is there is of other settings; RT_ECORRUPT, RT_EIO, RT_ENOMEM. All leave DIR as it was. */
RT_MUST_CHECK rt_status glm_needle_share(
        glm_needle_results *results, const char *dir, int64_t *n_joined);

/* After the last glm_needle_share, once: another run may have read before we wrote and written after that, where the file
 * system knows no locks, or where one of the two did not wait for it any longer. What DIR does not have of `results` is
 * written again; without a lock that takes a second or two at most. */
RT_MUST_CHECK rt_status glm_needle_share_end(glm_needle_results *results, const char *dir);

#endif

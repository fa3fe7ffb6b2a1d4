/* Directories that ranks have each for themselves: "%r" in a name stands for the rank's number. */
#ifndef GLM_RANK_DIRS_H
#define GLM_RANK_DIRS_H

#include "base/status.h"

/* Whether there is a "%r" in it. */
bool glm_has_rank_sign(const char *dir);

/* The name with every %r replaced; free(). RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_rank_dir(const char *dir, int32_t rank, char **out);

/* What the names stand for on other ranks than `but` (-1: on any), where it is there, or may come to be as
 * there are n_ranks now: names[*n_names], each and the array for free(). RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_rank_dirs_found(const char *const *dirs, int n_dirs, int32_t but,
        int32_t n_ranks, char ***names, int32_t *n_names);
void glm_rank_dirs_free(char **names, int32_t n_names);

#endif

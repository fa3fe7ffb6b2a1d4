/* Whether all ranks have the same weights. Those that open the same files of one machine do; where files
 * are others, on a disk of another machine, contents count: whoever is the first rank for its files has
 * them hashed while it loads (identity.h), which on the next start costs a stat. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ranks.h"

typedef struct rank_files {
    char host[PAR_NAME_BYTES];
    char files[65];
} rank_files;

rt_status glm_ranks_compare_files(
        par_comm *comm, const glm_checkpoint *checkpoint, bool *differ, bool *is_first) {
    rank_files mine = {0};
    rank_files all[PAR_RANKS_MAX];
    *differ = *is_first = false;
    if (comm->n_ranks == 1) return RT_OK;
    (void)gethostname(mine.host, sizeof mine.host - 1);
    RT_TRY(par_agree(comm, glm_identity_files(checkpoint, mine.files), NULL));
    RT_TRY(comm->share(comm, &mine, sizeof mine, all));
    *is_first = true;
    for (int r = 0; r < comm->n_ranks; r++) {
        *differ = *differ || memcmp(&all[r], &all[0], sizeof mine) != 0;
        if (r < comm->rank && memcmp(&all[r], &mine, sizeof mine) == 0) *is_first = false;
    }
    return RT_OK;
}

rt_status glm_ranks_compare_contents(par_comm *comm, const char *identity) {
    char text[GLM_IDENTITY_TEXT] = "";
    if (comm->n_ranks == 1) return RT_OK;
    if (identity) (void)snprintf(text, sizeof text, "%s", identity);
    RT_TRY(comm->tell(comm, text, sizeof text));
    return par_hello(comm, identity ? identity : text);
}

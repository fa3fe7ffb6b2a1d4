/* Ranks of a host share its cores, and each has its own where srun or mpirun has bound them: what they may use together is
 * the union, so that a quarter of it is a rank's in both cases.
 *
 * Method: what ranks would tell one another is played; the cgroup's quota counts in what is expected, too. */
#include <stdio.h>
#include <string.h>

#include "help_check.h"
#include "runtime/base/machine.h"
#include "runtime/ranks.h"

enum { N_RANKS = 4, ON_HOST_A = 3 };

static rt_core_mask told[N_RANKS];

static rt_status share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    CHECK(n_bytes == (int64_t)sizeof told[0]);
    memcpy(all, told, sizeof told);
    memcpy((char *)all + comm->rank * n_bytes, mine, (size_t)n_bytes);
    return RT_OK;
}

static int cores_with(const rt_core_mask *others, int n_others) {
    rt_core_mask all;
    rt_machine_core_mask(&all);
    for (int i = 0; i < n_others; i++)
        for (int w = 0; w < 16; w++) all.words[w] |= others[i].words[w];
    return rt_machine_cores_of(&all);
}

int main(void) {
    par_comm comm = {.rank = 1, .n_ranks = N_RANKS, .share = share, .transport = "mpi"};
    int32_t cores = 0;
    for (int r = 0; r < N_RANKS; r++)
        (void)snprintf(comm.hosts[r], sizeof comm.hosts[r], r < ON_HOST_A ? "a" : "b");

    /* All on the same cores: those of this process, once. */
    for (int r = 0; r < N_RANKS; r++) rt_machine_core_mask(&told[r]);
    CHECK(glm_ranks_cores(&comm, &cores) == RT_OK);
    CHECK(cores == rt_machine_cores());

    /* Each on its own, far from ours; the one on another host does not count. */
    memset(told, 0, sizeof told);
    told[0].words[14] = 0xff;
    told[2].words[14] = 0xff00;
    told[3].words[15] = 0xffff;
    CHECK(glm_ranks_cores(&comm, &cores) == RT_OK);
    CHECK(cores == cores_with((const rt_core_mask[]){told[0], told[2]}, 2));
    comm.rank = 3;
    CHECK(glm_ranks_cores(&comm, &cores) == RT_OK);
    CHECK(cores == rt_machine_cores());
    return 0;
}

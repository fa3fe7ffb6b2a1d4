/* Which transport a group uses. */
#include "parallel.h"

rt_status par_comm_open(const par_world *world, par_comm **out) {
    if (world->n_ranks < 1 || world->n_ranks > PAR_RANKS_MAX || world->rank < 0 ||
            world->rank >= world->n_ranks)
        return rt_fail(RT_EUSAGE, "parallel: rank %d of %d; 1 to %d ranks are possible",
                world->rank, world->n_ranks, PAR_RANKS_MAX);
    switch (world->transport) {
    case PAR_BY_SELF:
        if (world->n_ranks == 1) return par_comm_self_open(out);
        break;
    case PAR_BY_MPI:
        return par_comm_mpi_open(world, out);
    case PAR_BY_TCP:
        return par_comm_tcp_open(world, out);
    case PAR_BY_LOCAL:
        break;
    }
    return rt_fail(
            RT_EUNSUPPORTED, "parallel: this build has no transport for %d ranks", world->n_ranks);
}

void par_comm_close(par_comm *comm) {
    if (comm) comm->close(comm);
}

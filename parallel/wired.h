/* A group over a wire (exchange.h) with heartbeats beside it (watch.h): what comm_mpi.c and comm_tcp.c
 * are, but for the wire. Private to parallel. */
#ifndef PAR_WIRED_H
#define PAR_WIRED_H

#include <stddef.h>

#include "exchange.h"
#include "watch.h"

typedef struct par_wired {
    par_comm comm; /* first */
    par_wire wire;
    void *scratch;
    par_watch *watch;   /* NULL while the group is being made */
    char why[1024];     /* the first failure, with the step it was in; later ones are clean-up */
    bool is_at_barrier; /* the last thing that all did */

    /* [n_ranks]: the wire's connections, which end where a rank leaves; NULL: the launcher ends all. */
    const int *fds;

    /* Of the wire: go on with what was posted for, or to, a peer, and clear its bit once it is done. */
    rt_status (*move_recv)(par_wire *wire, int32_t peer);
    rt_status (*move_send)(par_wire *wire, int32_t peer);
} par_wired;

static inline par_wired *par_wired_of(par_comm *comm) {
    return (par_wired *)(void *)comm;
}

static inline par_wired *par_wired_of_wire(par_wire *wire) {
    return (par_wired *)(void *)((char *)wire - offsetof(par_wired, wire));
}

/* All operations but close. */
void par_wired_init(par_wired *wired, const char *transport);

/* Once the wire carries: learn the hosts, connect the heartbeats, get memory for sums. RT_EPEER,
 * RT_ENOMEM. */
RT_MUST_CHECK rt_status par_wired_start(par_wired *wired);

/* The wire's `progress`, by move_recv and move_send. */
RT_MUST_CHECK rt_status par_wired_progress(par_wire *wire);

/* RT_EPEER, with the reason and the step, once the group is over. */
RT_MUST_CHECK rt_status par_wired_check(par_wired *wired);
/* It is, for a reason that the others are told: "rank 0 on HOST: <doing> rank 2 on HOST failed: ...". */
RT_MUST_CHECK rt_status par_wired_broken(
        par_wired *wired, int32_t peer, const char *doing, const char *why);

/* The heartbeats' end. Whether the group's is orderly, behind a barrier; otherwise the others take it
 * for an abort. */
bool par_wired_stop(par_wired *wired);

#endif

/* Heartbeats over sockets, for ranks on any machines: a thread of each rank, so that a rank that
 * computes for minutes is known to live and one that froze is not waited for. (comm_local.c has its
 * own, in shared memory.) Private to parallel. */
#ifndef PAR_WATCH_H
#define PAR_WATCH_H

#include "parallel.h"

typedef struct par_watch par_watch;

/* Begin. fds: rank 0 has a socket to each other rank, they have one to rank 0; -1 elsewhere. Takes
 * them over, also on failure. hosts: of the ranks, for messages. RT_ENOMEM; where that is for want of a thread, *out is there all
 * the same, to be stopped: until then the others do not take us for gone. */
RT_MUST_CHECK rt_status par_watch_start(int32_t rank, int32_t n_ranks,
        const char hosts[PAR_RANKS_MAX][PAR_NAME_BYTES], const int fds[PAR_RANKS_MAX],
        par_watch **out);

/* End the group, once, for all ranks. Any thread, at once. */
void par_watch_end(par_watch *watch, const char *why);

/* RT_EPEER, with the reason, once the group is over. Any thread, at once. */
RT_MUST_CHECK rt_status par_watch_check(par_watch *watch);

/* Whether a rank has been silent for so long that it may be what froze: not known yet. Any thread. */
bool par_watch_is_in_doubt(par_watch *watch);

/* Leave: orderly, behind a barrier, or as one whose end is the group's. Frees it; accepts NULL. */
void par_watch_stop(par_watch *watch, bool is_orderly);

#endif

/* Collectives over a wire that carries messages from rank to rank: what comm_mpi.c and comm_tcp.c
 * have in common. Host memory; not part of the public interface.
 *
 * Sums are taken in ascending order of ranks in fp32, so that every rank gets the same bits, run
 * after run, and the same as from comm_local.c. Long operands go in slices: rank r receives
 * everybody's slice r, sums it, and gives the sum to all, which moves 2 (n - 1) / n of the operand
 * in and out of each rank; short ones, where the number of trips counts, are sent whole to everybody,
 * and every rank takes the same sum. */
#ifndef PAR_EXCHANGE_H
#define PAR_EXCHANGE_H

#include "parallel.h"

/* One message at a time in each direction between two ranks; in order; at most
 * PAR_MESSAGE_BYTES_MAX. A bit a peer: what was posted and is not done. */
enum { PAR_MESSAGE_BYTES_MAX = 1 << 26 };
_Static_assert(PAR_RANKS_MAX <= 64, "peers are bits of a word");

typedef struct par_wire par_wire;
struct par_wire {
    int32_t rank;
    int32_t n_ranks;
    uint64_t sending;
    uint64_t receiving;

    /* The bytes stay the wire's until the peer's bit is gone. */
    rt_status (*post_send)(par_wire *wire, int32_t to, const void *bytes, int64_t n_bytes);
    rt_status (*post_recv)(par_wire *wire, int32_t from, void *bytes, int64_t n_bytes);
    /* Move what can be moved, clear the bits of what is done. RT_EPEER: the group is over, by what
     * happened on this wire or because the heartbeats say so. */
    rt_status (*progress)(par_wire *wire);
    /* Sleep until something may have moved, at most so long. */
    void (*sleep)(par_wire *wire, int64_t microseconds);
};

/* What par_comm's operations are made of; data and bytes as there. `scratch` holds
 * par_exchange_scratch_bytes(). */
int64_t par_exchange_scratch_bytes(int32_t n_ranks);
RT_MUST_CHECK rt_status par_exchange_all_reduce(
        par_wire *wire, float *data, int64_t n, void *scratch);
RT_MUST_CHECK rt_status par_exchange_all_gather(
        par_wire *wire, const void *mine, int64_t n_bytes, void *all);
RT_MUST_CHECK rt_status par_exchange_broadcast(
        par_wire *wire, void *data, int64_t n_bytes, int32_t root);
RT_MUST_CHECK rt_status par_exchange_send(
        par_wire *wire, const void *data, int64_t n_bytes, int32_t to);
RT_MUST_CHECK rt_status par_exchange_recv(
        par_wire *wire, void *data, int64_t n_bytes, int32_t from);
RT_MUST_CHECK rt_status par_exchange_tell(par_wire *wire, void *bytes, int64_t n_bytes);
RT_MUST_CHECK rt_status par_exchange_barrier(par_wire *wire);

#endif

/* Tensor parallelism: who owns which heads, columns and rows, and how bytes move between ranks. Knows
 * no attention and no pages.
 *
 *   shard.c   who owns what
 *   comm.c    which transport; comm_self.c a group of one
 *   agree.c   comparing notes
 *   comm_local.c  processes on one machine; local_data.c moves their bytes, local_launch.c starts them,
 *                 local_beat.c watches them
 *   launcher.c    who started this process: mpirun, srun, torchrun
 *   comm_mpi.c    ranks on any machines, by MPI: mpi_plugin.c is what links it
 *   comm_tcp.c    the same by TCP; exchange.c, wired.c, watch.c and tcp.c are what both stand on
 *   comm_nccl.c   device memory, beside one of the others; comm_nccl_library.c opens the library
 *
 * Every rank holds a contiguous run of query heads, the KV heads those read, and a contiguous
 * share of the MLP's columns and of the vocabulary's rows. With more ranks than KV heads, ranks in
 * a row share one and each holds a copy: memory per rank stops shrinking there.
 *
 * Source: Shoeybi et al. 2019, arXiv:1909.08053 (Megatron-LM), sections 3 and 4. */
#ifndef PAR_PARALLEL_H
#define PAR_PARALLEL_H

#include <stdatomic.h>

#include "runtime/base/status.h"

/* What is divided. */
typedef struct par_widths {
    int32_t n_heads;
    int32_t n_kv_heads;
    int64_t ffn;
    int64_t vocab;
} par_widths;

/* One rank's part: [first, first + n) of each. */
typedef struct par_shard {
    int32_t rank;
    int32_t n_ranks;
    int32_t first_head;
    int32_t n_heads;
    int32_t first_kv_head;
    int32_t n_kv_heads;
    int32_t kv_copies; /* ranks that hold the same KV heads, this one included */
    int64_t first_ffn; /* of gate and of up alike: each half is divided by itself */
    int64_t n_ffn;
    int64_t first_vocab;
    int64_t n_vocab;
} par_shard;

/* Errors: RT_EUSAGE  n_ranks does not divide the model; the message says which width and which
 *                    rank counts would do */
RT_MUST_CHECK rt_status par_shard_make(
        const par_widths *widths, int32_t rank, int32_t n_ranks, par_shard *out);

/* ---- ranks that work together ------------------------------------------------------------------
 *
 * A comm is what one rank holds of the group: numbers, and one function pointer an operation, filled
 * by comm_self.c, comm_local.c, comm_mpi.c, comm_tcp.c or comm_nccl.c. Two kinds of operation:
 *
 *   data     all_reduce, all_gather, broadcast, send, recv: operands where `memory` says, queued on
 *            `stream` where that is a device, done on return where it is the host (stream is NULL)
 *   control  tell, share, barrier: small, host memory, done on return whatever the transport
 *
 * Every rank calls the same collectives in the same order with the same sizes. Sums are taken in
 * ascending order of ranks, every element by one rank: all ranks get the same bits, run after run.
 * (NCCL sums in an order of its own, which its version, the machines' links, the number of ranks and
 * the size decide: the same bits on all ranks, and in every run on the same machines.)
 *
 * A rank that waits may wait as long as the others work: it sleeps after a bounded spin, in `tell`
 * at once. That another rank died (within 5 s) or froze (within 10 s) is noticed beside that, by
 * heartbeats of a thread of their own; from then on every operation of every rank fails:
 *
 *   Errors: RT_EPEER  another rank is gone, frozen, or gave up, or what came from it is not what is
 *                     due: the message names rank, host and step. The group is over; close it. */

typedef enum par_memory { PAR_HOST, PAR_DEVICE } par_memory;

enum { PAR_RANKS_MAX = 64, PAR_NAME_BYTES = 64, PAR_SHARE_BYTES_MAX = 4096 };

/* Since the comm was opened. Waiting: for other ranks to come, in data collectives, and in shares and
 * barriers, where ranks meet before they sum. Moving: the rest of data collectives, copies and sums.
 * Where a transport cannot tell them apart all of it is moving; operations queued on a device take
 * neither here. */
typedef struct par_stats {
    int64_t n_calls;
    int64_t n_bytes; /* of this rank's operands */
    double wait_s;
    double move_s;
} par_stats;

typedef struct par_comm par_comm;
struct par_comm {
    const char *transport;        /* "self", "local", "mpi", "tcp", "nccl" */
    char library[PAR_NAME_BYTES]; /* name and version of what it stands on; "" for none */
    int32_t rank;
    int32_t n_ranks;
    par_memory memory; /* of data operands */
    char hosts[PAR_RANKS_MAX][PAR_NAME_BYTES];
    par_stats stats;

    /* What is being done, for messages: the runtime writes it at each step. */
    int64_t step;
    const char *step_name; /* "prefill"; a string constant */
    /* Nothing is: whoever uses the group waits for something else, and for no device. The runtime writes it, too. */
    atomic_bool is_idle;

    /* data[n] = the sum over ranks of their data[n]. */
    rt_status (*all_reduce)(par_comm *comm, float *data, int64_t n, void *stream);
    /* all[r * n_bytes ...] = rank r's mine[n_bytes]. `mine` may be its own place in `all`. */
    rt_status (*all_gather)(
            par_comm *comm, const void *mine, int64_t n_bytes, void *all, void *stream);
    rt_status (*broadcast)(par_comm *comm, void *data, int64_t n_bytes, int32_t root, void *stream);
    rt_status (*send)(par_comm *comm, const void *data, int64_t n_bytes, int32_t to, void *stream);
    rt_status (*recv)(par_comm *comm, void *data, int64_t n_bytes, int32_t from, void *stream);

    /* Rank 0's bytes[n_bytes] to all others, which sleep until they come. Any size. */
    rt_status (*tell)(par_comm *comm, void *bytes, int64_t n_bytes);
    /* Every rank's mine[n_bytes <= PAR_SHARE_BYTES_MAX] to all, as all_gather. */
    rt_status (*share)(par_comm *comm, const void *mine, int64_t n_bytes, void *all);
    rt_status (*barrier)(par_comm *comm);

    /* RT_EPEER once the group is over; at once, from any thread. Where `memory` is PAR_DEVICE, what was
     * queued when it ended is cut short without an error: ask after each wait for the stream. */
    rt_status (*check)(par_comm *comm);
    /* End the group now: what other ranks wait in, or call next, fails with this text. From any
     * thread; returns at once. */
    void (*abort)(par_comm *comm, const char *why);
    /* Let go of everything and free the comm. Orderly after a barrier; otherwise the others take it
     * for an abort. */
    void (*close)(par_comm *comm);
};

/* How this process finds the others. Where no transport is chosen: 1 rank is PAR_BY_SELF. */
typedef enum par_transport { PAR_BY_SELF, PAR_BY_LOCAL, PAR_BY_MPI, PAR_BY_TCP } par_transport;
typedef struct par_world {
    par_transport transport;
    int32_t rank;
    int32_t n_ranks;
    const char *address; /* what the transport needs; NULL where it needs nothing */
} par_world;

/* What a launcher's environment says of this process; PAR_BY_SELF where none started it:
 *
 *   mpirun, mpiexec (Open MPI, MPICH, Intel), srun --mpi=pmix|pmi2     PAR_BY_MPI
 *   torchrun, or RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT set by hand  PAR_BY_TCP, "host:port"; the next
 *       port where torchrun holds that one
 *
 * `address` is what out->address may point to.
 *
 * Errors: RT_EUSAGE  variables that contradict each other or are no numbers, or srun without
 *                    --mpi: the message names the variable or says how to start */
enum { PAR_ADDRESS_BYTES = 300 };
RT_MUST_CHECK rt_status par_world_from_environment(par_world *out, char address[PAR_ADDRESS_BYTES]);

/* Join the group. Every rank calls it, and par_hello() next.
 *
 * Errors: RT_EUNSUPPORTED  this machine has no such library; RT_EPEER, RT_EUSAGE, RT_ENOMEM */
RT_MUST_CHECK rt_status par_comm_open(const par_world *world, par_comm **out);
/* Accepts NULL. */
void par_comm_close(par_comm *comm);

/* A group of one. RT_ENOMEM. */
RT_MUST_CHECK rt_status par_comm_self_open(par_comm **out);

/* A group on this machine, of this process as rank 0 and n_ranks - 1 that it starts: `program rank FD`,
 * where FD is the number of a descriptor that par_local_join() turns into their comm. They have no
 * standard input and output, and end with this process.
 *
 * Errors: RT_EUSAGE  n_ranks; RT_ENOMEM  processes, sockets or shared memory */
RT_MUST_CHECK rt_status par_local_launch(int32_t n_ranks, const char *program, par_comm **out);
/* Memory that such a group shares, all ranks together. */
int64_t par_local_bytes(int32_t n_ranks);
/* Errors: RT_EUSAGE  not such a descriptor; RT_EPEER  another build of the program; RT_ENOMEM */
RT_MUST_CHECK rt_status par_local_join(int control_fd, par_comm **out);

/* Ranks that an MPI launcher started, on any machines; host memory. world: what the launcher's
 * environment says, compared with what MPI says.
 *
 * Errors: RT_EUNSUPPORTED  no plug-in, or no MPI that it can load: the message says what to do
 *         RT_EUSAGE        MPI and the launcher do not know each other */
RT_MUST_CHECK rt_status par_comm_mpi_open(const par_world *world, par_comm **out);

/* Ranks that torchrun or a script started, on any machines; host memory. world->address: "host:port",
 * where rank 0 listens; it waits 2 minutes for the others, and they for it.
 *
 * Errors: RT_EUSAGE  no such host; RT_EIO  the port is taken; RT_EPEER  who did not come */
RT_MUST_CHECK rt_status par_comm_tcp_open(const par_world *world, par_comm **out);

/* "Open MPI v4.1.4, plug-in built with Open MPI 4.1.4"; RT_EUNSUPPORTED says why not. */
RT_MUST_CHECK rt_status par_mpi_describe(char *text, int64_t text_bytes);

/* Device data by NCCL, in the calling thread's current device, which no other rank may use. `control`,
 * whose ranks have greeted each other, carries everything else; it is the new comm's once that is
 * open, and the caller's, to be closed, where it fails. The other ranks are waited for. Threads
 * watch NCCL's errors and `control`: once either fails, NCCL's operations are aborted, so that a
 * wait for the stream ends, and the group is over for all. Where NCCL does not come back from that within leave_s,
 * what waits for the GPU may wait for ever: unless the group is idle, or closed before, the process is ended, with exit
 * code 6.
 *
 * Errors, of one rank or of all: RT_EUNSUPPORTED  no NCCL, or too old
 *         RT_EPEER  another NCCL on another rank, NCCL failed, or the others did not come within
 *                   timeout_s */
typedef struct par_nccl_options {
    const char *path; /* of the library; NULL: libnccl.so.2 where the system looks */
    double timeout_s; /* for NCCL to begin or to end, and to take an operation; 0: 120 s */
    double leave_s;   /* for NCCL to be aborted; 0: 15 s */
} par_nccl_options;
RT_MUST_CHECK rt_status par_comm_nccl_open(
        par_comm *control, const par_nccl_options *options, par_comm **out);

/* "NCCL 2.28.9, build 9fcf74d9"; RT_EUNSUPPORTED says why not. */
RT_MUST_CHECK rt_status par_nccl_describe(char *text, int64_t text_bytes);

/* Before anything else: compare facts, "key=value" lines of the caller's (build, config, weights,
 * options), the group's size and the transport's library; learn the hosts' names. All ranks find the
 * same difference.
 *
 * Errors: RT_EPEER  a rank differs from rank 0: its number, its host and the two values */
RT_MUST_CHECK rt_status par_hello(par_comm *comm, const char *facts);

/* What became of a step, decided together: RT_OK where every rank brings RT_OK, otherwise the status
 * and the text of the lowest rank that does not, with its number in front unless it is rank 0, which
 * speaks for all. *smallest: the smallest of
 * what the ranks bring; NULL: nothing. A group of one returns `mine`. */
RT_MUST_CHECK rt_status par_agree(par_comm *comm, rt_status mine, int64_t *smallest);

#endif

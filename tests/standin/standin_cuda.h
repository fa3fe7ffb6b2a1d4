/* What plays CUDA's runtime in tests without a GPU. Kernels are those of the tree, run by tests/emu.
 *
 * Device memory is memory of the host that the host cannot touch: it is mapped without any rights but while the
 * "device" works, ends at a page that never has any, is NaN until written, and is gone when freed. Copies are
 * checked against what was allocated, on both sides. Streams are queues: what is in them runs when somebody has to
 * wait for it, or earlier, in an order of the test's choice that the program's events allow; so an order that the
 * program forgot to ask for shows as a wrong result. A copy reads the host's memory when it runs, not when it
 * is queued. Graphs record what is queued, and queue it again. What CUDA asks of any call is in standin_rules.h.
 *
 * Any finding ends the process with exit code 3. */
#ifndef STANDIN_CUDA_H
#define STANDIN_CUDA_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { STANDIN_EXIT_FOUND = 3 };

/* When queued work runs. */
typedef enum standin_order {
    STANDIN_LATE,   /* when it is waited for, and only what is */
    STANDIN_EARLY,  /* at once */
    STANDIN_RANDOM, /* sometimes, by standin_cuda.seed */
    STANDIN_COPIES  /* as soon as events allow, but on the first stream, which computes, late */
} standin_order;

/* Set by the test, or from the environment: STANDIN_CUDA_ORDER=late|early|copies|SEED, STANDIN_CUDA_FAIL_AT=N,
 * STANDIN_CUDA_MEMORY=BYTES, STANDIN_CUDA_CONTEXT=BYTES, STANDIN_CUDA_CAPABILITY=80|90, STANDIN_CUDA_DEVICES=N, STANDIN_CUDA_BUS=N (where
 * the first one is), STANDIN_CUDA_NO_GRAPHS_ON=N (that one refuses graphs), STANDIN_CUDA_NO_EARLY_ON=N (and that one kernels that
 * begin early, in graphs), STANDIN_CUDA_ABSENT=N (CUDA's error instead of
 * GPUs), STANDIN_CUDA_NO_KERNELS=N (its error where one is loaded), STANDIN_CUDA_DRIVER=12040|0 (for 12.4; none),
 * STANDIN_CUDA_REFUSED_PRODUCTS=ROWS. A process uses one of its devices, and all are alike. */
typedef struct standin_cuda {
    standin_order order;
    uint64_t seed;
    int32_t n_devices;
    int32_t capability; /* 80: 8.0 */
    int64_t memory_bytes;
    int64_t context_bytes; /* of it, that are taken from the beginning, by CUDA or by another process */
    int64_t fail_at;       /* this call, counted from 1, fails; 0: none does */
    bool fails_in_kernel; /* not the call, but what it queues: the stream is broken from there on */
    bool waits_well;      /* a wait does not fail: after that nothing goes on */
    bool fails_once_recording; /* the call that failed was made while a graph was recorded, or to make it, or asked what is free */
    bool refuses_graphs; /* for want of memory none is instantiated */
    int64_t graph_bytes; /* that an instantiated one takes besides its nodes */
    int64_t refused_rows; /* a product's kernel may not be taken for so many, if it was chosen for others */
    int64_t refused_products;   /* of so many rows: it may, and yet the product is refused */
    int64_t n_refused_products; /* so far */
    bool is_unguarded; /* the host could touch its memory, and much is quicker: before the first allocation */

    int64_t n_calls; /* that can fail, so far */
    int64_t n_early; /* kernels that were queued to begin early */
    int64_t n_graph_launches;
    int64_t n_graphs; /* instantiated ones that there are, and all their nodes; */
    int64_t n_graph_nodes;
    int64_t n_graph_nodes_max;
    int64_t n_drained; /* waits of the host that found kernels queued, and left none: the device had nothing to do then */
    int64_t n_exposed; /* STANDIN_COPIES: times that the first stream, which computes, waited for another one's work that could
                        * not begin before its own last kernel had run: nothing hides it */
    int64_t bytes_copied; /* by kernels, into shared memory: attention's keys and values, and queries */
    int64_t n_copies_out; /* to the host's memory, that were called for, and their bytes */
    int64_t bytes_out;
    int64_t device_bytes; /* allocated now, */
    int64_t lost_bytes;   /* behind large pieces, which CUDA gives in multiples of 2 MiB, */
    int64_t pinned_bytes;
    int64_t device_bytes_max;
    int64_t n_objects; /* streams, events, graphs, blocks of memory that are there now */
} standin_cuda;

/* The one there is. */
standin_cuda *standin_cuda_get(void);
/* Something has failed on it, when nobody called. */
void standin_cuda_break(void);

/* ---- for the libraries that are played ------------------------------------------------------- */

/* One of them is called, by a thread whose device is the right one. */
void standin_cuda_begin_call(const char *name);
/* The same of one that may load kernels, or take memory: not while a graph is recorded. */
void standin_cuda_begin_unsafe_call(const char *name);
/* A call that can fail is made: whether it does. */
bool standin_cuda_fails(void);

/* run(context), for a stream; drop(context) when it is not needed any more. */
typedef struct standin_cuda_work {
    const char *what;
    void (*run)(void *context);
    void *context;
    void (*drop)(void *context);
} standin_cuda_work;
/* False: the call fails. */
bool standin_cuda_queue(void *stream, standin_cuda_work work);
/* Work that waits for other processes, which do not wait for ours to wait: where nobody here waits for the stream
 * either, it runs by itself after a while, as on a GPU. */
bool standin_cuda_queue_meeting(void *stream, standin_cuda_work work);
bool standin_cuda_is_capturing(void *stream);
/* Kernels on the first stream that have not run yet. */
int64_t standin_cuda_n_queued(void);
/* Whether it is device memory, all of it. */
bool standin_cuda_is_on_device(const void *at, int64_t bytes);

#ifdef __cplusplus
}
#endif

#endif

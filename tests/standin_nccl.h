/* A stand-in for libnccl.so.2, for tests without a GPU: a library of its own that writes down what is
 * called, checks that it is called as NCCL's documentation allows, and fails, hangs or lingers where
 * its script says. Data are not moved. */
#ifndef STANDIN_NCCL_H
#define STANDIN_NCCL_H

#include <stdatomic.h>
#include <stdint.h>

#include "parallel/comm_nccl_library.h"

enum { STANDIN_CALLS_MAX = 64, STANDIN_NEVER = -1 };

typedef struct standin_call {
    const char *name;
    const void *from;
    void *to;
    int64_t count;
    int type;
    int peer;
    void *stream;
} standin_call;

typedef struct standin_nccl {
    /* The script. Calls are those of the thread that makes the communicator, from 0 on, without the
     * questions it asks while something is in progress. */
    int version;
    int fail_at; /* this call ... */
    nccl_result fail_with;
    int hang_at;             /* this call returns only after ncclCommAbort */
    int linger_at;           /* this call stays in progress ... */
    int linger_polls;        /* ... for so many questions; STANDIN_NEVER: for ever */
    _Atomic int error;       /* an asynchronous error, from when it is set on */
    _Atomic int abort_hangs; /* ncclCommAbort returns only after this was taken back */

    /* What was seen. */
    _Atomic int n_calls;
    standin_call calls[STANDIN_CALLS_MAX];
    nccl_config config;
    int n_ranks;
    int rank;
    nccl_id id;
    _Atomic int n_aborts;
    _Atomic int n_destroyed;
    _Atomic(const char *) misuse; /* NULL: none */
} standin_nccl;

/* The library's own symbol, STANDIN_NCCL_SYMBOL; everything above is as at the start after reset. */
#define STANDIN_NCCL_SYMBOL "standin_nccl_reset"
standin_nccl *standin_nccl_reset(void);

#endif

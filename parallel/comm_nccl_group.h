/* What comm_nccl.c and comm_nccl_watch.c share: a group of devices. Private to parallel. */
#ifndef PAR_NCCL_GROUP_H
#define PAR_NCCL_GROUP_H

#include <pthread.h>
#include <stdatomic.h>

#include "comm_nccl_library.h"
#include "parallel.h"

enum { NCCL_WHY_BYTES = 768 };

typedef struct nccl_group {
    par_comm comm; /* first */
    par_comm *control;
    nccl_library nccl;
    double timeout_s;
    double leave_s;

    pthread_mutex_t lock; /* around calls of NCCL, and `handle` */
    nccl_comm handle;     /* NULL: aborted, or destroyed */

    /* What the thread that has the lock is doing, for the watcher; the last call's stays. */
    _Atomic int64_t call_since_ms; /* 0: nothing */
    _Atomic(const char *) call_name;
    _Atomic int64_t step;
    _Atomic(const char *) step_name;

    pthread_t asker, watcher;
    bool has_asker, has_watcher;
    atomic_bool is_over;
    atomic_bool is_closing;
    atomic_bool is_asker_done;
    pthread_mutex_t why_lock;
    pthread_cond_t wake; /* with why_lock: is_over or is_closing was set */
    char why[NCCL_WHY_BYTES];
} nccl_group;

/* comm_nccl_watch.c: the end of a group, and the threads that look for it. */

/* End it, for the other ranks, too; the first reason stays. From any thread, at once: the asker aborts NCCL. */
void nccl_end(nccl_group *group, const char *why);
/* RT_EPEER with the reason. */
RT_MUST_CHECK rt_status nccl_ended(nccl_group *group);
/* End it for what NCCL said of the call, and say so. */
RT_MUST_CHECK rt_status nccl_failed(nccl_group *group, nccl_result result);
RT_MUST_CHECK rt_status nccl_timed_out(nccl_group *group);

/* RT_ENOMEM */
RT_MUST_CHECK rt_status nccl_watch_start(nccl_group *group);
/* False where the asker hangs in NCCL: both threads are left behind, and what they use must be, too. */
bool nccl_watch_stop(nccl_group *group);

#endif

/* Threads: one pool per engine, parallel loops over independent items.
 *
 * Items are handed out one at a time, so slow ones balance; results may not depend on which thread
 * takes an item. Waiting threads spin briefly, then sleep. A core shared with another program must not
 * stop us: a thread that is late is not waited for, and while one is held up in the middle of short
 * loops the caller does without. */
#ifndef RT_POOL_H
#define RT_POOL_H

#include "status.h"

typedef struct rt_pool rt_pool;

/* n_threads in all, the calling thread included; 0 means rt_machine_cores().
 *
 * Errors: RT_ENOMEM  a thread could not be started; RT_EUSAGE  n_threads < 0 or > 1024 */
RT_MUST_CHECK rt_status rt_pool_create(int n_threads, rt_pool **out);
/* In no loop. Accepts NULL. */
void rt_pool_free(rt_pool *pool);

/* n_threads. */
int rt_pool_threads(const rt_pool *pool);

/* Call work(context, item, thread) for every item in [0, n_items), thread in [0, n_threads), and
 * return when all are done. `thread` is the caller's index in the pool: scratch space may be
 * addressed by it. Fewer than 2^32 - 1 items; one loop at a time per pool; not reentrant. */
typedef void rt_pool_work(void *context, int64_t item, int thread);
void rt_pool_run(rt_pool *pool, int64_t n_items, rt_pool_work *work, void *context);

#endif

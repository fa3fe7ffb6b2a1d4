/* Threads that are not a pool's (pool.h). */
#ifndef RT_THREAD_H
#define RT_THREAD_H

#include <pthread.h>

#include "status.h"

/* For pthread_join(). WHAT cannot be done without it ("parallel: no heartbeat thread") begins the error; the system's reason,
 * which pthread_create() returns and does not leave in errno, ends it. */
RT_MUST_CHECK rt_status rt_thread_start(
        pthread_t *thread, void *(*run)(void *), void *argument, const char *what);

#endif

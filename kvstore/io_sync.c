/* Many syncs side by side, by threads that last as long as they: a drive far away answers one in a second, and a hundred,
 * too. Not requests of an engine: those have deadlines, and a sync has none. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "io_engine.h"

typedef struct work {
    kv_io_sync *syncs;
    int n;
    atomic_int next;
} work;

static void *sync_some(void *argument) {
    work *w = argument;
    for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->n;) {
        kv_io_sync *sync = &w->syncs[i];
        sync->result = sync->dir ? kv_io_posix_sync_dir(NULL, sync->dir)
                                 : kv_io_posix_sync(NULL, sync->fd);
    }
    return NULL;
}

/* The caller is one of them; threads that cannot be had are done without. Signals are for the others. */
void kv_io_posix_sync_all(void *self, kv_io_sync *syncs, int n) {
    (void)self;
    work w = {.syncs = syncs, .n = n};
    pthread_t threads[KV_IO_SYNCS_AT_ONCE - 1];
    sigset_t all, before;
    int n_threads = 0;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (n_threads < KV_IO_SYNCS_AT_ONCE - 1 && n_threads < n - 1 &&
            pthread_create(&threads[n_threads], NULL, sync_some, &w) == 0)
        n_threads++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)sync_some(&w);
    for (int i = 0; i < n_threads; i++) (void)pthread_join(threads[i], NULL);
}

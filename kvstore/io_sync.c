/* Many syncs, looks, lists and opens side by side, by threads that last as long as they: a drive far away answers one in a
 * second, and a hundred, too. Not requests of an engine: those have deadlines, and these have none. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "io_engine.h"

typedef struct work {
    void (*one)(void *items, int i);
    void *items;
    int n;
    atomic_int next;
} work;

static void *do_some(void *argument) {
    work *w = argument;
    for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->n;) w->one(w->items, i);
    return NULL;
}

/* The caller is one of them; threads that cannot be had are done without. Signals are for the others. */
static void side_by_side(void (*one)(void *items, int i), void *items, int n) {
    work w = {.one = one, .items = items, .n = n};
    pthread_t threads[KV_IO_SYNCS_AT_ONCE - 1];
    sigset_t all, before;
    int n_threads = 0;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (n_threads < KV_IO_SYNCS_AT_ONCE - 1 && n_threads < n - 1 &&
            pthread_create(&threads[n_threads], NULL, do_some, &w) == 0)
        n_threads++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)do_some(&w);
    for (int i = 0; i < n_threads; i++) (void)pthread_join(threads[i], NULL);
}

static void sync_one(void *items, int i) {
    kv_io_sync *sync = (kv_io_sync *)items + i;
    sync->result =
            sync->dir ? kv_io_posix_sync_dir(NULL, sync->dir) : kv_io_posix_sync(NULL, sync->fd);
}

static void look_at_one(void *items, int i) {
    kv_io_look *look = (kv_io_look *)items + i;
    look->result = kv_io_posix_stat(NULL, look->path, &look->stat);
}

static void list_one(void *items, int i) {
    kv_io_list *list = (kv_io_list *)items + i;
    list->result = kv_io_posix_list_dir(NULL, list->dir, &list->names);
}

static void open_one(void *items, int i) {
    kv_io_opening *opening = (kv_io_opening *)items + i;
    opening->result = kv_io_posix_open(NULL, opening->path, opening->flags);
}

void kv_io_posix_sync_all(void *self, kv_io_sync *syncs, int n) {
    (void)self;
    side_by_side(sync_one, syncs, n);
}

void kv_io_posix_look_all(void *self, kv_io_look *looks, int n) {
    (void)self;
    side_by_side(look_at_one, looks, n);
}

void kv_io_posix_list_all(void *self, kv_io_list *lists, int n) {
    (void)self;
    side_by_side(list_one, lists, n);
}

void kv_io_posix_open_all(void *self, kv_io_opening *openings, int n) {
    (void)self;
    side_by_side(open_one, openings, n);
}

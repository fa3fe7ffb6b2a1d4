#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "machine.h"
#include "memory.h"

/* How a loop runs: the caller publishes work, n_items and next = 0, then raises `generation`.
 * Workers see the new generation (spinning, else asleep on `wake`), take items from `next`, and
 * count themselves off in `n_busy`; the last one wakes the caller. */
enum { SPINS = 2000, THREADS_MAX = 1024 };

struct rt_pool {
    int n_threads;
    pthread_t *threads; /* n_threads - 1 workers; the caller is thread 0 */
    int n_started;

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_cond_t done;
    atomic_uint generation;
    atomic_int n_busy;
    atomic_bool is_stopping;

    rt_pool_work *work;
    void *context;
    int64_t n_items;
    _Alignas(64) atomic_llong next;
};

typedef struct worker {
    rt_pool *pool;
    int index;
} worker;

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void take_items(rt_pool *pool, int thread) {
    for (;;) {
        const int64_t item = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (item >= pool->n_items) return;
        pool->work(pool->context, item, thread);
    }
}

/* The first generation after `seen`. */
static unsigned wait_for_work(rt_pool *pool, unsigned seen) {
    for (int spin = 0; spin < SPINS; spin++) {
        const unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen) return now;
        relax();
    }
    (void)pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->generation) == seen)
        (void)pthread_cond_wait(&pool->wake, &pool->mutex);
    const unsigned now = atomic_load(&pool->generation);
    (void)pthread_mutex_unlock(&pool->mutex);
    return now;
}

static void *worker_main(void *argument) {
    const worker self = *(worker *)argument;
    free(argument);
    rt_pool *pool = self.pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_work(pool, seen);
        if (atomic_load(&pool->is_stopping)) return NULL;
        take_items(pool, self.index);
        if (atomic_fetch_sub_explicit(&pool->n_busy, 1, memory_order_acq_rel) != 1) continue;
        (void)pthread_mutex_lock(&pool->mutex);
        (void)pthread_cond_signal(&pool->done);
        (void)pthread_mutex_unlock(&pool->mutex);
    }
}

static void publish(rt_pool *pool) {
    (void)pthread_mutex_lock(&pool->mutex);
    (void)atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    (void)pthread_cond_broadcast(&pool->wake);
    (void)pthread_mutex_unlock(&pool->mutex);
}

static void wait_for_workers(rt_pool *pool) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&pool->n_busy, memory_order_acquire) == 0) return;
        relax();
    }
    (void)pthread_mutex_lock(&pool->mutex);
    while (atomic_load_explicit(&pool->n_busy, memory_order_acquire) != 0)
        (void)pthread_cond_wait(&pool->done, &pool->mutex);
    (void)pthread_mutex_unlock(&pool->mutex);
}

void rt_pool_run(rt_pool *pool, int64_t n_items, rt_pool_work *work, void *context) {
    if (pool->n_started == 0 || n_items <= 1) {
        for (int64_t item = 0; item < n_items; item++) work(context, item, 0);
        return;
    }
    pool->work = work;
    pool->context = context;
    pool->n_items = n_items;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->n_busy, pool->n_started, memory_order_relaxed);
    publish(pool);
    take_items(pool, 0);
    wait_for_workers(pool);
}

static rt_status start_worker(rt_pool *pool, int index) {
    void *argument = NULL;
    RT_TRY(rt_malloc(sizeof(worker), "a pool thread", &argument));
    *(worker *)argument = (worker){.pool = pool, .index = index};
    const int error = pthread_create(&pool->threads[index - 1], NULL, worker_main, argument);
    if (error) {
        free(argument);
        return rt_fail(RT_ENOMEM, "threads: cannot start thread %d of %d (error %d)", index + 1,
                pool->n_threads, error);
    }
    pool->n_started++;
    return RT_OK;
}

rt_status rt_pool_create(int n_threads, rt_pool **out) {
    if (n_threads < 0 || n_threads > THREADS_MAX)
        return rt_fail(RT_EUSAGE, "threads: %d threads asked for, 1 to %d are possible", n_threads,
                THREADS_MAX);
    rt_pool *pool = NULL;
    void *memory = NULL;
    RT_TRY(rt_mem_alloc(sizeof(rt_pool), "the thread pool", &memory));
    pool = memory;
    pool->n_threads = n_threads ? n_threads : rt_machine_cores();
    (void)pthread_mutex_init(&pool->mutex, NULL);
    (void)pthread_cond_init(&pool->wake, NULL);
    (void)pthread_cond_init(&pool->done, NULL);
    rt_status status =
            rt_calloc(pool->n_threads, (int64_t)sizeof(pthread_t), "pool threads", &pool->threads);
    for (int i = 1; status == RT_OK && i < pool->n_threads; i++) status = start_worker(pool, i);
    if (status != RT_OK) {
        rt_pool_free(pool);
        return status;
    }
    *out = pool;
    return RT_OK;
}

void rt_pool_free(rt_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->is_stopping, true);
    publish(pool);
    for (int i = 0; i < pool->n_started; i++) (void)pthread_join(pool->threads[i], NULL);
    (void)pthread_cond_destroy(&pool->done);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->threads);
    rt_mem_free(pool, sizeof(rt_pool));
}

int rt_pool_threads(const rt_pool *pool) {
    return pool->n_threads;
}

/* How a loop runs. One word, `ticket`, holds the loop's number and the next item of it; a thread takes an
 * item by advancing it, which fails once the loop is another. So a worker that is late, because it
 * slept or its core went to another program, takes nothing and is not waited for; only items that were
 * taken are.
 *
 *     caller   ticket = (loop + 1, none); work, context, n_items; ticket = (loop + 1, 0); wake sleepers
 *     each     take items until there are none; add their number to `n_done`
 *     caller   waits until n_done = n_items
 *
 * Both wait by spinning for some ten microseconds, then by sleeping on a futex.
 *
 * Short loops beside a busy core: a worker that loses its core in the middle of an item holds up the
 * caller for some milliseconds, many times the loop. After such a stall the caller goes alone for a
 * while: it begins loops itself and calls the workers only to those that last. */
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "machine.h"
#include "memory.h"
#include "thread.h"

enum { SPINS = 2000, THREADS_MAX = 1024 };

static const uint32_t no_item = UINT32_MAX;

/* A wait this long, and longer than the rest of the loop, is a stall; alone for this many times it. */
static const double stall_s = 1e-3;
static const double alone_per_stall = 10.0;
/* A loop that lasts this long is worth calling the workers also then. */
static const double long_loop_s = 1e-3;

struct rt_pool {
    int n_threads;
    pthread_t *threads; /* n_threads - 1 workers; the caller is thread 0 */
    int n_started;
    double alone_until; /* the caller's */

    _Atomic(rt_pool_work *) work;
    _Atomic(void *) context;
    _Atomic uint32_t n_items;
    atomic_bool is_stopping;
    _Alignas(64) _Atomic uint64_t ticket; /* loop << 32 | next item */
    _Alignas(64) _Atomic uint32_t loop;   /* futex: workers sleep until it changes */
    _Atomic uint32_t n_asleep;
    _Alignas(64) _Atomic uint32_t n_done; /* futex: the caller sleeps until it is n_items */
    atomic_bool caller_sleeps;
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

/* ---- futexes --------------------------------------------------------------------------------- */

/* Sleeps only while *word is `value`; may return for no reason. */
static void sleep_on(_Atomic uint32_t *word, uint32_t value) {
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word, int n) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* ---- items ----------------------------------------------------------------------------------- */

/* Do one item of loop `loop`; false when none is left or the loop is over. What was read of the loop is
 * its own if the ticket still is, for the caller changes the ticket first. */
static bool take_item(rt_pool *pool, uint32_t loop, int thread) {
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    for (;;) {
        rt_pool_work *work = atomic_load_explicit(&pool->work, memory_order_acquire);
        void *context = atomic_load_explicit(&pool->context, memory_order_acquire);
        const uint32_t n_items = atomic_load_explicit(&pool->n_items, memory_order_acquire);
        const uint32_t item = (uint32_t)ticket;
        if (ticket >> 32 != loop || item >= n_items) return false;
        if (!atomic_compare_exchange_weak_explicit(
                    &pool->ticket, &ticket, ticket + 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        work(context, item, thread);
        return true;
    }
}

static uint32_t take_items(rt_pool *pool, uint32_t loop, int thread) {
    uint32_t n = 0;
    while (take_item(pool, loop, thread)) n++;
    return n;
}

/* ---- workers --------------------------------------------------------------------------------- */

/* The number of the first loop after `seen`. */
static uint32_t wait_for_loop(rt_pool *pool, uint32_t seen) {
    uint32_t now = seen;
    for (int spin = 0; spin < SPINS; spin++) {
        now = atomic_load_explicit(&pool->loop, memory_order_acquire);
        if (now != seen) return now;
        relax();
    }
    (void)atomic_fetch_add(&pool->n_asleep, 1);
    while ((now = atomic_load(&pool->loop)) == seen) sleep_on(&pool->loop, seen);
    (void)atomic_fetch_sub(&pool->n_asleep, 1);
    return now;
}

static void *worker_main(void *argument) {
    const worker self = *(worker *)argument;
    free(argument);
    rt_pool *pool = self.pool;
    uint32_t seen = 0;
    for (;;) {
        seen = wait_for_loop(pool, seen);
        if (atomic_load(&pool->is_stopping)) return NULL;
        const uint32_t n_items = atomic_load_explicit(&pool->n_items, memory_order_acquire);
        const uint32_t n = take_items(pool, seen, self.index);
        if (n == 0) continue;
        /* Having done an item of the loop, we know that n_items was its own; and that the loop is not
         * over before these are counted. */
        if (atomic_fetch_add(&pool->n_done, n) + n == n_items && atomic_load(&pool->caller_sleeps))
            wake(&pool->n_done, 1);
    }
}

/* ---- the caller ------------------------------------------------------------------------------ */

static void call_workers(rt_pool *pool) {
    (void)atomic_fetch_add(&pool->loop, 1);
    if (atomic_load(&pool->n_asleep) > 0) wake(&pool->loop, pool->n_started);
}

static void wait_for_items(rt_pool *pool, uint32_t n_items) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&pool->n_done, memory_order_acquire) == n_items) return;
        relax();
    }
    atomic_store(&pool->caller_sleeps, true);
    for (;;) {
        const uint32_t n = atomic_load(&pool->n_done);
        if (n == n_items) break;
        sleep_on(&pool->n_done, n);
    }
    atomic_store(&pool->caller_sleeps, false);
}

/* The ticket first: from here on nobody takes an item of the last loop. */
static uint32_t publish(rt_pool *pool, uint32_t n_items, rt_pool_work *work, void *context) {
    const uint32_t loop = atomic_load_explicit(&pool->loop, memory_order_relaxed) + 1;
    atomic_store(&pool->ticket, (uint64_t)loop << 32 | no_item);
    atomic_store_explicit(&pool->work, work, memory_order_release);
    atomic_store_explicit(&pool->context, context, memory_order_release);
    atomic_store_explicit(&pool->n_items, n_items, memory_order_release);
    atomic_store_explicit(&pool->n_done, 0, memory_order_release);
    atomic_store(&pool->ticket, (uint64_t)loop << 32);
    return loop;
}

/* Items of a loop that the workers have not been called to, until it turns out to be long. */
static uint32_t take_alone(rt_pool *pool, uint32_t loop, double started) {
    uint32_t n = 0;
    while (take_item(pool, loop, 0)) {
        n++;
        if (rt_now() - started > long_loop_s) break;
    }
    return n;
}

void rt_pool_run(rt_pool *pool, int64_t n_items, rt_pool_work *work, void *context) {
    if (pool->n_started == 0 || n_items <= 1) {
        for (int64_t item = 0; item < n_items; item++) work(context, item, 0);
        return;
    }
    rt_assert(n_items < no_item);
    const double started = rt_now();
    const uint32_t loop = publish(pool, (uint32_t)n_items, work, context);
    uint32_t n = started < pool->alone_until ? take_alone(pool, loop, started) : 0;
    if (n == n_items) return;
    call_workers(pool);
    n += take_items(pool, loop, 0);
    if (atomic_fetch_add(&pool->n_done, n) + n == n_items) return;
    const double waiting = rt_now();
    wait_for_items(pool, (uint32_t)n_items);
    const double end = rt_now();
    const double waited = end - waiting;
    if (waited > stall_s && waited > waiting - started)
        pool->alone_until = end + alone_per_stall * waited;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static rt_status start_worker(rt_pool *pool, int index) {
    void *argument = NULL;
    RT_TRY(rt_malloc(sizeof(worker), "a pool thread", &argument));
    *(worker *)argument = (worker){.pool = pool, .index = index};
    char what[64];
    (void)snprintf(
            what, sizeof what, "threads: cannot start thread %d of %d", index + 1, pool->n_threads);
    const rt_status status =
            rt_thread_start(&pool->threads[index - 1], worker_main, argument, what);
    if (status == RT_OK)
        pool->n_started++;
    else
        free(argument);
    return status;
}

/* What users and terminals send is for the thread that started us, which waits in poll(): a worker asleep is not woken for it
 * (and TSan does not see one that sleeps on a futex, and would keep the signal from all). Faults stay the worker's own. */
static rt_status start_workers(rt_pool *pool) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCONT, SIGTSTP, SIGWINCH};
    rt_status status = RT_OK;
    sigset_t held;
    sigset_t before;
    (void)sigemptyset(&held);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)sigaddset(&held, numbers[i]);
    (void)pthread_sigmask(SIG_BLOCK, &held, &before);
    for (int i = 1; status == RT_OK && i < pool->n_threads; i++) status = start_worker(pool, i);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
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
    rt_status status =
            rt_calloc(pool->n_threads, (int64_t)sizeof(pthread_t), "pool threads", &pool->threads);
    if (status == RT_OK) status = start_workers(pool);
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
    call_workers(pool);
    for (int i = 0; i < pool->n_started; i++) (void)pthread_join(pool->threads[i], NULL);
    free(pool->threads);
    rt_mem_free(pool, sizeof(rt_pool));
}

int rt_pool_threads(const rt_pool *pool) {
    return pool->n_threads;
}

/* A parallel loop does every item once, and is over when the last one is, whoever was late or asleep.
 *
 * Method: pools of 1 to 5 threads, so more than cores too; loops of 0 to 999 items, thousands of them
 * back to back, some after a pause in which the workers fall asleep, some in which a worker is held up so
 * long that the caller sleeps, and then goes on alone. An item marks its place with the loop's number and
 * adds its value; a second visit, a visit from another loop or a missing one shows at once. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/base/pool.h"

enum { ITEMS_MAX = 999, THREADS_MAX = 5 };

typedef struct loop {
    int64_t number;
    bool holds_workers;
    int64_t marks[ITEMS_MAX];  /* plain memory: TSan sees what the pool does not order */
    int64_t sums[THREADS_MAX]; /* of each thread's items */
    int n_threads;
} loop;

static void sleep_ms(long ms) {
    const struct timespec time = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&time, NULL);
}

static void visit(void *context, int64_t item, int thread) {
    loop *l = context;
    if (l->holds_workers) sleep_ms(thread > 0 ? 2 : 0);
    if (thread < 0 || thread >= l->n_threads || l->marks[item] == l->number) abort();
    l->marks[item] = l->number;
    l->sums[thread] += item + 1;
}

static bool run(rt_pool *pool, loop *l, int64_t n_items) {
    l->number++;
    for (int t = 0; t < THREADS_MAX; t++) l->sums[t] = 0;
    rt_pool_run(pool, n_items, visit, l);
    int64_t sum = 0;
    for (int t = 0; t < THREADS_MAX; t++) sum += l->sums[t];
    for (int64_t i = 0; i < n_items; i++)
        if (l->marks[i] != l->number) return false;
    return sum == n_items * (n_items + 1) / 2;
}

static bool run_many(int n_threads, int64_t n_loops) {
    static loop l;
    rt_pool *pool = NULL;
    if (rt_pool_create(n_threads, &pool) != RT_OK || rt_pool_threads(pool) != n_threads)
        return false;
    l.n_threads = n_threads;
    bool is_right = true;
    for (int64_t i = 0; i < n_loops && is_right; i++) {
        l.holds_workers = i % 97 == 3;
        if (i % 193 == 0) sleep_ms(2);
        const int64_t n_items = i % 7 == 0 ? i % (ITEMS_MAX + 1) : i % 5;
        is_right = run(pool, &l, l.holds_workers ? 10 : n_items);
    }
    rt_pool_free(pool);
    return is_right;
}

int main(void) {
    const int64_t n_loops = getenv("GLM_TEST_FAST") ? 800 : 4000;
    for (int n_threads = 1; n_threads <= THREADS_MAX; n_threads++)
        if (!run_many(n_threads, n_loops)) {
            printf("FAIL: %d threads: an item was left out, or done by another loop\n", n_threads);
            return 1;
        }
    return 0;
}

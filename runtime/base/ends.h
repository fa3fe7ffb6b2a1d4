/* Which of a loop's items a thread takes: from the front or from the back of them, so that from one loop to the next
 * most items are the same threads', which find in their caches what they left there. Cores may be far apart. */
#ifndef RT_ENDS_H
#define RT_ENDS_H

#include <stdatomic.h>
#include <stdint.h>

/* Zero at the start of a loop. */
typedef struct rt_ends {
    _Atomic int64_t n_front;
    _Atomic int64_t n_back;
} rt_ends;

/* One of n items that nobody has yet. In a loop of n items (rt_pool_run), called once for each. */
static inline int64_t rt_ends_take(rt_ends *ends, int64_t n, int thread) {
    if (thread % 2 == 0) return atomic_fetch_add(&ends->n_front, 1);
    return n - 1 - atomic_fetch_add(&ends->n_back, 1);
}

#endif

/* Threads are those that the affinity mask allows: a program bound to one core starts one.
 *
 * Method: bind this process to each core that it may use in turn, then to all of them again, and ask what
 * the machine grants and how many threads a pool takes when it is to choose. */
#include <sched.h>
#include <stdio.h>

#include "runtime/base/machine.h"
#include "runtime/base/pool.h"

static bool grants(const cpu_set_t *set, int n_cores) {
    rt_pool *pool = NULL;
    if (sched_setaffinity(0, sizeof *set, set) != 0 || rt_pool_create(0, &pool) != RT_OK)
        return false;
    const int n_threads = rt_pool_threads(pool);
    rt_pool_free(pool);
    if (n_threads == n_cores && rt_machine_cores() == n_cores) return true;
    printf("FAIL: bound to %d cores: %d granted, %d threads\n", n_cores, rt_machine_cores(),
            n_threads);
    return false;
}

int main(void) {
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return 1;
    const int n_granted = rt_machine_cores(); /* fewer than the mask's where a quota is tighter */
    bool is_right = true;
    for (size_t core = 0, n = 0; core < CPU_SETSIZE && n < 4; core++) {
        if (!CPU_ISSET(core, &all)) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        is_right = grants(&one, 1) && is_right;
        n++;
    }
    return is_right && grants(&all, n_granted) ? 0 : 1;
}

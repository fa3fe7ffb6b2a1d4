/* A group of one is a group: every collective leaves what it would with one rank.
 *
 * Method: open it, call everything, compare. */
#include <stdio.h>
#include <string.h>

#include "parallel/parallel.h"

#define OK(call)    expect((call) == RT_OK, rt_error_text())
#define CHECK(fact) expect(fact, #fact)

static int n_failed;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    (void)printf("FAIL: %s\n", what);
    n_failed++;
}

int main(void) {
    const par_world world = {.n_ranks = 1};
    par_comm *comm = NULL;
    OK(par_comm_open(&world, &comm));
    OK(par_hello(comm, "build=1\n"));
    CHECK(comm->rank == 0 && comm->n_ranks == 1 && comm->hosts[0][0]);
    float data[3] = {1.0f, -0.0f, 3.5f};
    const float before[3] = {1.0f, -0.0f, 3.5f};
    float all[3] = {0};
    OK(comm->all_reduce(comm, data, 3, NULL));
    OK(comm->broadcast(comm, data, sizeof data, 0, NULL));
    OK(comm->tell(comm, data, sizeof data));
    CHECK(memcmp(data, before, sizeof data) == 0);
    OK(comm->all_gather(comm, data, sizeof data, all, NULL));
    CHECK(memcmp(all, before, sizeof all) == 0);
    memset(all, 0, sizeof all);
    OK(comm->share(comm, data, sizeof data, all));
    CHECK(memcmp(all, before, sizeof all) == 0);
    OK(comm->barrier(comm));
    CHECK(comm->send(comm, data, 4, 1, NULL) == RT_EUSAGE);
    CHECK(comm->recv(comm, data, 4, 1, NULL) == RT_EUSAGE);
    int64_t smallest = 7;
    CHECK(par_agree(comm, RT_EIO, &smallest) == RT_EIO && smallest == 7);
    OK(par_agree(comm, RT_OK, NULL));
    par_comm_close(comm);
    const par_world wrong = {.n_ranks = 2, .rank = 2, .transport = PAR_BY_LOCAL};
    CHECK(par_comm_open(&wrong, &comm) == RT_EUSAGE);
    return n_failed ? 1 : 0;
}

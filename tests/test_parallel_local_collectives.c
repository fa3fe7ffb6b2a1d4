/* Processes of one machine: every collective gives every rank what it must, whatever the sizes, and
 * sums are taken in ascending order of ranks, the same bits on every rank.
 *
 * Method: this program starts itself as the other ranks (2, 3, 4 and 8 of them). Every rank makes the
 * operands of all ranks from their number, computes what is due, and compares byte for byte: sizes of
 * none, one, a few, and several slots with a rest; sums of numbers whose order shows in their bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/parallel.h"

#define OK(call)    expect((call) == RT_OK, rt_error_text())
#define CHECK(fact) expect(fact, #fact)

static const par_comm *group;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    (void)fprintf(stderr, "FAIL on rank %d of %d: %s\n", group ? group->rank : -1,
            group ? group->n_ranks : 0, what);
    exit(1);
}

static const int64_t sizes[] = {1, 2, 7, 1000, 262144, 600001};
enum { SIZE_MAX_FLOATS = 600001 };
static float *mine, *due, *all;

static float value(int rank, int64_t i) {
    const float magnitude[] = {1.0f, 1e-4f, 3e7f, -3e7f, 0.3f};
    return magnitude[(rank + i) % 5] * (1.0f + (float)((rank * 7 + i) % 1013));
}

static void fill(int rank, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) out[i] = value(rank, i);
}

static void check_sum(par_comm *comm, int64_t n) {
    fill(comm->rank, n, mine);
    for (int64_t i = 0; i < n; i++) {
        due[i] = value(0, i);
        for (int r = 1; r < comm->n_ranks; r++) due[i] += value(r, i);
    }
    OK(comm->all_reduce(comm, mine, n, NULL));
    CHECK(memcmp(mine, due, (size_t)n * 4) == 0);
}

static void check_gather(par_comm *comm, int64_t n) {
    fill(comm->rank, n, mine);
    OK(comm->all_gather(comm, mine, n * 4, all, NULL));
    for (int r = 0; r < comm->n_ranks; r++) {
        fill(r, n, due);
        CHECK(memcmp(all + r * n, due, (size_t)n * 4) == 0);
    }
}

static void check_broadcast(par_comm *comm, int64_t n) {
    const int root = (int)(n % comm->n_ranks);
    fill(comm->rank, n, mine);
    fill(root, n, due);
    OK(comm->broadcast(comm, mine, n * 4, root, NULL));
    CHECK(memcmp(mine, due, (size_t)n * 4) == 0);
    fill(comm->rank, n, mine);
    fill(0, n, due);
    OK(comm->tell(comm, mine, n * 4));
    CHECK(memcmp(mine, due, (size_t)n * 4) == 0);
}

/* A ring: to the next rank, from the one before. */
static void check_mails(par_comm *comm, int64_t n) {
    const int next = (comm->rank + 1) % comm->n_ranks;
    const int before = (comm->rank + comm->n_ranks - 1) % comm->n_ranks;
    fill(comm->rank, n, mine);
    if (comm->rank % 2 == 0) OK(comm->send(comm, mine, n * 4, next, NULL));
    if (comm->rank > 0 || comm->n_ranks % 2 == 0) {
        OK(comm->recv(comm, all, n * 4, before, NULL));
        fill(before, n, due);
        CHECK(memcmp(all, due, (size_t)n * 4) == 0);
    }
    if (comm->rank % 2 == 1) OK(comm->send(comm, mine, n * 4, next, NULL));
    if (comm->rank == 0 && comm->n_ranks % 2 == 1) OK(comm->recv(comm, all, n * 4, before, NULL));
}

static void check_agreement(par_comm *comm) {
    int64_t smallest = 100 - comm->rank;
    OK(par_agree(comm, RT_OK, &smallest));
    CHECK(smallest == 101 - comm->n_ranks);
    const rt_status bad = comm->rank == 1 ? rt_fail(RT_EIO, "the disk of one") : RT_OK;
    CHECK(par_agree(comm, bad, NULL) == RT_EIO);
    CHECK(strstr(rt_error_text(), "rank 1 on ") && strstr(rt_error_text(), "the disk of one"));
}

static void work(par_comm *comm) {
    group = comm;
    all = malloc((size_t)comm->n_ranks * SIZE_MAX_FLOATS * 4);
    mine = malloc(SIZE_MAX_FLOATS * 4);
    due = malloc(SIZE_MAX_FLOATS * 4);
    CHECK(all && mine && due);
    OK(par_hello(comm, "build=test\n"));
    const size_t n_sizes = getenv("GLM_TEST_FAST") ? 4 : sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < n_sizes; i++) {
        check_sum(comm, sizes[i]);
        check_gather(comm, sizes[i]);
        check_broadcast(comm, sizes[i]);
        check_mails(comm, sizes[i]);
        check_agreement(comm);
    }
    CHECK(comm->stats.n_calls == 3 * (int64_t)n_sizes && comm->stats.move_s >= 0.0);
    OK(comm->barrier(comm));
    par_comm_close(comm);
    group = NULL;
    free(all);
    free(mine);
    free(due);
}

int main(int argc, char **argv) {
    par_comm *comm = NULL;
    if (argc == 3 && strcmp(argv[1], "rank") == 0) {
        OK(par_local_join(atoi(argv[2]), &comm));
        work(comm);
        return 0;
    }
    static const int counts[] = {2, 3, 4, 8};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        OK(par_local_launch(counts[i], "/proc/self/exe", &comm));
        work(comm);
    }
    CHECK(par_local_launch(1, "/proc/self/exe", &comm) == RT_EUSAGE);
    CHECK(par_local_join(0, &comm) == RT_EUSAGE);
    return 0;
}

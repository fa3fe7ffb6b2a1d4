#include "help_collectives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/log.h"
#include "runtime/base/random.h"

#define OK(call)    expect((call) == RT_OK, rt_error_text())
#define CHECK(fact) expect(fact, #fact)

static int n_failed;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    (void)printf("FAIL: %s\n", what);
    n_failed++;
}

/* Element i of rank r: a random sign and mantissa, exponents from -20 to 20. */
static float element(int r, int64_t i) {
    const uint64_t x = rt_random_mix((uint64_t)i * 64 + (uint64_t)r + 1);
    const float mantissa = 1.0f + (float)(x & 0xffff) / 65536.0f;
    const float scale = (float)(UINT64_C(1) << (x >> 16 & 31));
    return x >> 63 ? -mantissa * scale : mantissa / scale;
}

static void check_all_reduce(par_comm *comm, int64_t n) {
    float *data = malloc((size_t)(n + 1) * sizeof *data);
    if (!data) exit(1);
    for (int64_t i = 0; i < n; i++) data[i] = element(comm->rank, i);
    data[n] = 7.0f;
    OK(comm->all_reduce(comm, data, n, NULL));
    int64_t n_wrong = 0;
    for (int64_t i = 0; i < n; i++) {
        float sum = element(0, i);
        for (int r = 1; r < comm->n_ranks; r++) sum += element(r, i);
        n_wrong += memcmp(&sum, &data[i], sizeof sum) != 0;
    }
    if (n_wrong) (void)printf("all_reduce of %lld: %lld wrong\n", (long long)n, (long long)n_wrong);
    CHECK(n_wrong == 0 && data[n] == 7.0f);
    free(data);
}

static void fill(unsigned char *bytes, int r, int64_t n) {
    for (int64_t i = 0; i < n; i++) bytes[i] = (unsigned char)(i * 7 + r * 31 + 1);
}

static bool is_filled(const unsigned char *bytes, int r, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (bytes[i] != (unsigned char)(i * 7 + r * 31 + 1)) return false;
    return true;
}

static void check_copies(par_comm *comm, int64_t n) {
    unsigned char *all = calloc((size_t)comm->n_ranks, (size_t)n);
    unsigned char *mine = malloc((size_t)n);
    if (!all || !mine) exit(1);
    fill(mine, comm->rank, n);
    OK(comm->all_gather(comm, mine, n, all, NULL));
    for (int r = 0; r < comm->n_ranks; r++) CHECK(is_filled(all + r * n, r, n));
    for (int root = 0; root < comm->n_ranks; root++) {
        fill(mine, comm->rank, n);
        OK(comm->broadcast(comm, mine, n, root, NULL));
        CHECK(is_filled(mine, root, n));
    }
    /* Along the line: everybody but the last sends to the next. */
    fill(mine, comm->rank, n);
    if (comm->rank > 0) {
        OK(comm->recv(comm, all, n, comm->rank - 1, NULL));
        CHECK(is_filled(all, comm->rank - 1, n));
    }
    if (comm->rank + 1 < comm->n_ranks) OK(comm->send(comm, mine, n, comm->rank + 1, NULL));
    fill(mine, comm->rank, n);
    OK(comm->tell(comm, mine, n));
    CHECK(is_filled(mine, 0, n));
    free(mine);
    free(all);
}

static double cpu_seconds(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Rank 0 thinks for half a second, or longer on a busy machine; the others must not compute meanwhile. */
static void check_idle(par_comm *comm) {
    const struct timespec thinking = {.tv_nsec = 500 * 1000 * 1000};
    OK(comm->barrier(comm));
    const double before = cpu_seconds();
    const double begin = rt_now();
    if (comm->rank == 0) (void)nanosleep(&thinking, NULL);
    char word[4] = "go";
    OK(comm->tell(comm, word, sizeof word));
    const double spent = cpu_seconds() - before;
    const double passed = rt_now() - begin;
    const bool is_idle = spent <= 0.15 || spent <= 0.3 * passed;
    if (!is_idle)
        (void)printf("rank %d: %.3f s of CPU in %.3f s, idle\n", comm->rank, spent, passed);
    CHECK(is_idle);
}

static void check_agreement(par_comm *comm) {
    int64_t smallest = 100 - comm->rank;
    OK(par_agree(comm, RT_OK, &smallest));
    CHECK(smallest == 100 - (comm->n_ranks - 1));
    const rt_status mine = comm->rank == 1 ? rt_fail(RT_EIO, "no room left") : RT_OK;
    CHECK(par_agree(comm, mine, NULL) == RT_EIO);
    CHECK(strstr(rt_error_text(), "rank 1 on ") && strstr(rt_error_text(), "no room left"));
}

int help_collectives_check(par_comm *comm) {
    static const int64_t sizes[] = {0, 1, 3, 4096, 4097, 100003, 32768 * 4 + 5};
    OK(par_hello(comm, "build=1\n"));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) check_all_reduce(comm, sizes[i]);
    check_copies(comm, 1);
    check_copies(comm, 100003);
    check_agreement(comm);
    check_idle(comm);
    CHECK(comm->stats.n_calls > 7 && comm->stats.n_bytes > 0);
    OK(comm->check(comm));
    OK(comm->barrier(comm));
    return n_failed;
}

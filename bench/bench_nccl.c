/* What NCCL takes of a GPU's memory, and how long GPUs take to sum.
 *
 *   bench_nccl [RANKS [ROWS]]      as many GPUs (1), so many rows of a chunk (8448, prefill's)
 *
 * Memory: what is free of it, as the driver says (cudaMemGetInfo), before the communicator is made, behind it,
 * and behind the first call of each kind that runtime/ranks_cuda.c makes, of every rank the most that is taken;
 * the plan counts with 640 MiB, of several ranks 1082 (glm_cuda_ranks_bytes). Nothing else runs on the GPUs meanwhile.
 *
 * Time, of 2 GPUs and more: of a sum of one row of the 9B (4096 fp32: decode) and of a chunk (prefill), 50 and
 * 5 of them queued one after the other, and of the 80 of a decode step, from a CUDA graph, as decode_cuda.c has
 * them. By the host's clock, of the slowest rank; best and median of 5. GB/s are of the bytes that a rank must
 * send at least, 2 (n - 1) / n of the operand. bench_cost_model counts with 25 us a sum of decode. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_measure.h"
#include "help_runs.h"
#include "parallel/parallel.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "runtime/find_cuda.h"

enum {
    WIDTH = 4096,
    N_LAYERS = 40,
    VOCAB = 151552,
    ROWS = 8448,
    N_RUNS = 5,
    N_OF_DECODE = 50,
    N_OF_PREFILL = 5
};

typedef struct bench {
    glm_cuda_device device;
    par_comm *comm; /* NCCL's, which carries the rest by the processes' group */
    float *data;    /* [rows][WIDTH] */
    float *logits;  /* [VOCAB] */
    int64_t rows;
    glm_cuda_graph graph;
} bench;

static bool is_first(const bench *b) {
    return b->comm->rank == 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int64_t free_bytes(int32_t place) {
    char text[256];
    rt_device_memory memory = {0};
    if (!glm_cuda_is_usable(place, text, (int64_t)sizeof text, &memory))
        bench_must(rt_fail(RT_EUNSUPPORTED, "%s", text));
    return memory.free_bytes;
}

/* Between `before` and now, of the rank that gave most. */
static void print_taken(const bench *b, int64_t before, const char *what) {
    int64_t of_ranks[PAR_RANKS_MAX];
    int64_t most = 0;
    const int64_t mine = before - free_bytes(b->comm->rank);
    bench_must(b->comm->share(b->comm, &mine, (int64_t)sizeof mine, of_ranks));
    for (int32_t r = 0; r < b->comm->n_ranks; r++) most = rt_max64(most, of_ranks[r]);
    if (is_first(b))
        printf("# memory, %" PRId32 " ranks, behind %s: %.1f MiB taken\n", b->comm->n_ranks, what,
                (double)most / RT_MIB);
}

/* ---- work ------------------------------------------------------------------------------------ */

static void sum(const bench *b, int64_t rows) {
    bench_must(b->comm->all_reduce(b->comm, b->data, rows * WIDTH, b->device.compute));
}

static void gather(const bench *b) {
    const int64_t share = VOCAB / b->comm->n_ranks;
    bench_must(b->comm->all_gather(b->comm, b->logits + b->comm->rank * share,
            share * (int64_t)sizeof *b->logits, b->logits, b->device.compute));
}

static void settle(const bench *b, const char *what) {
    bench_must(glm_cuda_wait(b->device.compute, what));
    bench_must(b->comm->check(b->comm));
}

static void capture_step(bench *b) {
    bench_must(glm_cuda_graph_begin(b->device.compute));
    for (int i = 0; i < 2 * N_LAYERS; i++) sum(b, 1);
    bench_must(glm_cuda_graph_end(b->device.compute, true, &b->graph));
}

/* Seconds of `n` sums of `rows`, or of a step's; of the slowest rank. */
static double time_once(const bench *b, int64_t rows, int n) {
    double of_ranks[PAR_RANKS_MAX];
    double slowest = 0.0;
    bench_must(b->comm->barrier(b->comm));
    const double begin = rt_now();
    if (rows == 0)
        bench_must(glm_cuda_graph_launch(b->graph, b->device.compute));
    else
        for (int i = 0; i < n; i++) sum(b, rows);
    settle(b, "sums");
    const double mine = rt_now() - begin;
    bench_must(b->comm->share(b->comm, &mine, (int64_t)sizeof mine, of_ranks));
    for (int32_t r = 0; r < b->comm->n_ranks; r++)
        if (of_ranks[r] > slowest) slowest = of_ranks[r];
    return slowest;
}

/* rows 0: the graph, of n sums of a row. */
static void measure(const bench *b, const char *what, int64_t rows, int n) {
    double seconds[N_RUNS];
    (void)time_once(b, rows, n);
    for (int i = 0; i < N_RUNS; i++) seconds[i] = time_once(b, rows, n) / n;
    const double median = runs_median(seconds, N_RUNS);
    const double ranks = b->comm->n_ranks;
    const double bytes = (double)rt_max64(rows, 1) * WIDTH * (double)sizeof *b->data * 2.0 *
                         (ranks - 1.0) / ranks;
    if (is_first(b))
        printf("%s,%" PRId32 ",%" PRId64 ",%.1f,%.1f,%.2f\n", what, b->comm->n_ranks,
                rt_max64(rows, 1), seconds[0] * 1e6, median * 1e6, bytes / median * 1e-9);
}

static void measure_all(par_comm *processes, int64_t rows) {
    bench b = {.rows = rows};
    bench_must(par_hello(processes, ""));
    bench_must(processes->tell(processes, &b.rows, (int64_t)sizeof b.rows));
    bench_must(glm_cuda_device_open(processes->rank, &b.device));
    bench_must(GLM_CUDA_ALLOC(&b.device, b.rows * WIDTH, "what is summed", &b.data));
    bench_must(GLM_CUDA_ALLOC(&b.device, VOCAB, "logits", &b.logits));
    bench_must(glm_cuda_zero(b.data, b.rows * WIDTH * (int64_t)sizeof *b.data, b.device.compute));
    bench_must(glm_cuda_zero(b.logits, VOCAB * (int64_t)sizeof *b.logits, b.device.compute));
    bench_must(glm_cuda_wait(b.device.compute, "zeros"));
    const int64_t before = free_bytes(processes->rank);
    bench_must(par_comm_nccl_open(processes, NULL, &b.comm));
    if (is_first(&b)) printf("# %s, %" PRId32 " ranks\n", b.comm->library, b.comm->n_ranks);
    print_taken(&b, before, "the communicator");
    sum(&b, 1), settle(&b, "a sum of decode");
    print_taken(&b, before, "a sum of decode");
    sum(&b, b.rows), settle(&b, "a sum of prefill");
    print_taken(&b, before, "a sum of prefill");
    gather(&b), settle(&b, "logits");
    print_taken(&b, before, "a gathering of logits");
    capture_step(&b);
    (void)time_once(&b, 0, 1);
    print_taken(&b, before, "a step's sums in a graph");
    if (b.comm->n_ranks > 1) {
        if (is_first(&b)) printf("what,ranks,rows,best_us,median_us,GB/s\n");
        measure(&b, "sum of decode", 1, N_OF_DECODE);
        measure(&b, "sum of decode in a graph", 0, 2 * N_LAYERS);
        measure(&b, "sum of prefill", b.rows, N_OF_PREFILL);
    } else {
        printf("# one GPU sums with nobody: no times\n");
    }
    bench_must(b.comm->barrier(b.comm));
    glm_cuda_graph_free(b.graph);
    par_comm_close(b.comm);
    glm_cuda_free(&b.device, b.data);
    glm_cuda_free(&b.device, b.logits);
    glm_cuda_device_close(&b.device);
}

int main(int argc, char **argv) {
    par_comm *comm = NULL;
    if (argc == 3 && strcmp(argv[1], "rank") == 0) {
        bench_must(par_local_join(atoi(argv[2]), &comm));
        measure_all(comm, 0);
        return 0;
    }
    const int32_t n_ranks = argc > 1 ? atoi(argv[1]) : 1;
    const int64_t rows = argc > 2 ? atoll(argv[2]) : ROWS;
    const int32_t n_gpus = glm_cuda_count();
    char why[256];
    if (n_ranks < 1 || n_ranks > PAR_RANKS_MAX || rows < 1) {
        (void)fprintf(stderr, "bench_nccl [RANKS [ROWS]]: 1 to %d ranks, a row at least\n",
                PAR_RANKS_MAX);
        return 2;
    }
    if (n_gpus < n_ranks || par_nccl_describe(why, (int64_t)sizeof why) != RT_OK) {
        printf("%" PRId32 " ranks: %s\n", n_ranks,
                n_gpus < n_ranks ? "there are fewer GPUs" : rt_error_text());
        return 77;
    }
    bench_must(n_ranks == 1 ? par_comm_self_open(&comm)
                            : par_local_launch(n_ranks, "/proc/self/exe", &comm));
    measure_all(comm, rows);
    return 0;
}

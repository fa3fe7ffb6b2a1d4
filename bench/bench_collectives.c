/* How fast do ranks sum and gather, against what carries them?
 *
 *   bench_collectives                    2 and 4 processes of this machine (comm_local)
 *   mpirun -n N bench_collectives        by MPI (comm_mpi)
 *   RANK=r WORLD_SIZE=N MASTER_ADDR=... MASTER_PORT=... bench_collectives      by TCP (comm_tcp)
 *
 * Rates are of the bytes that a rank must send and receive at least, 2 (n - 1) / n of the operand for a
 * sum and (n - 1) / n of the result for a gathering, as nccl-tests counts. Compared with: MPI's own
 * MPI_Allreduce and MPI_Allgather under mpirun, which promise no order of sums; else all ranks copying
 * their operand twice at once, as shared memory needs at least. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_measure.h"
#include "help_runs.h"
#include "parallel/parallel.h"
#include "runtime/base/log.h"

#ifdef BENCH_HAS_MPI
#include <mpi.h>
#endif

/* Floats: one token of the 9B, 64 tokens, a chunk of 1024. */
static const int64_t sizes[] = {4096, 64 * 4096, 1024 * 4096};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

typedef enum work_kind { ALL_REDUCE, ALL_GATHER, PEER_REDUCE, PEER_GATHER } work_kind;

typedef struct bench {
    par_comm *comm;
    float *data; /* [n] */
    float *all;  /* [n] */
    int64_t n;
    bool has_mpi;
} bench;

static void copy_twice(const bench *b) {
    memcpy(b->all, b->data, (size_t)b->n * sizeof *b->data);
    memcpy(b->data, b->all, (size_t)b->n * sizeof *b->data);
}

/* The same on what carries it. */
static void peer(const bench *b, work_kind kind) {
#ifdef BENCH_HAS_MPI
    if (b->has_mpi && kind == PEER_REDUCE) {
        (void)MPI_Allreduce(MPI_IN_PLACE, b->data, (int)b->n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        return;
    }
    if (b->has_mpi) {
        const int part = (int)(b->n / b->comm->n_ranks);
        (void)MPI_Allgather(b->data, part, MPI_FLOAT, b->all, part, MPI_FLOAT, MPI_COMM_WORLD);
        return;
    }
#endif
    (void)kind;
    copy_twice(b);
}

static void run_once(const bench *b, work_kind kind) {
    par_comm *comm = b->comm;
    if (kind == ALL_REDUCE)
        bench_must(comm->all_reduce(comm, b->data, b->n, NULL));
    else if (kind == ALL_GATHER)
        bench_must(comm->all_gather(
                comm, b->data, b->n / comm->n_ranks * (int64_t)sizeof *b->data, b->all, NULL));
    else
        peer(b, kind);
}

/* Seconds of the slowest rank. */
static double time_once(const bench *b, work_kind kind) {
    double slowest = 0.0;
    double of_ranks[PAR_RANKS_MAX];
    bench_must(b->comm->barrier(b->comm));
    const double begin = rt_now();
    run_once(b, kind);
    const double mine = rt_now() - begin;
    bench_must(b->comm->share(b->comm, &mine, sizeof mine, of_ranks));
    for (int r = 0; r < b->comm->n_ranks; r++)
        if (of_ranks[r] > slowest) slowest = of_ranks[r];
    return slowest;
}

/* Bytes a second of `moved`; small operands are over before a clock ticks, so that each run is many. */
static bench_rate measure(const bench *b, work_kind kind, double moved, int n_repeats) {
    double seconds[BENCH_REPEATS_MAX];
    for (int i = 0; i < 2; i++) (void)time_once(b, kind);
    for (int i = 0; i < n_repeats; i++) seconds[i] = time_once(b, kind);
    const double median = runs_median(seconds, n_repeats);
    return (bench_rate){.best = moved / seconds[0] * 1e-9, .median = moved / median * 1e-9};
}

static void measure_size(const bench *b, const bench_options *options, int n_repeats) {
    const double n = b->comm->n_ranks;
    const double bytes = (double)b->n * sizeof *b->data;
    for (work_kind kind = ALL_REDUCE; kind <= ALL_GATHER; kind++) {
        const double moved = bytes * (kind == ALL_REDUCE ? 2.0 : 1.0) * (n - 1.0) / n;
        const bench_rate rate = measure(b, kind, moved, n_repeats);
        const work_kind other = kind == ALL_REDUCE ? PEER_REDUCE : PEER_GATHER;
        const bench_rate theirs = measure(b, other, moved, n_repeats);
        if (!options) continue;
        char what[96];
        (void)snprintf(what, sizeof what, "%s %s %.0f KiB (%.1f us; %s %.1f us)",
                b->comm->transport, kind == ALL_REDUCE ? "all_reduce" : "all_gather",
                bytes / 1024.0, moved / rate.median * 1e-3,
                !b->has_mpi          ? "two copies"
                : kind == ALL_REDUCE ? "MPI_Allreduce"
                                     : "MPI_Allgather",
                moved / theirs.median * 1e-3);
        bench_report(options, &(bench_figure){.what = what,
                                      .n_threads = b->comm->n_ranks,
                                      .rate = rate,
                                      .unit = "GB/s",
                                      .peak = theirs.median});
    }
}

/* options: rank 0's; NULL on the others. */
static void measure_all(par_comm *comm, const bench_options *options) {
    int32_t n_repeats = options ? options->n_repeats : 0;
    bench_must(par_hello(comm, ""));
    bench_must(comm->tell(comm, &n_repeats, sizeof n_repeats));
    bench b = {.comm = comm};
#ifdef BENCH_HAS_MPI
    b.has_mpi = strcmp(comm->transport, "mpi") == 0;
#endif
    b.data = bench_memory(sizes[N_SIZES - 1] * (int64_t)sizeof *b.data);
    b.all = bench_memory(sizes[N_SIZES - 1] * (int64_t)sizeof *b.all);
    for (int i = 0; i < N_SIZES; i++) {
        b.n = sizes[i];
        measure_size(&b, options, n_repeats);
    }
    bench_must(comm->barrier(comm));
    par_comm_close(comm);
}

int main(int argc, char **argv) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    par_comm *comm = NULL;
    if (argc == 3 && strcmp(argv[1], "rank") == 0) {
        bench_must(par_local_join(atoi(argv[2]), &comm));
        measure_all(comm, NULL);
        return 0;
    }
    const bench_options options = bench_parse(argc, argv);
    bench_must(par_world_from_environment(&world, address));
    if (world.rank == 0) bench_begin(&options);
    if (world.n_ranks > 1) {
        bench_must(par_comm_open(&world, &comm));
        measure_all(comm, world.rank == 0 ? &options : NULL);
        return 0;
    }
    for (int n_ranks = 2; n_ranks <= 4; n_ranks += 2) {
        bench_must(par_local_launch(n_ranks, "/proc/self/exe", &comm));
        measure_all(comm, &options);
    }
    return 0; /* bench_end() would take the other ranks for somebody else's work */
}

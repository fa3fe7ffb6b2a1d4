/* What the benchmarks share: options, clocks, best and median of n runs, one table or CSV.
 *
 *   --csv          one line a figure, units in the header; otherwise a table
 *   --clock cpu    rates per CPU second, times the threads: on a machine that others use too, being
 *                  descheduled does not count. Default: wall clock
 *   --threads N    only N threads; default: 1 and all
 *   --repeats N    runs after the warm-up, default 5
 *   --quick        small sizes: does it run, not how fast
 *   --isa NAME     portable, avx2, avx512 or amx; default: the best of this machine */
#ifndef HELP_MEASURE_H
#define HELP_MEASURE_H

#include "runtime/base/machine.h"
#include "runtime/base/pool.h"
#include "runtime/base/status.h"

enum { BENCH_REPEATS_MAX = 99 };

typedef struct bench_options {
    const char *program;
    bool is_csv;
    bool is_cpu_clock;
    bool is_quick;
    int n_threads; /* 0: one, then all */
    int n_repeats;
    rt_isa isa;
    struct {
        double wall; /* s, */
        double idle; /* all cores, */
        double own;  /* CPU time of ours */
    } start;
} bench_options;

/* Exits with a message for anything that is not above. */
bench_options bench_parse(int argc, char **argv);

/* End the program with the last error's text unless status is RT_OK. */
void bench_must(rt_status status);

/* Zeroed memory, on huge pages when large; ends the program when refused. */
void *bench_memory(int64_t bytes);

/* The thread counts to measure: {1, all}, or {N}. Returns how many. */
int bench_thread_counts(const bench_options *options, int counts[2]);

rt_pool *bench_pool(int n_threads);

/* Amount per second: of the fastest run and of the median one. */
typedef struct bench_rate {
    double best;
    double median;
} bench_rate;

typedef void bench_work(void *context);

/* Warm up once, then run n_repeats times; each run does `amount` of something. */
bench_rate bench_measure(const bench_options *options, int n_threads, double amount,
        bench_work *work, void *context);

/* What the machine is, and the column names. */
void bench_begin(const bench_options *options);

/* One figure. peak 0: there is none to compare with. A figure above its peak (by 5 %) is marked: the
 * peak, or the figure, is wrong. What help_roof.h fills in may be left 0. */
typedef struct bench_figure {
    const char *what; /* no commas */
    int n_threads;
    bench_rate rate;
    const char *unit;
    double peak;       /* in the same unit */
    const char *roof;  /* whose peak it is: FMA, AMX, both of them, or DRAM; */
    double of_compute; /* what the median is of the first three, and of DRAM's */
    double of_dram;
    double rss_mib; /* 0: now */
} bench_figure;
void bench_report(const bench_options *options, const bench_figure *figure);

/* Peak RSS counts from here on, where the kernel allows that. */
void bench_forget_rss(void);

/* What else ran since bench_parse, in cores; says "# VOID" where wall-clock figures were taken beside
 * more than 0.15 of a core (or the hypervisor took that much). Returns the program's exit status. */
int bench_end(const bench_options *options);

#endif

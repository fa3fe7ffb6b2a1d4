#include "help_measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

/* ---- options --------------------------------------------------------------------------------- */

static _Noreturn void usage(const bench_options *options, const char *argument) {
    (void)fprintf(stderr,
            "%s: what is %s? usage: %s [--csv] [--clock wall|cpu] [--threads N] [--repeats N] "
            "[--quick] [--isa portable|avx2|avx512|amx]\n",
            options->program, argument, options->program);
    exit(2);
}

static int parse_count(const bench_options *options, const char *text, int max) {
    char *end = NULL;
    const long count = strtol(text, &end, 10);
    if (end == text || *end || count < 1 || count > max) usage(options, text);
    return (int)count;
}

static rt_isa parse_isa(const bench_options *options, const char *text) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++)
        if (strcmp(text, rt_isa_name(isa)) == 0) return isa;
    usage(options, text);
}

static bool parse_clock(const bench_options *options, const char *text) {
    if (strcmp(text, "cpu") != 0 && strcmp(text, "wall") != 0) usage(options, text);
    return strcmp(text, "cpu") == 0;
}

/* The value of the option at argv[*i], which moves on to it. */
static const char *value_of(const bench_options *options, int argc, char **argv, int *i) {
    if (*i + 1 >= argc) usage(options, argv[*i]);
    return argv[++*i];
}

/* Idle seconds of all cores since boot; below 0: unknown. */
static double idle_seconds(void) {
    double up = 0.0;
    double idle = -1.0;
    FILE *file = fopen("/proc/uptime", "r");
    if (!file) return idle;
    if (fscanf(file, "%lf %lf", &up, &idle) != 2) idle = -1.0;
    (void)fclose(file);
    return idle;
}

static double cpu_seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Of programs that this one started and waited for. */
static double children_seconds(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

bench_options bench_parse(int argc, char **argv) {
    bench_options options = {.program = argv[0], .n_repeats = 5, .isa = rt_machine_isa()};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--csv") == 0)
            options.is_csv = true;
        else if (strcmp(argv[i], "--quick") == 0)
            options.is_quick = true;
        else if (strcmp(argv[i], "--clock") == 0)
            options.is_cpu_clock = parse_clock(&options, value_of(&options, argc, argv, &i));
        else if (strcmp(argv[i], "--threads") == 0)
            options.n_threads = parse_count(&options, value_of(&options, argc, argv, &i), 1024);
        else if (strcmp(argv[i], "--repeats") == 0)
            options.n_repeats =
                    parse_count(&options, value_of(&options, argc, argv, &i), BENCH_REPEATS_MAX);
        else if (strcmp(argv[i], "--isa") == 0)
            options.isa = parse_isa(&options, value_of(&options, argc, argv, &i));
        else
            usage(&options, argv[i]);
    }
    options.start.wall = rt_now();
    options.start.idle = idle_seconds();
    options.start.own = cpu_seconds();
    return options;
}

void bench_must(rt_status status) {
    if (status == RT_OK) return;
    (void)fprintf(stderr, "%s\n", rt_error_text());
    exit(1);
}

void *bench_memory(int64_t bytes) {
    void *memory = NULL;
    bench_must(rt_mem_alloc(bytes, "a benchmark", &memory));
    return memory;
}

int bench_thread_counts(const bench_options *options, int counts[2]) {
    counts[0] = options->n_threads ? options->n_threads : 1;
    counts[1] = rt_machine_cores();
    return options->n_threads || counts[1] == 1 ? 1 : 2;
}

rt_pool *bench_pool(int n_threads) {
    rt_pool *pool = NULL;
    bench_must(rt_pool_create(n_threads, &pool));
    return pool;
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* Seconds that one of n threads works: wall time, or its share of the CPU time. */
static double clock_now(const bench_options *options, int n_threads) {
    return options->is_cpu_clock ? cpu_seconds() / n_threads : rt_now();
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

bench_rate bench_measure(const bench_options *options, int n_threads, double amount,
        bench_work *work, void *context) {
    double seconds[BENCH_REPEATS_MAX];
    const int n = options->n_repeats;
    work(context);
    for (int i = 0; i < n; i++) {
        const double started = clock_now(options, n_threads);
        work(context);
        seconds[i] = clock_now(options, n_threads) - started;
    }
    qsort(seconds, (size_t)n, sizeof *seconds, compare_doubles);
    return (bench_rate){.best = amount / seconds[0], .median = amount / seconds[n / 2]};
}

/* ---- reporting ------------------------------------------------------------------------------- */

void bench_begin(const bench_options *options) {
    char name[128];
    (void)printf("# %s, %d cores, %s; glm1m %s; %s clock, best and median of %d\n",
            rt_machine_cpu_name(name), rt_machine_cores(), rt_isa_name(options->isa), GLM_VERSION,
            options->is_cpu_clock ? "CPU" : "wall", options->n_repeats);
    if (options->is_csv)
        (void)printf("what,threads,best,median,unit,peak (same unit),best of peak (%%),"
                     "median of peak (%%),roof,median of compute peak (%%),median of DRAM (%%),"
                     "peak RSS (MiB)\n");
    else
        (void)printf("%-44s %3s %9s %9s %-8s %7s %7s %-4s %7s %7s %7s\n", "", "thr", "best",
                "median", "", "best", "median", "of", "compute", "of DRAM", "RSS MiB");
    (void)fflush(stdout);
}

void bench_forget_rss(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w"); /* 5: the peak only, proc(5) */
    if (!file) return;
    (void)fputs("5", file);
    (void)fclose(file);
}

static bool is_above_peak(const bench_figure *figure) {
    return figure->peak > 0.0 && figure->rate.best > 1.05 * figure->peak;
}

/* A share in per cent; nothing where it is 0. */
static void print_share(bool is_csv, double share) {
    if (share <= 0.0)
        (void)printf("%s", is_csv ? "," : "        ");
    else if (is_csv)
        (void)printf(",%.1f", 100.0 * share);
    else
        (void)printf(" %6.1f%%", 100.0 * share);
}

static double of_peak(const bench_figure *figure, double rate) {
    return figure->peak > 0.0 ? rate / figure->peak : 0.0;
}

static void report_csv(const bench_figure *figure) {
    (void)printf("%s,%d,%.4g,%.4g,%s,", figure->what, figure->n_threads, figure->rate.best,
            figure->rate.median, figure->unit);
    if (figure->peak > 0.0) (void)printf("%.4g", figure->peak);
    print_share(true, of_peak(figure, figure->rate.best));
    print_share(true, of_peak(figure, figure->rate.median));
    (void)printf(",%s", figure->roof ? figure->roof : "");
    print_share(true, figure->of_compute);
    print_share(true, figure->of_dram);
    (void)printf(",%.0f\n", figure->rss_mib);
}

static void report_row(const bench_figure *figure) {
    (void)printf("%-44s %3d %9.2f %9.2f %-8s", figure->what, figure->n_threads, figure->rate.best,
            figure->rate.median, figure->unit);
    print_share(false, of_peak(figure, figure->rate.best));
    print_share(false, of_peak(figure, figure->rate.median));
    (void)printf(" %-4s", figure->roof ? figure->roof : "");
    print_share(false, figure->of_compute);
    print_share(false, figure->of_dram);
    (void)printf(" %7.0f\n", figure->rss_mib);
}

void bench_report(const bench_options *options, const bench_figure *figure) {
    bench_figure all = *figure;
    if (all.rss_mib <= 0.0) all.rss_mib = (double)rt_machine_peak_rss() / (double)RT_MIB;
    if (options->is_csv)
        report_csv(&all);
    else
        report_row(&all);
    if (is_above_peak(figure)) (void)printf("# VOID: the figure above exceeds its peak\n");
    (void)fflush(stdout);
}

int bench_end(const bench_options *options) {
    const double wall = rt_now() - options->start.wall;
    const double idle = idle_seconds();
    if (options->start.idle < 0.0 || idle < 0.0 || wall < 1.0) return 0;
    const double busy = (double)sysconf(_SC_NPROCESSORS_ONLN) - (idle - options->start.idle) / wall;
    const double own = cpu_seconds() + children_seconds() - options->start.own;
    const double others = busy - own / wall;
    (void)printf("# beside it ran %.2f cores of other work\n", others < 0.0 ? 0.0 : others);
    if (others <= 0.15 || options->is_cpu_clock || options->is_quick) return 0;
    (void)printf(
            "# VOID: more than 0.15 of a core was not ours: rates by the wall clock say little\n");
    return 1;
}

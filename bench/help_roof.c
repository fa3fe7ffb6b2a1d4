#include "help_roof.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { CLAIMS_MAX = 64, NAME_BYTES = 96 };

struct bench_claimed {
    bench_figure figure;
    bench_cost cost;
    char name[NAME_BYTES];
};

static bench_peaks measure(const bench_options *options, rt_pool *pool) {
    const bench_peaks peaks = bench_peaks_of(options, pool);
    bench_forget_rss(); /* of the memory that was read */
    return peaks;
}

bench_roofs bench_roofs_begin(const bench_options *options, rt_pool *pool) {
    bench_roofs roofs = {.before = measure(options, pool)};
    bench_must(rt_calloc(CLAIMS_MAX, (int64_t)sizeof(bench_claimed), "figures", &roofs.claims));
    return roofs;
}

void bench_claim(bench_roofs *roofs, const bench_figure *figure, bench_cost cost) {
    rt_assert(roofs->n_claims < CLAIMS_MAX);
    bench_claimed *claim = &roofs->claims[roofs->n_claims++];
    *claim = (bench_claimed){.figure = *figure, .cost = cost};
    claim->figure.rss_mib = (double)rt_machine_peak_rss() / (double)RT_MIB;
    (void)snprintf(claim->name, sizeof claim->name, "%s", figure->what);
}

/* The higher of two; says so where they are too far apart. */
static double settle(const char *what, const char *unit, double before, double after) {
    const double high = before > after ? before : after;
    const double low = before > after ? after : before;
    if (high - low > BENCH_DRIFT_MAX * high)
        (void)printf("# VOID: %s was %.1f %s before and %.1f after what follows: more than %.0f %% "
                     "apart\n",
                what, before, unit, after, 100.0 * BENCH_DRIFT_MAX);
    return high;
}

static void print_claim(const bench_options *options, bench_claimed *claim, bench_peaks peaks) {
    bench_figure *figure = &claim->figure;
    const bench_cost cost = claim->cost;
    figure->what = claim->name;
    const double fma = cost.gflop > 0.0 ? peaks.gflops / cost.gflop : 0.0;
    const double dram = cost.gb > 0.0 ? peaks.read_gbps / cost.gb : 0.0;
    const bool is_dram = dram > 0.0 && (fma <= 0.0 || dram < fma);
    figure->roof = is_dram ? "DRAM" : "FMA";
    figure->peak = is_dram ? dram : fma;
    figure->of_fma = fma > 0.0 ? figure->rate.median / fma : 0.0;
    figure->of_dram = dram > 0.0 ? figure->rate.median / dram : 0.0;
    bench_report(options, figure);
}

void bench_roofs_again(const bench_options *options, rt_pool *pool, bench_roofs *roofs) {
    const bench_peaks after = measure(options, pool);
    const bench_peaks peaks = {
            .gflops = settle("the FMA peak", "GFLOP/s", roofs->before.gflops, after.gflops),
            .read_gbps = settle("the DRAM rate", "GB/s", roofs->before.read_gbps, after.read_gbps)};
    for (int i = 0; i < roofs->n_claims; i++) print_claim(options, &roofs->claims[i], peaks);
    roofs->n_claims = 0;
    roofs->before = after;
}

void bench_roofs_end(bench_roofs *roofs) {
    rt_assert(roofs->n_claims == 0);
    free(roofs->claims);
    roofs->claims = NULL;
}

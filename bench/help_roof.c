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

/* Units a second; 0: nothing is computed. */
static double compute_roof(bench_cost cost, bench_peaks peaks) {
    const double seconds = (cost.gflop > 0.0 ? cost.gflop / peaks.gflops : 0.0) +
                           (cost.tile_gflop > 0.0 ? cost.tile_gflop / peaks.amx_gflops : 0.0);
    return seconds > 0.0 ? 1.0 / seconds : 0.0;
}

static const char *compute_name(bench_cost cost) {
    return cost.tile_gflop <= 0.0 ? "FMA" : cost.gflop <= 0.0 ? "AMX" : "both";
}

bench_cost bench_cost_of_attention(
        const bench_options *options, const attn_shape *shape, double gflop) {
    if (attn_cpu_isa(shape, options->isa) == RT_ISA_AMX) return (bench_cost){.tile_gflop = gflop};
    return (bench_cost){.gflop = gflop};
}

static void print_claim(const bench_options *options, bench_claimed *claim, bench_peaks peaks) {
    bench_figure *figure = &claim->figure;
    const bench_cost cost = claim->cost;
    figure->what = claim->name;
    const double compute = compute_roof(cost, peaks);
    const double dram = cost.gb > 0.0 ? peaks.read_gbps / cost.gb : 0.0;
    const bool is_dram = dram > 0.0 && (compute <= 0.0 || dram < compute);
    figure->roof = is_dram ? "DRAM" : compute_name(cost);
    figure->peak = is_dram ? dram : compute;
    figure->of_compute = compute > 0.0 ? figure->rate.median / compute : 0.0;
    figure->of_dram = dram > 0.0 ? figure->rate.median / dram : 0.0;
    bench_report(options, figure);
}

void bench_roofs_again(const bench_options *options, rt_pool *pool, bench_roofs *roofs) {
    const bench_peaks after = measure(options, pool);
    const bench_peaks peaks = {
            .gflops = settle("the FMA peak", "GFLOP/s", roofs->before.gflops, after.gflops),
            .amx_gflops =
                    settle("the AMX peak", "GFLOP/s", roofs->before.amx_gflops, after.amx_gflops),
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

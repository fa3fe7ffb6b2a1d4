/* Figures as shares of what the machine's FMA peak, its peak of AMX's tiles and its DRAM rate allow, measured before and after them: a
 * host gives and takes memory within seconds. The higher of the two counts, so that no share is flattered;
 * where they are more than BENCH_DRIFT_MAX apart, the figures between them are void, which is said.
 *
 *     bench_roofs roofs = bench_roofs_begin(&options, pool);
 *     bench_claim(&roofs, &figure, &cost);              as often as need be
 *     bench_roofs_again(&options, pool, &roofs);        prints them; is the "before" of those that follow
 *     bench_roofs_end(&roofs); */
#ifndef HELP_ROOF_H
#define HELP_ROOF_H

#include "attention/attention.h"
#include "help_peak.h"

static const double BENCH_DRIFT_MAX = 0.25; /* of the higher */

/* What one of a figure's units (a token, a GB, a GFLOP) takes of the machine; 0: nothing. Its roof is the lower of
 * FMA peak / gflop and DRAM rate / gb; of what attention multiplies in tiles of AMX, AMX peak / tile_gflop, and of what is some
 * of both, as much a second as takes the units, one after the other, a second.
 *
 * The peak of tiles is of products of bf16. Our kernels multiply what is fp32 in two halves (attention/attn_amx.c), and have
 * its FLOP counted once: half of that peak is the most that they can get. */
typedef struct bench_cost {
    double gflop;
    double tile_gflop;
    double gb;
} bench_cost;

/* Of attention over pages of that shape by the kernels of options->isa: by tiles, or by FMAs. */
bench_cost bench_cost_of_attention(
        const bench_options *options, const attn_shape *shape, double gflop);

typedef struct bench_claimed bench_claimed;

typedef struct bench_roofs {
    bench_peaks before;
    bench_claimed *claims;
    int n_claims;
} bench_roofs;

bench_roofs bench_roofs_begin(const bench_options *options, rt_pool *pool);
/* The figure as it is now, with the peak RSS so far; its `what` is copied. */
void bench_claim(bench_roofs *roofs, const bench_figure *figure, bench_cost cost);
void bench_roofs_again(const bench_options *options, rt_pool *pool, bench_roofs *roofs);
/* Every claim has been printed. */
void bench_roofs_end(bench_roofs *roofs);

#endif

/* The shape of a layer of GLM-4-9B-Chat-1M, for the GPU benchmarks that time one. */
#ifndef BENCH_HELP_9B_CUH
#define BENCH_HELP_9B_CUH

enum {
    HIDDEN = 4096,
    HEADS = 32,
    KV_HEADS = 4,
    DIM = 128,
    QKV = (HEADS + 2 * KV_HEADS) * DIM,
    FFN = 13696,
    N_LAYERS = 40
};

#endif

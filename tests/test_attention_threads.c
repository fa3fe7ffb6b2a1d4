/* Run after run, and with 1, 2, 3 or 5 threads: the same bits.
 *
 * Method: prefill and decode a layer several times with pools of each size; compare with the first
 * run. Under TSan this is also where threads meet. */
#include "help_attention.h"

enum { HEADS = 8, KV_HEADS = 4, QUERIES = 120, SEQS = 3, ROWS = (QUERIES + SEQS) * HEADS };

static void run(const ath_kernels *kernels, const ath_layer *layer, const float *q, float *out) {
    const int64_t queries_end = (int64_t)QUERIES * HEADS * layer->shape.head_dim;
    const ath_queries queries = {.q = q, .pos = layer->n_tokens - QUERIES, .n_tokens = QUERIES};
    ath_prefill(kernels, layer, &queries, 50, out, NULL);
    attn_segment keys[SEQS];
    for (int i = 0; i < SEQS; i++) keys[i] = ath_segment(layer, layer->n_tokens - 300 * i);
    ath_decode(kernels, q, keys, SEQS, out + queries_end);
}

typedef ath_kernels open_with(const attn_shape *shape, rt_isa isa, int n_threads);

static ath_kernels open_emulated(const attn_shape *shape, rt_isa isa, int n_threads) {
    (void)isa;
    return ath_open_emulated(shape, n_threads);
}

static void check(open_with *open, rt_isa isa, int32_t head_dim, int64_t n_keys, int n_repeats) {
    static const int n_threads[] = {1, 2, 3, 5};
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, head_dim, RT_BF16);
    const int64_t n_out = (int64_t)ROWS * head_dim;
    ath_layer layer = ath_layer_create(&shape, n_keys, 111);
    float *q = ath_normals((int64_t)QUERIES * HEADS * head_dim, 113);
    float *first = ath_zeros(n_out);
    float *again = ath_zeros(n_out);
    for (size_t i = 0; i < sizeof n_threads / sizeof *n_threads; i++) {
        ath_kernels kernels = open(&shape, isa, n_threads[i]);
        if (i == 0) run(&kernels, &layer, q, first);
        for (int repeat = 0; repeat < n_repeats; repeat++) {
            run(&kernels, &layer, q, again);
            CHECK(ath_same(first, again, n_out));
        }
        ath_close(&kernels);
    }
    free(again);
    free(first);
    free(q);
    ath_layer_free(&layer);
}

int main(void) {
    const int64_t n_keys = ath_is_fast() ? 4500 : 8300;
    const int n_repeats = ath_is_fast() ? 1 : 3;
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa() && isa < RT_ISA_AMX; isa++)
        check(ath_open, isa, 48, n_keys, n_repeats);
    if (!ath_is_amx_emulated()) check(ath_open, RT_ISA_AMX, 32, n_keys, n_repeats);
    check(open_emulated, RT_ISA_AMX, 32, 1300, 1);
    return 0;
}

/* Run after run, and with 1, 2, 3 or 5 threads: the same bits.
 *
 * Method: prefill and decode a layer several times with pools of each size; compare with the first
 * run. Under TSan this is also where threads meet. */
#include "help_attention.h"

enum { HEADS = 8, KV_HEADS = 4, HEAD_DIM = 48, QUERIES = 120, SEQS = 3 };
enum { ROW = HEADS * HEAD_DIM, N_OUT = (QUERIES + SEQS) * ROW };

static void run(const ath_kernels *kernels, const ath_layer *layer, const float *q, float *out) {
    const ath_queries queries = {.q = q, .pos = layer->n_tokens - QUERIES, .n_tokens = QUERIES};
    ath_prefill(kernels, layer, &queries, 50, out, NULL);
    attn_segment keys[SEQS];
    for (int i = 0; i < SEQS; i++) keys[i] = ath_segment(layer, layer->n_tokens - 1000 * i);
    ath_decode(kernels, q, keys, SEQS, out + (int64_t)QUERIES * ROW);
}

static void check(rt_isa isa, const ath_layer *layer, const float *q) {
    static const int n_threads[] = {1, 2, 3, 5};
    float *first = ath_zeros(N_OUT);
    float *again = ath_zeros(N_OUT);
    for (size_t i = 0; i < sizeof n_threads / sizeof *n_threads; i++) {
        ath_kernels kernels = ath_open(&layer->shape, isa, n_threads[i]);
        if (i == 0) run(&kernels, layer, q, first);
        for (int repeat = 0; repeat < (ath_is_fast() ? 1 : 3); repeat++) {
            run(&kernels, layer, q, again);
            CHECK(ath_same(first, again, N_OUT));
        }
        ath_close(&kernels);
    }
    free(again);
    free(first);
}

int main(void) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, RT_BF16);
    ath_layer layer = ath_layer_create(&shape, ath_is_fast() ? 4500 : 8300, 111);
    float *q = ath_normals((int64_t)QUERIES * ROW, 113);
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++) check(isa, &layer, q);
    free(q);
    ath_layer_free(&layer);
    return 0;
}

/* Sequences that share a prefix are decoded together with the same bits as alone.
 *
 * Method: up to 40 sequences on one book, in shuffled order, each with a tail of its own length
 * and contents (pages of its own from a page boundary on); some are the book itself. More rows
 * than one piece holds, several splits. */
#include "help_attention.h"

enum { HEADS = 8, KV_HEADS = 2, HEAD_DIM = 32, ROW = HEADS * HEAD_DIM };
enum { SEQS = 40, BOOK = 8500, BOOK_SHORT = 4500 };

static void check_decode(const ath_kernels *kernels, const float *q, const attn_segment *keys) {
    float *together = ath_zeros((int64_t)SEQS * ROW);
    float alone[ROW];
    for (int32_t n_seqs = 2; n_seqs <= SEQS; n_seqs = 2 * n_seqs + 1) {
        ath_decode(kernels, q, keys, n_seqs, together);
        for (int i = 0; i < n_seqs; i++) {
            ath_decode(kernels, q + (int64_t)i * ROW, &keys[i], 1, alone);
            CHECK(ath_same(alone, together + (int64_t)i * ROW, ROW));
        }
    }
    free(together);
}

static void check(rt_isa isa, rt_dtype kv_dtype) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer book = ath_layer_create(&shape, ath_is_slow(isa) ? BOOK_SHORT : BOOK, 101);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals((int64_t)SEQS * ROW, 103);
    ath_sequence seqs[SEQS];
    attn_segment keys[SEQS];
    uint64_t random = 105;
    for (int i = 0; i < SEQS; i++) {
        seqs[i] = ath_fork(&book, &random);
        keys[i] = (attn_segment){.pages = seqs[i].pages, .n_tokens = seqs[i].n_tokens};
    }
    check_decode(&kernels, q, keys);
    for (int i = 0; i < SEQS; i++) ath_fork_free(&seqs[i], &shape);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&book);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check(isa, RT_BF16);
        if (!ath_is_fast()) check(isa, RT_F32);
    }
    return 0;
}

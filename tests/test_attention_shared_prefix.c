/* Sequences that share a prefix are decoded together with the same bits as alone.
 *
 * Method: up to 40 sequences on one book, in shuffled order, each with a tail of its own length
 * and contents (pages of its own from a page boundary on); some are the book itself. More rows
 * than one piece holds, several splits. */
#include <string.h>

#include "help_attention.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { HEADS = 8, KV_HEADS = 2, HEAD_DIM = 32, ROW = HEADS * HEAD_DIM };
enum { SEQS = 40, BOOK = 8500, TAIL_MAX = 300, PAGE = ATTN_PAGE_TOKENS };
enum { PAGES_MAX = (BOOK + TAIL_MAX) / PAGE + 2 };

typedef struct sequence {
    void *pages[PAGES_MAX];
    int64_t first_own; /* pages from here on are its own */
    int64_t n_tokens;
} sequence;

/* Take the book's pages up to a random boundary, then copies of other pages of the book. */
static void fork_book(sequence *seq, const ath_layer *book, uint64_t *random) {
    const int64_t n_shared = random_below(random, 4) == 0 ? BOOK : BOOK - random_below(random, 600);
    const int64_t n_own = n_shared == BOOK ? 0 : 1 + random_below(random, TAIL_MAX);
    seq->first_own = n_shared / PAGE + (n_own == 0 ? 1 : 0);
    seq->n_tokens = n_own == 0 ? BOOK : seq->first_own * PAGE + n_own;
    for (int64_t page = 0; page * PAGE < seq->n_tokens; page++) {
        seq->pages[page] =
                page < seq->first_own ? book->pages[page] : ath_page_create(&book->shape);
        if (page >= seq->first_own)
            memcpy(seq->pages[page], book->pages[random_below(random, BOOK / PAGE)],
                    (size_t)attn_page_bytes(&book->shape));
    }
}

static void drop(sequence *seq, const attn_shape *shape) {
    for (int64_t page = seq->first_own; page * PAGE < seq->n_tokens; page++)
        rt_mem_free(seq->pages[page], attn_page_bytes(shape));
}

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
    ath_layer book = ath_layer_create(&shape, BOOK, 101);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals((int64_t)SEQS * ROW, 103);
    static sequence seqs[SEQS];
    attn_segment keys[SEQS];
    uint64_t random = 105;
    for (int i = 0; i < SEQS; i++) {
        fork_book(&seqs[i], &book, &random);
        keys[i] = (attn_segment){.pages = seqs[i].pages, .n_tokens = seqs[i].n_tokens};
    }
    check_decode(&kernels, q, keys);
    for (int i = 0; i < SEQS; i++) drop(&seqs[i], &shape);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&book);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++) {
        check(isa, RT_BF16);
        if (!ath_is_fast()) check(isa, RT_F32);
    }
    return 0;
}

/* Byte-pair merging: one piece of text -> ids.
 *
 * A piece that is a token is that token, unless vocab->is_merges_only. Otherwise: single bytes, then,
 * over and over, the adjacent pair whose concatenation has the lowest rank (the leftmost of equals)
 * becomes one, until no concatenation is a token. */
#ifndef GLM_TOKENIZER_BPE_H
#define GLM_TOKENIZER_BPE_H

#include "tokenizer.h"
#include "tokenizer_vocab.h"

/* Room to merge a window of text in: one per thread. */
typedef struct glm_bpe_scratch {
    int64_t capacity;     /* bytes merged at once, a power of two */
    int64_t *tree;        /* [2 * capacity] tournament of merges, see tokenizer_bpe.c */
    char *text;           /* [capacity + GLM_KEY_BYTES] the window's bytes */
    int32_t *ends;        /* [capacity] where the token that begins here ends */
    int32_t *befores;     /* [capacity] where the token before this one begins */
    int32_t *ids;         /* [capacity] of the token that begins here */
    uint64_t *hashes;     /* [capacity + 1] of the prefixes */
    int64_t bytes_merged; /* so far, bytes merged twice counted twice: what tests bound */
} glm_bpe_scratch;

/* RT_ENOMEM */
RT_MUST_CHECK rt_status glm_bpe_scratch_create(const glm_vocab *vocab, glm_bpe_scratch *scratch);
void glm_bpe_scratch_free(glm_bpe_scratch *scratch);

/* Append the ids of one piece, n_bytes >= 1.
 *
 * Errors: RT_ENOMEM  also for a piece of more than 2^30 bytes that cannot be merged in windows */
RT_MUST_CHECK rt_status glm_bpe_encode(const glm_vocab *vocab, glm_bpe_scratch *scratch,
        const char *piece, int64_t n_bytes, glm_ids *out);

#endif

/* Drafts: what may follow a text, looked up in the text itself.
 *
 * An answer about a book quotes it, and a program that is changed is mostly the one before: where the last few tokens
 * stand earlier, what followed them there often follows here. A draft costs a look over the ids; the model judges all of
 * it in one pass, beside the token that is due (speculate.c).
 *
 * Source: Saxena 2023, "Prompt Lookup Decoding"; checking drafts: Leviathan et al. 2023, arXiv:2211.17192, section 2 */
#ifndef GLM_DRAFT_H
#define GLM_DRAFT_H

#include <stdint.h>

enum { GLM_DRAFT_MAX = 15 };

/* What drafts of one text came to. Zero-initialise. */
typedef struct glm_draft_record {
    int32_t most;     /* the next one's tokens at most; 0: nothing is known yet */
    int32_t n_missed; /* how often of late not even the first was right, 0 to 4 */
} glm_draft_record;

/* Tokens that may follow ids[n] and then `id`.
 *
 *   most   at most so many, and no more than the record suggests
 *   draft  [GLM_DRAFT_MAX] out
 *
 * Where the longest end of the text, at most 32 tokens, stood before, the latest such place. How long it must be at least
 * says the record: 3 tokens, more where drafts are wrong. Returns how many there are. */
int32_t glm_draft_find(const glm_draft_record *record, const int32_t *ids, int64_t n, int32_t id,
        int32_t most, int32_t draft[GLM_DRAFT_MAX]);

/* Of a draft of n tokens the first n_taken were right. */
void glm_draft_learn(glm_draft_record *record, int32_t n, int32_t n_taken);

#endif

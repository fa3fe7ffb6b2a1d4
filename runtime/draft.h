/* Drafts: tokens that may follow a text, looked up in the text itself.
 *
 * An answer about a book quotes it, and a changed program is mostly the one before: where the last few tokens occur
 * earlier in the text, what followed them there often follows here, too. A draft costs one search of the ids; the model
 * judges all of it in one pass, beside the token that is due (speculate.c).
 *
 * Source: Saxena 2023, "Prompt Lookup Decoding"; checking drafts: Leviathan et al. 2023, arXiv:2211.17192, section 2 */
#ifndef GLM_DRAFT_H
#define GLM_DRAFT_H

#include <stdint.h>

enum { GLM_DRAFT_MAX = 15 };

/* How good the drafts of one text have been. Zero-initialise. */
typedef struct glm_draft_record {
    int32_t most;     /* the most tokens of the next draft; 0: nothing is known yet */
    int32_t n_missed; /* how often lately not even the first token was right, 0 to 4 */
} glm_draft_record;

/* Find tokens that may follow the text ids[n], id.
 *
 *   most   at most so many; the record may suggest fewer
 *   draft  [GLM_DRAFT_MAX] out
 *
 * They are those that followed where the longest end of the text, at most 32 tokens, occurred before, at the latest such
 * place. That end must have 3 tokens, or more where the record says that drafts were wrong. Returns how many were found. */
int32_t glm_draft_find(const glm_draft_record *record, const int32_t *ids, int64_t n, int32_t id,
        int32_t most, int32_t draft[GLM_DRAFT_MAX]);

/* Note in the record that of a draft of n tokens the first n_taken were right. */
void glm_draft_learn(glm_draft_record *record, int32_t n, int32_t n_taken);

#endif

/* An answer taken apart into what can be checked: quotations, sentences, numbers of passages. */
#ifndef GLM_CLAIMS_H
#define GLM_CLAIMS_H

#include "base/status.h"

typedef enum glm_claim_kind {
    /* Between "", \u201c\u201d, \u00ab\u00bb, \u300c\u300d, \u300e\u300f, or on lines that begin with >. */
    GLM_CLAIM_QUOTATION,
    GLM_CLAIM_SENTENCE, /* anything else, up to a full stop, a line's end or one of the others */
    GLM_CLAIM_PASSAGE   /* [12], [3-5], [1, 7]: not behind one of the others */
} glm_claim_kind;

typedef struct glm_claim {
    glm_claim_kind kind;
    int64_t begin; /* bytes of the answer, marks not included */
    int64_t end;
    int64_t first_passage; /* that it names; -1: none */
    int64_t last_passage;
} glm_claim;

typedef struct glm_claims {
    int64_t n_claims;
    glm_claim *claims; /* in the answer's order */
    int64_t room;      /* of the list */
} glm_claims;

/* RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_claims_find(const char *answer, int64_t n_bytes, glm_claims *out);
void glm_claims_free(glm_claims *claims);

/* What people are to see of an answer that comes piece by piece: all of it but LongCite's tags, whose
 * beginning is held back until it can be told. Copies at most n_bytes to `out`, returns how many, and
 * says in *n_used how many were looked at: feed the others again with what follows. */
int64_t glm_claims_show(
        const char *bytes, int64_t n_bytes, bool is_last, char *out, int64_t *n_used);

#endif

/* What an answer says that its source says: each quotation found again in the document, or marked
 * as not found. Nothing is taken from the model's word.
 *
 *   "..." and the like   a quotation: found in the document as fold.h compares, or not verified. Parts
 *                        with ... or [...] between them are found one behind the other; where a page ends, its
 *                        number and running heads may stand between, and nothing else
 *   a sentence           without quotation marks, of four words or more, that the document holds as
 *                        it is: cited, too; one that it does not hold is the model's own
 *   [12], [3-5]          passages: they exist, or are not verified. Behind a quotation or a sentence
 *                        they say where it is to be found */
#ifndef GLM_CITATIONS_H
#define GLM_CITATIONS_H

#include "fold.h"
#include "passages.h"

typedef enum glm_citation_kind {
    GLM_CITED_QUOTATION,
    GLM_CITED_SENTENCE, /* always verified */
    GLM_CITED_PASSAGE   /* a number with neither before it */
} glm_citation_kind;

typedef struct glm_citation {
    glm_citation_kind kind;
    bool is_verified;
    int64_t begin; /* bytes of the answer: what is quoted, without marks */
    int64_t end;
    int64_t named;            /* the passage that the answer names; -1: none */
    int64_t passage;          /* where it is: the passage's number; -1: not verified, or none */
    glm_document_place first; /* of its first byte in the document, when it is verified, */
    glm_document_place last;  /* and of its last */
} glm_citation;

typedef struct glm_citations {
    int64_t n_citations;
    glm_citation *citations; /* in the order of the answer */
    int64_t n_unverified;
    int64_t room; /* of the list */
} glm_citations;

/* Find what `answer` quotes. `folded` is the document's text; all three belong together. Where
 * a quotation is found more than once, the place in the passage that the answer names counts, or the
 * first one. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cite(const glm_document *document, const glm_passages *passages,
        const glm_folded *folded, const char *answer, int64_t n_bytes, glm_citations *out);
void glm_citations_free(glm_citations *citations);

/* "book.pdf, page 12", "src/main.c, lines 3-5": where a verified citation is. Writes into `text` and returns it. */
const char *glm_citation_place(const glm_citation *citation, char *text, int64_t room);

#endif

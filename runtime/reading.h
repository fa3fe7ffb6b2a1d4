/* Questions about a document: the document on its way into a prompt, and an answer's way back to it.
 *
 *   sources -> glm_document -> glm_passages -> prefix ids          the same for every question
 *                                            + question ids        what each of them adds
 *   answer -> glm_citations                                        places in the document
 *
 * One user's message: what to do, the document with numbered passages, the question. What comes before
 * the question never depends on it, so that its keys and values serve every question. Models
 * tuned for LongCite get their own prompt. Nothing here prints, or runs a model. */
#ifndef GLM_READING_H
#define GLM_READING_H

#include "chat.h"
#include "citations.h"
#include "variant.h"

/* What was taken out of the middle of the prefix: nothing where n_tokens is 0. */
typedef struct glm_reading_cut {
    int64_t at;            /* ids[at] of the prefix now is the first one behind it */
    int64_t n_tokens;      /* so many are gone */
    int64_t first_passage; /* the passages that they belonged to, in part or whole; -1: to none */
    int64_t last_passage;
} glm_reading_cut;

typedef struct glm_reading {
    glm_document document;
    glm_passages passages;
    glm_folded folded; /* the document's text */
    glm_ids prefix;    /* [gMASK]<sop> <|user|> and the document */
    glm_reading_cut cut;
    bool has_markers;   /* the passages' numbers are in the prefix */
    bool opens_message; /* the prefix is a text alone: <|user|> comes with the question */
    const glm_tokenizer *tokenizer; /* borrowed */
} glm_reading;

/* Take the document over (it is emptied, also on a failure) and encode it.
 *
 *   system  what the model is told before; NULL: nothing
 *
 * Errors: RT_EMODEL  the tokenizer has no control tokens; RT_ENOMEM
 *         RT_EINTERRUPTED  the tokenizer's watch says so */
RT_MUST_CHECK rt_status glm_reading_make(const glm_tokenizer *tokenizer, const glm_variant *variant,
        const char *system, glm_document *document, glm_reading *out);

/* The same from a book's ids, which are the prefix: one that was kept by glm1m ask, or a text that
 * glm1m prefill has kept. Files, pages and lines are those of the sources; `name` stands for a single
 * one, whose name is not in the text. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_reading_of_book(const glm_tokenizer *tokenizer, const char *name,
        const int32_t *ids, int64_t n_ids, glm_reading *out);
void glm_reading_free(glm_reading *reading);

/* Append what follows the prefix: the question, last in the user's message, and <|assistant|>. */
RT_MUST_CHECK rt_status glm_reading_question(
        const glm_reading *reading, const char *question, int64_t n_bytes, glm_ids *out);

/* The number of the passage that the prefix's token at `at` belongs to, or of the last one in front of it; -1: there is none.
 * Before glm_reading_truncate. */
int64_t glm_reading_passage_at(const glm_reading *reading, int64_t at);

/* Cut the prefix to n_tokens, at least 2, as LongBench does: the first and the last half of them
 * stay. Nothing where it is no longer than that; once. */
void glm_reading_truncate(glm_reading *reading, int64_t n_tokens);

/* glm_cite. */
RT_MUST_CHECK rt_status glm_reading_cite(
        const glm_reading *reading, const char *answer, int64_t n_bytes, glm_citations *out);

#endif

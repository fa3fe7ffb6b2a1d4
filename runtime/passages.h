/* A document cut into numbered passages, and written so that a model can name them.
 *
 *   GLM_PASSAGES_NUMBERED    ==> notes.txt <==      a line of its own in front of each passage,
 *                            [1]                    and where a PDF's page begins, which page
 *                            It was a dark night.
 *                            [2] page 2
 *   GLM_PASSAGES_SENTENCES   <C0>It was a dark night. <C1>The wind blew.
 *                            LongCite's, as its authors' prompts have it
 *
 * Passages are lines of one file and one page, together 600 bytes or a little more, or up to the next
 * line where that is longer; a paragraph's end closes one from 400 bytes on. Numbers and cuts
 * depend on nothing behind them: what is appended to a text leaves the passages before it alone. */
#ifndef GLM_PASSAGES_H
#define GLM_PASSAGES_H

#include "document.h"
#include "text.h"
#include "watch.h"

typedef enum glm_passages_style {
    GLM_PASSAGES_NUMBERED,
    GLM_PASSAGES_SENTENCES
} glm_passages_style;

typedef struct glm_passage {
    int64_t begin; /* bytes of the document's text: [begin, end) */
    int64_t end;
    int64_t written_at; /* byte of the text that it was written to last, where its marker begins */
} glm_passage;

typedef struct glm_passages {
    glm_passages_style style;
    int64_t first_number; /* of passages[0]: 1, or LongCite's 0 */
    int64_t n_passages;
    glm_passage *passages; /* ascending, disjoint */
    int64_t room;          /* of the list */
} glm_passages;

/* `watch` may be NULL. Errors: RT_ENOMEM; RT_EINTERRUPTED  the watch says so */
RT_MUST_CHECK rt_status glm_passages_make(const glm_document *document, glm_passages_style style,
        const glm_watch *watch, glm_passages *out);
/* One more, behind the others. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_passages_add(glm_passages *passages, const glm_passage *passage);
void glm_passages_free(glm_passages *passages);

/* Append the document with its passages' numbers. `watch` and errors: as above. */
RT_MUST_CHECK rt_status glm_passages_write(glm_passages *passages, const glm_document *document,
        const glm_watch *watch, glm_text *out);

/* The number of the passage that byte `at` of the document's text belongs to, or of the last one in
 * front of it; -1 where there is none. */
int64_t glm_passages_at(const glm_passages *passages, int64_t at);
/* The same by bytes of the text that they were written to. */
int64_t glm_passages_written_at(const glm_passages *passages, int64_t at);
/* The passage of a number; NULL: there is none. */
const glm_passage *glm_passages_get(const glm_passages *passages, int64_t number);

#endif

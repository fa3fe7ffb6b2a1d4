/* Files of questions about paragraphs, as SQuAD and HotpotQA publish them. */
#ifndef GLM_NEEDLE_QUESTIONS_H
#define GLM_NEEDLE_QUESTIONS_H

#include <jansson.h>

#include "needle.h"

typedef struct glm_question {
    const char *text;
    const char *answers[GLM_NEEDLE_ANSWERS]; /* any of them is right */
    int32_t n_answers;
    const int32_t *own; /* [n_own]: the paragraphs it is asked about, of one of the lists below */
    int32_t n_own;
    const int32_t
            *near; /* [n_near]: those of its article, its own among them; of another such list */
    int32_t n_near;
} glm_question;

struct glm_questions {
    json_t *root;            /* the texts of questions and answers are its own */
    glm_question *questions; /* in the order of the file */
    int64_t n;
    int64_t room;
    char **paragraphs; /* ascending, each once */
    int64_t n_paragraphs;
    int64_t paragraphs_room;
    int32_t **lists; /* of paragraphs: all questions of an article share one */
    int64_t n_lists;
    int64_t lists_room;
    int64_t n_left_out; /* questions without an answer, or that a task has no room for */
};

typedef enum glm_questions_kind {
    GLM_QUESTIONS_SQUAD, /* {"data": [{"paragraphs": [{"context", "qas": [{"question", "answers"}]}]}]} */
    GLM_QUESTIONS_HOTPOTQA /* [{"question", "answer", "context": [[title, [sentence...]]...]}], or with
                            * "context": {"title": [title...], "sentences": [[sentence...]...]} */
} glm_questions_kind;

/* Read the text of such a file; glm_questions_free() also after a failure.
 *
 * Errors: RT_EUSAGE  no JSON, not of that kind, or without questions; the message says which and where
 *         RT_ENOMEM */
RT_MUST_CHECK rt_status glm_questions_read(
        glm_questions_kind kind, const char *text, int64_t n_bytes, glm_questions **out);

#endif

/* Questions in a file, and which of them have an answer already. JSON, one object a line:
 *
 *   {"id": "q1", "question": "Who is Lucia?", "max_tokens": 200}
 *
 * "id" is a string or a whole number, the line's number where there is none; "max_tokens" may be
 * left out, other members do not matter. */
#ifndef GLM_CMD_ASK_QUESTIONS_H
#define GLM_CMD_ASK_QUESTIONS_H

#include <jansson.h>

#include "tokenizer.h"

typedef struct ask_question {
    int64_t line;       /* of the file; 0: from the command line */
    json_t *id;         /* owned; NULL: from the command line */
    char *text;         /* owned; NULL: the line has an error */
    int64_t max_tokens; /* 0: not said */
    char *error;        /* owned; why it cannot be asked, without the file's name; NULL: it can */
    bool is_answered;   /* by an earlier run */
    glm_ids ids;        /* behind the prefix */
} ask_question;

typedef struct ask_questions {
    ask_question *questions;
    int64_t n_questions;
} ask_questions;

/* Read the file, "-" is standard input. A line that cannot be asked is a question with an error.
 * RT_EIO; RT_EUSAGE no question at all; RT_ENOMEM. */
RT_MUST_CHECK rt_status ask_questions_read(const char *path, ask_questions *out);
/* The one of the command line. RT_EUSAGE: it is empty; RT_ENOMEM. */
RT_MUST_CHECK rt_status ask_questions_single(const char *text, ask_questions *out);
/* The one of standard input, without the ends of lines that it ends in. RT_EUSAGE: it is empty, or no text; RT_EIO; RT_ENOMEM. */
RT_MUST_CHECK rt_status ask_questions_piped(ask_questions *out);
void ask_questions_free(ask_questions *questions);

/* Say that a question cannot be asked, as printf. RT_ENOMEM. */
RT_MUST_CHECK rt_status ask_question_refuse(ask_question *question, const char *why);

/* Mark what the records of an earlier run answer, an object a line; a last line that a crash cut off is
 * dropped from the file, and the record of what could not be asked then: it has its turn again. No file:
 * nothing is answered. `same` are members that a record must share with what is asked now.
 *
 * Errors: RT_EUSAGE  a line is no record, or the answer to an id is to another question, or its `same`
 *                    differ; RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status ask_questions_resume(
        ask_questions *questions, const char *path, const json_t *same);

#endif

/* An answer and its citations, for people and as JSON. */
#ifndef GLM_CMD_ASK_RECORD_H
#define GLM_CMD_ASK_RECORD_H

#include <jansson.h>

#include "asking.h"
#include "cli.h"
#include "cmd_ask_questions.h"
#include "reading.h"

/* Members that every answer of a run has alike: where it is from, and what could have changed it. NULL
 * without memory. */
json_t *ask_run_members(const glm_reading *reading, const glm_engine *engine, const glm_cli *cli,
        const glm_sampling *sampling);

/* The record of an answer; NULL without memory. `run` is borrowed. */
json_t *ask_record(const ask_question *question, const glm_asking *asking,
        const glm_citations *citations, const json_t *run, int64_t n_prompt, int64_t n_reused);
/* Of a question that was not asked. */
json_t *ask_error_record(const ask_question *question);

/* Where the answer's quotations are, a line each, to standard output. */
void ask_print_citations(const char *answer, const glm_citations *citations);

#endif

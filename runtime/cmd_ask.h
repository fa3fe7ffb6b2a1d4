/* Shared by the parts of glm1m ask.
 *
 *   cmd_ask.c            the flags, the walk, --help
 *   cmd_ask_text.c       what is asked about: sources or a book; whether it fits
 *   cmd_ask_answers.c    the prefix, once; its forks, alone or together
 *   cmd_ask_questions.c  questions of a file, and which are answered
 *   cmd_ask_record.c     an answer as JSON, its citations for people */
#ifndef GLM_CMD_ASK_H
#define GLM_CMD_ASK_H

#include <stdio.h>

#include "cli.h"
#include "cmd_ask_questions.h"
#include "reading.h"

enum {
    ASK_TOGETHER_MAX = 32,    /* questions */
    ASK_FORK_TOKENS = 2 * 128 /* pages that a fork may have of its own besides what it holds */
};

typedef struct ask_run {
    const glm_cli *cli;
    glm_tokenizer *tokenizer;
    glm_config config;
    glm_reading reading;
    bool is_book; /* no sources: what --book holds is asked about */
    ask_questions questions;
    char *note;     /* of the book */
    int64_t limit;  /* tokens of prompt and answer */
    int64_t room;   /* of the longest question and its answer */
    int64_t n_open; /* questions to be asked */
    int32_t n_together;
    glm_engine *engine;
    glm_session *prefix;
    glm_reuse reuse;
    int64_t n_reused; /* tokens of the prefix that were on disk */
    glm_sampling sampling;
    json_t *members; /* of every record */
    FILE *out;       /* records; NULL: a single question, for people */
    int64_t n_answered;
    int64_t n_refused;
    double waited_s; /* for another process, which was at the text */
    double prefill_s;
    double decode_s;
} ask_run;

/* The sources, into run->reading. RT_EUSAGE, RT_EIO as glm_document_load. */
RT_MUST_CHECK rt_status ask_read_document(ask_run *run);
/* A book without sources: how long it is, before the model is loaded, and then what it says. */
RT_MUST_CHECK rt_status ask_measure_book(ask_run *run);
RT_MUST_CHECK rt_status ask_read_book(ask_run *run);
/* The questions' ids, anew. */
RT_MUST_CHECK rt_status ask_encode_questions(ask_run *run);
/* What the prompts and answers need, cut where that is asked for. RT_ENOFIT says by how much it is too
 * long; one question of many is refused. */
RT_MUST_CHECK rt_status ask_plan_lengths(ask_run *run);

/* What comes before every question: from disk, or computed and kept there. */
RT_MUST_CHECK rt_status ask_prefill_prefix(ask_run *run);
/* The only question, streamed; or all that are open, each answer a record when it is complete. After
 * Ctrl-C RT_EINTERRUPTED. */
RT_MUST_CHECK rt_status ask_one(ask_run *run);
RT_MUST_CHECK rt_status ask_many(ask_run *run);
/* A line of JSON. RT_ENOMEM: it is NULL; RT_EIO. */
RT_MUST_CHECK rt_status ask_write_record(const ask_run *run, json_t *record);
bool ask_is_open(const ask_question *question);

#endif

/* Needles in a haystack: prompts, answers, results.
 *
 *   needle.c            what the protocols share: the chat around a context
 *   needle_place.c      cutting, inserting
 *   needle_lwm.c | needle_gkamradt.c | needle_own.c      one protocol each
 *   needle_ruler.c | needle_vt.c | needle_cwe.c | needle_fwe.c | needle_qa.c      RULER's tasks
 *   needle_questions.c  files of questions, for needle_qa.c
 *   needle_words.c      cities, adjectives and nouns, numbers, uuids
 *   needle_run.c        prompts through the engine
 *   needle_results.c    results.json and results.csv, and continuing from them
 *   needle_share.c      several runs that write them at once
 *   needle_compare.c    two of them side by side
 *
 * One tokenizer, the model's, is used wherever a protocol counts or cuts tokens (LWM itself cuts in
 * GPT-4's tokens; results say so). A prompt, its answer's tokens included, never exceeds the length
 * of its cell. */
#ifndef GLM_NEEDLE_H
#define GLM_NEEDLE_H

#include "chat.h"
#include "haystack.h"
#include "sha256.h"
#include "tokenizer.h"

enum {
    GLM_NEEDLE_TEXT = 512,
    GLM_NEEDLE_QUESTION = 2048,
    GLM_NEEDLE_OPENING = 8192,
    GLM_NEEDLE_ANSWERS = 10,
    GLM_NEEDLE_PROGRAM = 128
};

typedef struct glm_questions glm_questions; /* needle_questions.h */

/* The user's own needles: the first goes to the cell's depth, the others to drawn ones. */
typedef struct glm_needle_own {
    int n_needles;
    const char *const *needles;
    const char *question;
    int n_answers;
    const char *const *answers; /* each that is found counts for its share */
    const char *text; /* all of that in one line, for the results; "" for other protocols */
} glm_needle_own;

/* What is evaluated; equal settings give equal prompts. */
typedef struct glm_needle_settings {
    const char *protocol; /* "lwm", "gkamradt", "own", "ruler:single_1" ... */
    uint64_t seed;
    bool is_fast;              /* prompts share prefixes: pieces are tokenized apart */
    bool is_completer;         /* the model only continues text: "auto" gives it the sentence */
    bool is_plain;             /* no chat template: the prompt is text that the model continues */
    bool is_spread;            /* the protocol has no depths: there is one, 0, that is not shown */
    const char *answer_prefix; /* "auto", "none" or a text */
    glm_needle_own own;        /* of protocol "own" */
    int64_t rounds;
    int64_t n_lengths;
    const int64_t *lengths; /* tokens, ascending */
    int64_t n_depths;
    const double *depths; /* per cent */
} glm_needle_settings;

/* What prompts are made from. */
typedef struct glm_needle_source {
    const glm_needle_settings *settings;
    const glm_tokenizer *tokenizer;
    const glm_haystack *haystack;
    glm_ids haystack_ids;     /* all of them, or the first: more than any prompt takes */
    glm_ids period_ids;       /* "." alone: insertion points follow it */
    glm_questions *questions; /* owned; of protocols that ask those of a file, else NULL */
} glm_needle_source;

typedef struct glm_needle_cell {
    int64_t length;
    double depth; /* per cent, of thousandths at most */
    int64_t round;
} glm_needle_cell;

/* What a protocol says about one cell, before any context. */
typedef struct glm_needle_task {
    char needle[GLM_NEEDLE_TEXT];    /* as inserted */
    char sentence[GLM_NEEDLE_TEXT];  /* the needle up to its value: what a completer continues */
    char system[GLM_NEEDLE_TEXT];    /* system message, "" for none */
    char before[GLM_NEEDLE_OPENING]; /* of the user message, before the context */
    char after[GLM_NEEDLE_QUESTION]; /* and behind it: the question */
    bool is_after_apart;             /* the question is a user message of its own */
    char prefix[GLM_NEEDLE_TEXT];    /* the protocol's own answer prefix, "" for none */
    int32_t n_answers;
    char answers[GLM_NEEDLE_ANSWERS][GLM_NEEDLE_TEXT];
    bool counts_parts; /* each answer found counts for its share; otherwise all are wanted, */
    bool takes_any;    /* or any one of them */
    int64_t max_new;   /* answer tokens at most */
    char key[64];      /* what is asked for */
} glm_needle_task;

typedef struct glm_needle_prompt {
    glm_needle_task task;
    glm_ids ids;
    int64_t needle_token;                /* where in ids the needle begins */
    int64_t reserved;                    /* tokens of the length that are not context or needle */
    char answer_prefix[GLM_NEEDLE_TEXT]; /* as given to the model */
} glm_needle_prompt;

/* One protocol. */
typedef struct glm_needle_protocol {
    const char *name;
    bool repeats_haystack; /* a short haystack is repeated; otherwise it is an error */
    bool is_spread;        /* what is asked for is all over the text: there is no depth */
    /* Read what else the prompts are made of; the haystack is then no text of theirs. NULL: nothing. */
    rt_status (*open)(glm_needle_source *source);
    /* The cell's task. RT_EUSAGE: the cell cannot be made. */
    rt_status (*make_task)(
            const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task);
    /* Ids of a context of n_tokens or fewer with the needle in it, and where it begins. */
    rt_status (*make_context)(const glm_needle_source *source, const glm_needle_cell *cell,
            const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at);
} glm_needle_protocol;

extern const glm_needle_protocol glm_needle_lwm, glm_needle_gkamradt, glm_needle_own_task,
        glm_needle_ruler, glm_needle_vt, glm_needle_cwe, glm_needle_fwe, glm_needle_qa_squad,
        glm_needle_qa_hotpotqa;

/* The protocol of that name. RT_EUSAGE lists those there are. */
RT_MUST_CHECK rt_status glm_needle_find_protocol(const char *name, const glm_needle_protocol **out);

/* RULER's needle tasks by name, for the error text and --help. */
const char *glm_needle_ruler_tasks(void);
/* What results call the protocol of that name: of a task of RULER's needles, by whichever name, ours. */
const char *glm_needle_ruler_name(const char *protocol);
bool glm_needle_is_ruler_task(const char *protocol);
extern const char glm_needle_noise[]; /* RULER's line of noise */

/* The longest of their lengths. */
int64_t glm_needle_longest(const glm_needle_settings *settings);

/* Bytes of built-in haystack that these settings need. */
int64_t glm_needle_haystack_bytes(const glm_needle_settings *settings);

/* Tokenize as much of the haystack as prompts may need. RT_EUSAGE: too short for the protocol; the message says what is there and
 * what is needed. Borrows the three; glm_needle_source_free gives back the rest. */
RT_MUST_CHECK rt_status glm_needle_source_open(const glm_needle_settings *settings,
        const glm_tokenizer *tokenizer, const glm_haystack *haystack, glm_needle_source *out);
void glm_needle_source_free(glm_needle_source *source);

/* The prompt of a cell. RT_EUSAGE: the length leaves no room for the question. */
RT_MUST_CHECK rt_status glm_needle_prompt_make(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_prompt *out);
void glm_needle_prompt_free(glm_needle_prompt *prompt);

/* The share of the task's answers that stand in the response (case does not matter), 0 to 1; of a
 * task that does not count parts, 1 or 0: all of them, or any. */
double glm_needle_score(const glm_needle_task *task, const char *response);

/* Where in context[0 .. n) a needle at `depth` per cent goes: at the end for 100, else moved left to
 * behind the nearest full stop. Source: LWM's and gkamradt's scripts, which agree; but in a text whose next one is further
 * away than a long sentence, and than 2 % of it, the needle stays where it is, between two characters. */
int64_t glm_needle_insertion_point(
        const glm_needle_source *source, const int32_t *context, int64_t n, double depth);

/* The token of ids, from `from` on, that holds byte `at` of their text. */
int64_t glm_needle_token_at(
        const glm_needle_source *source, const glm_ids *ids, int64_t from, int64_t at);

/* n tokens of the haystack, repeated where it ends; rounds begin in different places. */
RT_MUST_CHECK rt_status glm_needle_stretch(
        const glm_needle_source *source, const glm_needle_cell *cell, int64_t n, glm_ids *out);
/* Such a stretch with the needle in it, n_tokens in all: a protocol's make_context. */
RT_MUST_CHECK rt_status glm_needle_hide(const glm_needle_source *source,
        const glm_needle_cell *cell, const glm_needle_task *task, int64_t n_tokens,
        glm_ids *context, int64_t *needle_at);
/* Accepts NULL. */
void glm_questions_free(glm_questions *questions);

/* Shuffle n entries: the same draw, the same order. */
void glm_needle_shuffle(uint64_t draw, int32_t *entries, int64_t n);
/* The most of what there is from `low` to `high` that takes no more than n_tokens, or `low`; `count` says what n of it
 * take, which are the more the more it is. */
RT_MUST_CHECK rt_status glm_needle_most(int64_t low, int64_t high, int64_t n_tokens,
        rt_status (*count)(const void *of, int64_t n, int64_t *n_tokens), const void *of,
        int64_t *most);
/* Tokens of a text alone. */
RT_MUST_CHECK rt_status glm_needle_tokens(
        const glm_needle_source *source, const char *text, int64_t *n);

/* A depth as a number that is its own: of a whole one, itself. */
uint64_t glm_needle_depth_number(double depth);
/* A draw that depends on seed, cell and salt alone. In fast mode the length and depth do not count:
 * all cells of a round ask for one needle, so that they share more. */
uint64_t glm_needle_draw(
        const glm_needle_settings *settings, const glm_needle_cell *cell, uint64_t salt);

/* Seven digits; a v4 uuid; a city; "adjective-noun" number i of glm_needle_n_words, five letters
 * each; keys that follow one another have different nouns. */
void glm_needle_number(uint64_t draw, char text[64]);
void glm_needle_uuid(uint64_t draw, uint64_t more, char text[64]);
const char *glm_needle_city(uint64_t draw);
int64_t glm_needle_n_words(void);
void glm_needle_words(int64_t i, char text[64]);
/* More words, in three parts, none of which are among those: number i of glm_needle_n_long_words. */
int64_t glm_needle_n_long_words(void);
void glm_needle_long_words(int64_t i, char text[64]);

/* ---- results --------------------------------------------------------------------------------- */

typedef struct glm_needle_record {
    glm_needle_cell cell;
    uint64_t seed;
    char *response;                                          /* owned */
    char answer[GLM_NEEDLE_ANSWERS * (GLM_NEEDLE_TEXT + 2)]; /* those of the task */
    char answer_prefix[GLM_NEEDLE_TEXT];                     /* what the answer was begun with */
    double score;                                            /* 0 to 1; 1 is correct */
    char prompt_sha256[GLM_SHA256_HEX]; /* of its ids, four bytes each; "" in older files */
    char program[GLM_NEEDLE_PROGRAM];   /* what computed it, and where; "" in older files */
    int64_t prompt_tokens;
    int64_t needle_token;
    int64_t reused_tokens; /* prefix that an earlier cell had prefilled, or that is on disk */
    double prefill_s;
    double decode_s;
    int64_t n_generated;
} glm_needle_record;

/* What every record of a file has in common. */
typedef struct glm_needle_header {
    const glm_needle_settings *settings;
    const char *model; /* directory or name, as given */
    const char *fingerprint;
    const char *kv_dtype;
    const char *linear; /* who multiplied */
    const char *haystack_sha256;
    const char *haystack_source;
} glm_needle_header;

typedef struct glm_needle_results {
    glm_needle_header header;
    glm_needle_record *records;
    int64_t n;
    int64_t capacity;
} glm_needle_results;

/* Read DIR/results.json if it is there, but for cells that `results` has. RT_EUSAGE: it was made with other
 * settings; the message says which and both values. RT_EIO; RT_ECORRUPT: not our file. */
RT_MUST_CHECK rt_status glm_needle_results_load(glm_needle_results *results, const char *dir);
RT_MUST_CHECK rt_status glm_needle_results_add(
        glm_needle_results *results, const glm_needle_record *record);
bool glm_needle_results_has(const glm_needle_results *results, const glm_needle_cell *cell);
/* Replace DIR/results.json and results.csv. */
RT_MUST_CHECK rt_status glm_needle_results_save(const glm_needle_results *results, const char *dir);
/* results.json's text, for free(). */
RT_MUST_CHECK rt_status glm_needle_results_json(const glm_needle_results *results, char **text);
/* Mean score over rounds of a (length, depth); NaN where none ran. */
double glm_needle_results_score(const glm_needle_results *results, int64_t length, double depth);
/* What the records of the settings' lengths, depths and rounds add up to. */
typedef struct glm_needle_tally {
    int64_t n;
    int64_t n_correct;
    double accuracy;  /* mean score; 0 without any */
    int64_t n_others; /* records of other cells: a file may hold those of an earlier grid */
} glm_needle_tally;
glm_needle_tally glm_needle_results_tally(const glm_needle_results *results);
/* Wilson's 95 % interval of a share that was seen in n samples; 0 to 1 for none. */
void glm_needle_interval(double share, int64_t n, double *low, double *high);
void glm_needle_results_free(glm_needle_results *results);

#endif

/* What every subcommand shares: one table of flags, parsing, help, progress, Ctrl-C.
 *
 * A flag exists once, in the table of cli_flags.c: long name, short name, kind, help, unit. Each
 * has an environment twin GLM_<FLAG> (dashes become underscores); the command line wins. Each
 * command names the flags it takes; anything else is an error with the nearest name.
 *
 *   cli.c           argv and environment -> glm_cli; exit codes
 *   cli_flags.c     the table, and finding things in it
 *   cli_help.c      --help, made from the same table
 *   cli_input.c     texts, token files and lists of numbers
 *   cli_sampling.c  --temperature and its like, --stop
 *   cli_progress.c  the bar; cli_prefill.c a prefill that shows it
 *   cli_books.c     where books lie, and names that are not there
 *   cli_sources.c   what is said of a document, and noted in a book
 *   cli_show.c      what a model says, on a terminal
 *   cli_watch.c     how far the reading of a long text is
 *   cli_signals.c   Ctrl-C */
#ifndef GLM_CLI_H
#define GLM_CLI_H

#include <stdio.h>

#include "base/size.h"
#include "document.h"
#include "kvstore/kvstore.h"
#include "runtime.h"
#include "tokenizer.h"

/* Values of every flag there is, at their defaults when not given. */
typedef struct glm_cli {
    const char *command;
    const struct glm_command *const *commands; /* every one there is, NULL-terminated */

    /* Operands in order, not flags. Borrowed from argv. */
    int n_operands;
    const char **operands;

    glm_options engine; /* -m (resolved to a directory), --device, -c, -b, --span, budgets, ... */

    /* Generation */
    int64_t max_tokens; /* -n, -1: not given */
    double temperature; /* < 0: not given */
    double top_p;       /* < 0: not given */
    int64_t top_k;      /* < 0: not given */
    int64_t seed;       /* -1: not given */
    int n_stop;         /* --stop, repeatable */
    const char **stop;

    /* Input */
    const char *prompt;      /* -p */
    const char *file;        /* -f, "-" is standard input */
    const char *tokens_file; /* --tokens-file, "-" is standard input */
    bool special_in_text;    /* --special-in-text */
    bool add_special;        /* --add-special */
    const char *tools;       /* --tools */

    /* Books */
    const char *book; /* --book */
    bool keeps; /* set by commands that keep on disk what they prefill without --kv-disk-dir */

    /* Output */
    const char *out;       /* --out */
    const char *positions; /* --positions */
    bool json;
    bool quiet;
    bool no_progress;
    struct glm_text_progress *text_progress; /* of glm_cli_watch; NULL: it shows nothing */

    /* chat, ask */
    const char *system; /* --system */

    /* ask */
    const char *question;  /* -q */
    const char *questions; /* --questions */
    const char *truncate;  /* --truncate */

    /* needle */
    const char *protocol;
    const char *lengths;
    const char *depths;
    int64_t rounds;  /* -1: not given */
    int n_haystacks; /* --haystack, repeatable and/or several values */
    const char **haystacks;
    int n_needles; /* --needle, repeatable */
    const char **needles;
    int n_answers; /* --answer, repeatable */
    const char **answers;
    const char *answer_prefix;
    const char *chat_template; /* --template */
    const char *mode;
    bool save_prompts;
    int n_compared; /* --compare A B */
    const char **compared;
    double min_accuracy; /* < 0: not given */

    bool self_test; /* doctor: --self-test */

    /* serve */
    const char *host;
    int64_t port; /* -1: not given */
    const char *api_key;
    const char *served_model_name;
    int64_t max_seqs; /* -1: not given */
    bool limits;

    /* make-model */
    const char *config_file; /* --config */

    const char *model_name; /* -m as it was given */
    char *model_path;       /* owned; engine.model_dir points here once resolved */
} glm_cli;

/* One subcommand. run() returns the program's exit code; on a failure it returns
 * glm_cli_fail(status), which prints rt_error_text() once. */
typedef struct glm_command {
    const char *name;
    const char *usage;   /* "needle [-m DIR] ...": what follows the program's name */
    const char *summary; /* one line */
    const char *details; /* paragraphs for --help: what it does, examples */

    /* Long names of the flags it takes, separated by spaces: "@engine max-tokens json".
     * @engine stands for -m, -c and everything else that goes into glm_options, @sampling for
     * --temperature --top-p --top-k --seed. --quiet, --no-progress and --help are always taken. */
    const char *flags;
    const char *required;      /* of these, the ones that must be given; NULL: none */
    const char *operand_words; /* what the first operand may be, "ls|show"; NULL: anything */
    int operands_min;          /* how many operands it takes; 0 and 0: none */
    int operands_max;
    bool works_anywhere; /* whatever a launcher and GLM_LOG say */
    int (*run)(glm_cli *cli);
} glm_command;

/* Defined one per cmd_<name>.c and listed in main.c. */
extern const glm_command glm_cmd_needle, glm_cmd_ask, glm_cmd_chat, glm_cmd_complete,
        glm_cmd_prefill, glm_cmd_book, glm_cmd_tokenize, glm_cmd_detokenize, glm_cmd_perplexity,
        glm_cmd_logits, glm_cmd_plan, glm_cmd_make_model, glm_cmd_doctor, glm_cmd_serve,
        glm_cmd_version, glm_cmd_completion;

/* Exit codes of the command line. */
enum {
    GLM_EXIT_OK = 0,
    GLM_EXIT_FAILURE = 1,
    GLM_EXIT_USAGE = 2,
    GLM_EXIT_NO_FIT = 3,
    GLM_EXIT_BAD_MODEL = 4,
    GLM_EXIT_CORRUPT = 5,
    GLM_EXIT_RANK_LOST = 6,
    GLM_EXIT_BELOW_MINIMUM = 7,
    GLM_EXIT_SIGNAL = 128 /* and the signal's number: 130 Ctrl-C, 143 SIGTERM */
};

/* ---- parsing, help, exit codes --------------------------------------------------------------- */

/* Parse argv[2..] for `command`, then the environment for what argv left open.
 *
 *   commands  every command, NULL-terminated: an error can then say who takes a misplaced flag
 *   out       filled, also on failure; glm_cli_free() gives back what it holds
 *
 * Errors: RT_EUSAGE with the nearest flag's name */
RT_MUST_CHECK rt_status glm_cli_parse(const glm_command *const *commands,
        const glm_command *command, int argc, char **argv, glm_cli *out);
void glm_cli_free(glm_cli *cli);

/* Whether --help is among argv[2..], and not as the value of a flag or an operand, before anything is wrong there. */
bool glm_cli_asks_help(
        const glm_command *const *commands, const glm_command *command, int argc, char **argv);

/* The command of that name, NULL when there is none. */
const glm_command *glm_cli_find_command(const glm_command *const *commands, const char *name);
/* RT_EUSAGE: "unknown command "nedle"; did you mean needle?". */
RT_MUST_CHECK rt_status glm_cli_unknown_command(
        const glm_command *const *commands, const char *name);

/* What --help prints, on stdout. */
void glm_cli_help(const glm_command *command);
void glm_cli_help_all(const glm_command *const *commands);
/* `text`, or its first line, on stdout from the present column on, wrapped at words so that it has at most 100 columns; following lines are
 * indented. Returns what follows the line. */
const char *glm_cli_print_wrapped(const char *text, int indent, int column);

/* Print the error text to stderr, return the exit code that belongs to the status. */
int glm_cli_fail(rt_status status);

/* ---- signals --------------------------------------------------------------------------------- */

/* Ctrl-C, SIGTERM, SIGHUP (a connection that is gone) and SIGUSR1 (Slurm's warning before a time limit): the first signal
 * sets a flag, which loops look at; the second ends the program at once. glm_cli_interrupted() is the first one's number,
 * 0 while there was none. */
void glm_cli_catch_signals(void);
int glm_cli_interrupted(void);
/* rt_now() when the program last went on after Ctrl-Z had stopped it; 0: never. */
double glm_cli_continued_at(void);
/* RT_EINTERRUPTED with a text once a signal came, else RT_OK. */
RT_MUST_CHECK rt_status glm_cli_check_interrupted(void);
/* Forget a Ctrl-C that was answered otherwise; false when there was none, or a SIGTERM came. */
bool glm_cli_forget_interrupt(void);

/* For waiting on what a user types. Between begin and end a signal, however often it comes, prints nothing and does not end
 * the program: it makes the pipe readable, which is to be polled along with the input. */
typedef struct glm_signal_pipe {
    int ends[2]; /* poll ends[0] */
} glm_signal_pipe;
RT_MUST_CHECK rt_status glm_signal_pipe_open(glm_signal_pipe *wake);
void glm_signal_pipe_begin(const glm_signal_pipe *wake);
void glm_signal_pipe_end(const glm_signal_pipe *wake);
void glm_signal_pipe_close(glm_signal_pipe *wake);

/* What may happen to a terminal while a prompt waits on it. */
enum {
    GLM_PROMPT_STOP = 1,      /* Ctrl-Z: we are to stop, the terminal as the shell had it */
    GLM_PROMPT_CONTINUED = 2, /* we were stopped, and others wrote on the terminal and set it up */
    GLM_PROMPT_RESIZED = 4
};
/* From here on these, too, make the pipe readable, and Ctrl-Z does not stop the program: _take says what happened since it
 * was last asked, and empties the pipe; _stop_here stops as Ctrl-Z would have, and returns when the program goes on. After
 * _unwatch Ctrl-Z stops it again, at once if it was pressed. */
void glm_signal_pipe_watch_terminal(void);
void glm_signal_pipe_unwatch_terminal(void);
int glm_signal_pipe_take(const glm_signal_pipe *wake);
void glm_signal_pipe_stop_here(void);

/* ---- progress -------------------------------------------------------------------------------- */

/* Progress on stderr: a bar that redraws on a terminal, otherwise a line every few seconds.
 * `done` and `total` in `unit` ("tokens", "cells"); the rate and the ETA are computed from the
 * work estimate when given (attention makes late tokens dearer), else from done. */
typedef struct glm_progress {
    const char *label;
    const char *unit;
    double started_s;
    double last_seen_s;
    double last_drawn_s;
    int64_t done_before; /* by an earlier run: no part of the rate and the ETA */
    double work_before;
    bool is_terminal;
    bool is_silent;
    bool is_drawn;
} glm_progress;
void glm_progress_begin(
        glm_progress *progress, const glm_cli *cli, const char *label, const char *unit);
/* An earlier run has done this much: it counts as done, but not for the rate and the ETA. */
void glm_progress_start_at(glm_progress *progress, int64_t done, double work_done);
void glm_progress_update(
        glm_progress *progress, int64_t done, int64_t total, double work_done, double work_total);
/* Clear the bar (terminal) so that other output starts on a clean line. */
void glm_progress_end(glm_progress *progress);

/* Of a text that is being read. */
typedef struct glm_text_progress {
    const glm_cli *cli;
    const char *what; /* is done to it now; NULL: nothing */
    glm_progress bar;
} glm_text_progress;

/* What watches the reading of a text: a signal stops it, and what takes more than a second is shown. It holds as long as
 * `cli`. */
glm_watch glm_cli_watch(const glm_cli *cli);

/* ---- prefill, and what is on disk already ---------------------------------------------------- */

/* A line on stderr where a flag is given that matters on a GPU only, and the CPU computes. */
void glm_cli_say_unused(const glm_cli *cli, const glm_plan *plan);

/* Lines on stderr: where the KV cache goes, if memory does not hold it; that it is lossy, if it is; and what
 * glm_cli_say_unused says. */
void glm_cli_say_kv(const glm_cli *cli, const glm_engine *engine);

/* glm_prefill with progress on stderr; logits_at and n_logits as in glm_prefill_begin.
 *
 * RT_EINTERRUPTED  Ctrl-C: the message says how far it was; the session is as after an abort */
RT_MUST_CHECK rt_status glm_cli_prefill(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, const int64_t *logits_at, int64_t n_logits);
/* The same of glm_prefill_begin_all. */
RT_MUST_CHECK rt_status glm_cli_prefill_all(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, glm_take_logits *take, void *context);

/* Whether what is prefilled is to be kept on disk and looked for there: --book or --kv-disk-dir is given, or the command
 * keeps in any case. For glm_options.persists. */
bool glm_cli_persists(const glm_cli *cli);

/* glm_session_restore into an empty session. Without glm_cli_persists() nothing is restored, and out->reason says so. */
RT_MUST_CHECK rt_status glm_cli_restore(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, glm_reuse *out);
/* On stderr, unless --quiet: how many of n_ids tokens were found, how long the others will take by the plan, and why no
 * more were found. */
void glm_cli_say_reuse(const glm_cli *cli, const glm_session *session, const glm_config *config,
        int64_t n_ids, const glm_reuse *reuse);
/* The session ends with the first n_there of ids: prefill the others, as glm_cli_prefill, for the logits of the last token.
 * After Ctrl-C what is computed is kept on disk for the next run, where glm_cli_persists(); the message then says that
 * `again`, for example "the same command", goes on from there. */
RT_MUST_CHECK rt_status glm_cli_prefill_kept(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, int64_t n_there, const char *again);
/* Prefill what a session that was restored from the same ids still lacks, as glm_cli_prefill_all. After Ctrl-C, where
 * glm_cli_persists(), `keep` is called to keep what was made of the logits given so far: the same command goes on from
 * there. */
typedef struct glm_cli_taker {
    int64_t n_given; /* of the first n_given ids the caller has what it needs; at least the session's length */
    glm_take_logits *take; /* its `at` counts from the session's length */
    rt_status (*keep)(void *context);
    void *context;
} glm_cli_taker;
RT_MUST_CHECK rt_status glm_cli_prefill_all_kept(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, const glm_cli_taker *taker);
/* Prefill what a session that was restored from the same ids still lacks, as glm_cli_prefill, for the
 * logits of the last token. After Ctrl-C the same command, given again, goes on from there. *n_computed, unless it is
 * NULL: tokens that this call computed. */
RT_MUST_CHECK rt_status glm_cli_prefill_rest(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, int64_t *n_computed);

/* ---- books ----------------------------------------------------------------------------------- */

/* The books in --kv-disk-dir, or else in our cache directory, where the engine keeps them. No model is
 * needed. Errors: as kv_books_open */
RT_MUST_CHECK rt_status glm_cli_books_open(const glm_cli *cli, kv_books **out);
/* Where those are, for messages: "DIR", "DIR and 2 more". RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cli_books_place(const glm_cli *cli, char *text, size_t n_bytes);
/* RT_EUSAGE unless there is a book of that name, damaged or not; the message has the nearest name. */
RT_MUST_CHECK rt_status glm_cli_book_require(const glm_cli *cli, kv_books *books, const char *name);
/* The book of --book, for kv_book_free. Errors: as glm_cli_book_require and kv_books_read */
RT_MUST_CHECK rt_status glm_cli_book_read(const glm_cli *cli, kv_book *out);
/* On stderr, unless --quiet: that the book of --book is of other sources than those of `note`, whose text is to have
 * its name. */
void glm_cli_say_replaced(const glm_cli *cli, const char *note);
/* RT_EUSAGE: the book of --book is of something whose name does not begin with `own`: it is not to be replaced. */
RT_MUST_CHECK rt_status glm_cli_book_spare(const glm_cli *cli, const char *own);
/* How many tokens the book of --book has, before any model is loaded; 0 without --book.
 * Errors: as glm_cli_book_require */
RT_MUST_CHECK rt_status glm_cli_book_length(const glm_cli *cli, int64_t *n_tokens);
/* Put the book's ids in front of `ids`; without --book do nothing. n_tokens is what glm_cli_book_length said.
 * Errors: as glm_book_ids; RT_EUSAGE  the book was replaced since, and has another length */
RT_MUST_CHECK rt_status glm_cli_prepend_book(
        const glm_cli *cli, glm_engine *engine, int64_t n_tokens, glm_ids *ids);
/* glm_cli_restore of ids that begin with the book's n_book ids. Where all of the book was found out->reason is empty;
 * where not, the rest of it is computed and kept again. */
RT_MUST_CHECK rt_status glm_cli_restore_book(const glm_cli *cli, glm_session *session,
        const glm_ids *ids, int64_t n_book, glm_reuse *out);
/* Free what kv_books_list gave. */
void glm_cli_free_names(char **names, int64_t n_names);

/* ---- input, and what is said of it ----------------------------------------------------------- */

/* RT_EUSAGE: not exactly one of operands, -f and --tokens-file is given. */
RT_MUST_CHECK rt_status glm_cli_require_source(const glm_cli *cli, const glm_command *command);

/* On stderr, unless --quiet: which files of a document were left out; how long it is; the engine's plan. */
void glm_cli_say_skipped(const glm_cli *cli, const glm_document *document);
void glm_cli_say_text(const glm_cli *cli, const glm_document *document, int64_t n_tokens);
void glm_cli_say_plan(const glm_cli *cli, const glm_engine *engine);
/* Whether somebody reads `out` as it is written. Not under mpirun, whose processes have a terminal of its own: it passes on to
 * its own output, which may be a file, what they write. */
bool glm_cli_is_terminal(FILE *out);
/* Write what a model or a file says, whole characters, to `out`. Where glm_cli_is_terminal, control characters but line feed
 * and tab are shown as \xNN, so that no text moves the cursor, sets a title or clears the screen; everywhere else the bytes
 * stay exact. False where it cannot be written, with errno. */
bool glm_cli_show(FILE *out, const char *text, int64_t n_bytes);
/* " (388.1 tokens/s)"; "" for less than a millisecond, of which it would be noise, and for less than two tokens: an answer of
 * one has had no decode step. */
const char *glm_cli_rate(int64_t n, double seconds, char text[RT_SIZE_TEXT]);
/* ", 31 of 40 drafted tokens right", of those drafted since glm_engine_drafts gave `before`; "" where there are none. */
enum { GLM_CLI_DRAFTS_TEXT = 80 };
const char *glm_cli_drafts(
        const glm_engine *engine, glm_drafts before, char text[GLM_CLI_DRAFTS_TEXT]);
/* The note to be kept with a book: where its text is from, its length and SHA-256 (hex), and the model. *note is a new
 * string. `document` is NULL for a tokens file. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cli_note(const glm_cli *cli, const char *const *sources, int n_sources,
        const glm_document *document, const char *sha256, char **note);

/* As --temperature, --top-p, --top-k and --seed say; what they leave open comes from the model's
 * generation_config.json. */
glm_sampling glm_cli_sampling(const glm_cli *cli, const glm_config *config);
/* The same where one of --temperature, --top-p and --top-k is given; greedy otherwise. */
glm_sampling glm_cli_sampling_or_greedy(const glm_cli *cli, const glm_config *config);
/* RT_EUSAGE where a --stop text is empty. */
RT_MUST_CHECK rt_status glm_cli_check_stop(const glm_cli *cli);

/* --lengths, --depths, --positions: "4k,64k" -> numbers. The array is for free(). */
RT_MUST_CHECK rt_status glm_cli_parse_list(
        const char *text, const char *flag, int64_t **values, int64_t *n_values);

/* The whole of a file, or of standard input for "-", plus a NUL that is not counted; for free().
 * RT_EIO; RT_EUSAGE beyond 1 GiB. */
RT_MUST_CHECK rt_status glm_cli_read_text(const char *path, char **text, int64_t *n_bytes);

/* A warning where what was read so is no text in UTF-8: it is tokenized as it is. */
void glm_cli_say_bytes(const char *path, const char *text, int64_t n_bytes);

/* The same as glm_cli_read_text, but of a PDF, an Office file, an EPUB or a text in UTF-16 its text; an archive is an error.
 * Otherwise warns as glm_cli_say_bytes. Errors: also as glm_document_from_bytes */
RT_MUST_CHECK rt_status glm_cli_read_document(const char *path, char **text, int64_t *n_bytes);

/* glm_document_load, watched by glm_cli_watch. */
RT_MUST_CHECK rt_status glm_cli_load_document(
        const glm_cli *cli, const char *const *sources, int n_sources, glm_document *out);

/* The tokenizer of -m. A long text that a signal meets while it is encoded is given up: RT_EINTERRUPTED; where that takes
 * long, it is shown on stderr how far it is. Errors: also as glm_tokenizer_load */
RT_MUST_CHECK rt_status glm_cli_load_tokenizer(const glm_cli *cli, glm_tokenizer **out);

/* Remove [gMASK]<sop> from the beginning of ids that go behind a book's, which begin so already. */
void glm_cli_drop_specials(const glm_tokenizer *tokenizer, glm_ids *ids);
/* Put the ids of `front`, which is emptied, also on failure, in front of `ids`. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cli_put_in_front(glm_ids *front, glm_ids *ids);
/* Put [gMASK]<sop> in front of the ids unless they begin so. RT_EMODEL, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cli_begin_ids(const glm_tokenizer *tokenizer, glm_ids *ids);

/* A tokens file: ids separated by white space or commas, appended to `out`.
 * RT_EUSAGE  something else, or an id outside [0, vocab); the message says the line */
RT_MUST_CHECK rt_status glm_cli_read_tokens(const char *path, int64_t vocab, glm_ids *out);

#endif

/* What every subcommand shares: one table of flags, parsing, help, exit codes.
 *
 * A flag exists once, in the table of cli_flags.c: long name, short name, kind, help, unit. Each
 * has an environment twin GLM_<FLAG> (dashes become underscores); the command line wins. Each
 * command names the flags it takes; anything else is an error with the nearest name.
 *
 *   cli.c           argv and environment -> glm_cli; exit codes
 *   cli_flags.c     the table, and finding things in it; cli_value.c one value of a flag
 *   cli_help.c      --help, made from the same table
 *
 * and with headers of their own
 *
 *   cli_input.c     texts, token files and lists of numbers
 *   cli_sampling.c  --temperature and its like, --stop
 *   cli_progress.c  the bar; cli_watch.c how far the reading of a long text is
 *   cli_prefill.c   a prefill that shows it
 *   cli_books.c     where books lie, and names that are not there
 *   cli_sources.c   what is said of a document, and noted in a book
 *   cli_show.c      what a model says, on a terminal
 *   cli_signals.c   Ctrl-C */
#ifndef GLM_CLI_H
#define GLM_CLI_H

#include "runtime.h"

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
    double min_p;       /* < 0: not given */
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
    int n_served_names; /* --served-model-name, repeatable */
    const char **served_names;
    int n_allow_origins; /* --allow-origin, repeatable */
    const char **allow_origins;
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
     * --temperature --top-p --top-k --min-p --seed. --quiet, --no-progress and --help are always taken. */
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

#endif

/* The table of flags, for the files of the command line only. */
#ifndef GLM_CLI_FLAGS_H
#define GLM_CLI_FLAGS_H

#include <stddef.h>

#include "cli.h"

typedef enum cli_kind {
    CLI_SWITCH, /* bool, takes no value */
    CLI_TEXT,   /* const char *; given again, the last one counts */
    CLI_INPUT,  /* const char *; not to be given twice: one of them would be passed over */
    CLI_TEXTS,  /* const char ** and an int count; repeatable */
    CLI_PATHS,  /* the same, and one flag takes every operand that follows it */
    CLI_CHOICE, /* const char *, one of `choices` */
    CLI_NAME,   /* the same, in capitals or not */
    CLI_INT32,  /* int32_t in [min, max] */
    CLI_COUNT,  /* int64_t in [min, max]; 1k = 1000, 1K = 1024, and so on */
    CLI_BYTES,  /* int64_t; 1k = 1K = 1024 */
    CLI_REAL    /* double in [min, max] */
} cli_kind;

typedef struct cli_flag {
    const char *name;      /* "max-tokens", without dashes */
    const char *shorthand; /* "n" or NULL */
    cli_kind kind;
    size_t offset;       /* of the value in glm_cli */
    size_t count_offset; /* of the count, for CLI_TEXTS and CLI_PATHS */
    const char *metavar; /* "N"; NULL for a switch */
    const char *choices; /* "bf16|f32", for CLI_CHOICE */
    double min;
    double max;
    const char *help;
} cli_flag;

/* Every flag, grouped as --help shows them. */
extern const cli_flag cli_flags[];
extern const int cli_n_flags;

/* By long name, or by short name where is_long is false; n_bytes of `name` count. NULL: none. */
const cli_flag *cli_find_flag(const char *name, size_t n_bytes, bool is_long);
/* By environment variable, n_bytes of "GLM_MAX_TOKENS". NULL: none. */
const cli_flag *cli_find_variable(const char *name, size_t n_bytes);
/* "GLM_MAX_TOKENS" into `text`. */
enum { CLI_NAME_BYTES = 64 };
const char *cli_variable_name(const cli_flag *flag, char text[CLI_NAME_BYTES]);

/* Put the value of a flag into `cli`; text is borrowed. `source` names where it stands, for messages: "--span",
 * "-c" or "GLM_SPAN". RT_EUSAGE, RT_ENOMEM */
RT_MUST_CHECK rt_status cli_set_value(
        glm_cli *cli, const cli_flag *flag, const char *source, const char *text);

/* Whether the command takes the flag. */
bool cli_takes(const glm_command *command, const cli_flag *flag);
/* Whether a list as in glm_command.flags names the flag; NULL lists name none. */
bool cli_lists(const char *list, const cli_flag *flag);

/* Edit distance, a swap of neighbours counting one; for names, at most 63 bytes of each. */
int cli_distance(const char *a, const char *b);
/* Whether a name at that distance from `typed` is worth suggesting. */
bool cli_is_near(const char *typed, int distance);

#endif

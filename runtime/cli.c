/* argv and environment -> glm_cli, and statuses -> exit codes.
 *
 * The command line is read first and marks what it gave; the environment then fills only what is
 * left. Values are borrowed from argv and environ, which live as long as the program. */
#include "cli.h"
#include "cli_signals.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "cli_flags.h"
#include "draft.h"
#include "hub.h"

/* One parse under way. */
typedef struct cli_parser {
    const glm_command *const *commands;
    const glm_command *command;
    int argc;
    char **argv;
    int next; /* index of the next argument */
    glm_cli *cli;
    bool is_given[96]; /* by index in cli_flags */
} cli_parser;

static int flag_index(const cli_flag *flag) {
    return (int)(flag - cli_flags);
}

/* ---- names that are not right ---------------------------------------------------------------- */

const glm_command *glm_cli_find_command(const glm_command *const *commands, const char *name) {
    for (; *commands; commands++)
        if (strcmp((*commands)->name, name) == 0) return *commands;
    return NULL;
}

rt_status glm_cli_unknown_command(const glm_command *const *commands, const char *name) {
    const char *nearest = "";
    int distance = INT32_MAX;
    for (; *commands; commands++) {
        const int d = cli_distance(name, (*commands)->name);
        if (d >= distance) continue;
        distance = d;
        nearest = (*commands)->name;
    }
    if (!cli_is_near(name, distance))
        return rt_fail(RT_EUSAGE, "unknown command \"%s\"; glm1m --help lists them", name);
    return rt_fail(RT_EUSAGE, "unknown command \"%s\"; did you mean %s?", name, nearest);
}

/* "complete, logits": the commands that take a flag. */
static void list_takers(
        const glm_command *const *commands, const cli_flag *flag, char *text, size_t n_bytes) {
    size_t n = 0;
    text[0] = '\0';
    for (; *commands && n < n_bytes; commands++)
        if (cli_takes(*commands, flag))
            n += (size_t)snprintf(text + n, n_bytes - n, "%s%s", n ? ", " : "", (*commands)->name);
}

static rt_status misplaced_flag(const cli_parser *parser, const cli_flag *flag, const char *typed) {
    char takers[256];
    list_takers(parser->commands, flag, takers, sizeof takers);
    return rt_fail(RT_EUSAGE, "%s does not take %s; %s%s", parser->command->name, typed,
            takers[0] ? "it belongs to: " : "no command does", takers);
}

/* The distance from what was typed to a flag, as it is written: "--name", or "-x" for a short one. */
static int flag_distance(const char *typed, const cli_flag *flag) {
    char written[CLI_NAME_BYTES];
    (void)snprintf(written, sizeof written, "--%s", flag->name);
    return cli_distance(typed, written);
}

static bool is_number_flag(const cli_flag *flag) {
    return flag->kind == CLI_INT32 || flag->kind == CLI_COUNT;
}

/* "-n5", "-tp2": a short flag with its value behind it, as other programs take it; not "-ngl". */
static const cli_flag *glued_flag(const cli_parser *parser, const char *typed, const char **value) {
    const cli_flag *found = NULL;
    for (int i = 0; i < cli_n_flags; i++) {
        const char *name = cli_flags[i].shorthand;
        if (!name || typed[1] == '-' || !cli_takes(parser->command, &cli_flags[i])) continue;
        const size_t n = strlen(name);
        if (strncmp(typed + 1, name, n) != 0 || typed[1 + n] == '\0') continue;
        if (is_number_flag(&cli_flags[i]) && !isdigit((unsigned char)typed[1 + n])) continue;
        found = &cli_flags[i];
        *value = typed + 1 + n;
    }
    return found;
}

/* "--max-model": the only flag that goes on from there. */
static const cli_flag *begun_flag(const cli_parser *parser, const char *typed) {
    const cli_flag *found = NULL;
    if (typed[1] != '-' || typed[2] == '\0') return NULL;
    for (int i = 0; i < cli_n_flags; i++) {
        if (!cli_takes(parser->command, &cli_flags[i])) continue;
        if (strncmp(cli_flags[i].name, typed + 2, strlen(typed + 2)) != 0) continue;
        if (found) return NULL;
        found = &cli_flags[i];
    }
    return found;
}

/* "--tp": a short flag as if it were a long one. */
static const cli_flag *short_flag(const cli_parser *parser, const char *typed) {
    const cli_flag *flag =
            typed[1] == '-' ? cli_find_flag(typed + 2, strlen(typed + 2), false) : NULL;
    return flag && cli_takes(parser->command, flag) ? flag : NULL;
}

/* NULL where none is near. */
static const cli_flag *nearest_flag(const cli_parser *parser, const char *typed) {
    const cli_flag *nearest = NULL;
    int distance = INT32_MAX;
    for (int i = 0; i < cli_n_flags; i++) {
        if (!cli_takes(parser->command, &cli_flags[i])) continue;
        const int d = flag_distance(typed, &cli_flags[i]);
        if (d >= distance) continue;
        distance = d;
        nearest = &cli_flags[i];
    }
    return cli_is_near(typed, distance) ? nearest : NULL;
}

static rt_status unknown_flag(const cli_parser *parser, const char *typed) {
    const char *value = NULL;
    const cli_flag *glued = glued_flag(parser, typed, &value);
    const cli_flag *meant = nearest_flag(parser, typed);
    if (!meant) meant = begun_flag(parser, typed);
    if (access(typed, F_OK) == 0)
        return rt_fail(RT_EUSAGE, "unknown flag %s; the file of that name is ./%s", typed, typed);
    if (short_flag(parser, typed))
        return rt_fail(RT_EUSAGE, "unknown flag %s; did you mean %s?", typed, typed + 1);
    if (meant) return rt_fail(RT_EUSAGE, "unknown flag %s; did you mean --%s?", typed, meant->name);
    if (glued)
        return rt_fail(
                RT_EUSAGE, "unknown flag %s; did you mean -%s %s?", typed, glued->shorthand, value);
    return rt_fail(RT_EUSAGE, "unknown flag %s; glm1m %s --help lists what it takes", typed,
            parser->command->name);
}

/* ---- argv ------------------------------------------------------------------------------------ */

static bool is_flag(const char *argument) {
    return argument[0] == '-' && argument[1] != '\0';
}

/* The flag an argument names, up to its '='; NULL when there is none. */
static const cli_flag *named_flag(const char *argument) {
    const bool is_long = argument[1] == '-';
    const char *name = argument + 1 + is_long;
    return cli_find_flag(name, strcspn(name, "="), is_long);
}

static rt_status take_value(cli_parser *parser, const cli_flag *flag, const char *argument) {
    const char *equals = strchr(argument, '=');
    char source[CLI_NAME_BYTES];
    (void)snprintf(source, sizeof source, "%.*s", (int)strcspn(argument, "="), argument);

    if (flag->kind == CLI_SWITCH)
        return cli_set_value(parser->cli, flag, source, equals ? equals + 1 : "1");
    if (equals) return cli_set_value(parser->cli, flag, source, equals + 1);

    const char *value = parser->next < parser->argc ? parser->argv[parser->next] : NULL;
    if (!value) return rt_fail(RT_EUSAGE, "%s needs a value: %s %s", source, source, flag->metavar);
    if (is_flag(value) && named_flag(value))
        return rt_fail(RT_EUSAGE, "%s needs a value, and %s is a flag; write %s=%s if you mean it",
                source, value, source, value);
    parser->next++;
    RT_TRY(cli_set_value(parser->cli, flag, source, value));

    while (flag->kind == CLI_PATHS && parser->next < parser->argc &&
            !is_flag(parser->argv[parser->next]))
        RT_TRY(cli_set_value(parser->cli, flag, source, parser->argv[parser->next++]));
    return RT_OK;
}

static rt_status take_flag(cli_parser *parser, const char *argument) {
    char typed[CLI_NAME_BYTES];
    (void)snprintf(typed, sizeof typed, "%.*s", (int)strcspn(argument, "="), argument);

    const cli_flag *flag = named_flag(argument);
    if (!flag) return unknown_flag(parser, typed);
    if (!cli_takes(parser->command, flag)) return misplaced_flag(parser, flag, typed);
    parser->is_given[flag_index(flag)] = true;
    return take_value(parser, flag, argument);
}

static rt_status take_operand(cli_parser *parser, const char *argument) {
    const glm_command *command = parser->command;
    if (parser->cli->n_operands == command->operands_max)
        return rt_fail(RT_EUSAGE, "unexpected \"%s\"\nusage: glm1m %s", argument, command->usage);
    if (argument[0] == '\0')
        return rt_fail(RT_EUSAGE, "%s: an argument is empty, which names nothing", command->name);
    parser->cli->operands[parser->cli->n_operands++] = argument;
    return RT_OK;
}

static rt_status parse_arguments(cli_parser *parser, bool *is_help) {
    bool only_operands = false;
    while (parser->next < parser->argc) {
        const char *argument = parser->argv[parser->next++];
        if (only_operands || !is_flag(argument)) {
            RT_TRY(take_operand(parser, argument));
        } else if (strcmp(argument, "--") == 0) {
            only_operands = true;
        } else if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
            *is_help = true;
            return RT_OK;
        } else {
            RT_TRY(take_flag(parser, argument));
        }
    }
    return RT_OK;
}

/* ---- the environment ------------------------------------------------------------------------- */

static bool is_known_elsewhere(const char *variable) {
    static const char *const prefixes[] = {"GLM_LOG=", "GLM_SYNC=", "GLM_TEST_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0) return true;
    return false;
}

static rt_status take_variable(cli_parser *parser, const char *variable) {
    const size_t n = strcspn(variable, "=");
    const cli_flag *flag = cli_find_variable(variable, n);
    if (!flag) {
        if (!is_known_elsewhere(variable))
            rt_log(RT_LOG_WARN, "cli", "%.*s is set, but there is no such flag", (int)n, variable);
        return RT_OK;
    }
    if (!cli_takes(parser->command, flag) || parser->is_given[flag_index(flag)]) return RT_OK;
    parser->is_given[flag_index(flag)] = true;
    char name[CLI_NAME_BYTES];
    return cli_set_value(parser->cli, flag, cli_variable_name(flag, name), variable + n + 1);
}

static rt_status parse_environment(cli_parser *parser) {
    for (char **variable = environ; *variable; variable++)
        if (strncmp(*variable, "GLM_", 4) == 0) RT_TRY(take_variable(parser, *variable));
    return RT_OK;
}

/* ---- from argv to glm_cli -------------------------------------------------------------------- */

static rt_status check_required(const cli_parser *parser) {
    const glm_command *command = parser->command;
    for (int i = 0; i < cli_n_flags; i++)
        if (cli_lists(command->required, &cli_flags[i]) && !parser->is_given[i])
            return rt_fail(RT_EUSAGE, "%s needs --%s %s\nusage: glm1m %s", command->name,
                    cli_flags[i].name, cli_flags[i].metavar, command->usage);
    if (parser->cli->n_operands < command->operands_min)
        return rt_fail(RT_EUSAGE, "%s needs more\nusage: glm1m %s", command->name, command->usage);
    return RT_OK;
}

/* "-" is standard input where a file is read; a file of that name is not meant. */
static rt_status check_out(const glm_cli *cli) {
    if (!cli->out || strcmp(cli->out, "-") != 0) return RT_OK;
    return rt_fail(
            RT_EUSAGE, "--out -: the result needs a name, and is not written to standard output");
}

static rt_status resolve_model(glm_cli *cli) {
    if (!cli->engine.model_dir) return RT_OK;
    cli->model_name = cli->engine.model_dir;
    RT_TRY(glm_hub_resolve(cli->engine.model_dir, &cli->model_path));
    cli->engine.model_dir = cli->model_path;
    return RT_OK;
}

/* Of the others no engine has room for drafts. */
static bool drafts(const glm_command *command) {
    static const char flag[] = "num-speculative-tokens";
    return cli_takes(command, cli_find_flag(flag, strlen(flag), true));
}

/* argv alone. */
static rt_status begin(const glm_command *const *commands, const glm_command *command, int argc,
        char **argv, glm_cli *out, cli_parser *parser, bool *is_help) {
    rt_assert((size_t)cli_n_flags <= sizeof parser->is_given);
    *out = (glm_cli){.command = command->name,
            .commands = commands,
            .max_tokens = -1,
            .port = -1,
            .max_seqs = -1,
            .temperature = -1.0,
            .top_p = -1.0,
            .top_k = -1,
            .min_p = -1.0,
            .seed = -1,
            .rounds = -1,
            .min_accuracy = -1.0};
    *is_help = false;
    if (drafts(command)) out->engine.n_speculative = GLM_DRAFT_MAX;
    RT_TRY(rt_calloc(argc, (int64_t)sizeof *out->operands, "operands", &out->operands));

    *parser = (cli_parser){.commands = commands,
            .command = command,
            .argc = argc,
            .argv = argv,
            .next = 2,
            .cli = out};
    return parse_arguments(parser, is_help);
}

bool glm_cli_asks_help(
        const glm_command *const *commands, const glm_command *command, int argc, char **argv) {
    glm_cli cli;
    cli_parser parser;
    bool is_help = false;
    const rt_status status = begin(commands, command, argc, argv, &cli, &parser, &is_help);
    glm_cli_free(&cli);
    return status == RT_OK && is_help;
}

rt_status glm_cli_parse(const glm_command *const *commands, const glm_command *command, int argc,
        char **argv, glm_cli *out) {
    cli_parser parser;
    bool is_help = false;
    RT_TRY(begin(commands, command, argc, argv, out, &parser, &is_help));
    RT_TRY(parse_environment(&parser));
    RT_TRY(check_required(&parser));
    RT_TRY(check_out(out));
    return resolve_model(out);
}

void glm_cli_free(glm_cli *cli) {
    free((void *)cli->operands);
    free((void *)cli->stop);
    free((void *)cli->haystacks);
    free((void *)cli->needles);
    free((void *)cli->answers);
    free((void *)cli->compared);
    free((void *)cli->allow_origins);
    free((void *)cli->served_names);
    free((void *)cli->engine.kv_disk_dirs);
    free(cli->model_path);
    *cli = (glm_cli){0};
}

/* ---- exit codes ------------------------------------------------------------------------------ */

static int exit_code(rt_status status) {
    switch (status) {
    case RT_OK:
        return GLM_EXIT_OK;
    case RT_EUSAGE:
        return GLM_EXIT_USAGE;
    case RT_ENOFIT:
        return GLM_EXIT_NO_FIT;
    case RT_EMODEL:
        return GLM_EXIT_BAD_MODEL;
    case RT_ECORRUPT:
        return GLM_EXIT_CORRUPT;
    case RT_EPEER:
        return GLM_EXIT_RANK_LOST;
    case RT_EINTERRUPTED:
        return GLM_EXIT_SIGNAL + glm_cli_interrupted();
    default:
        return GLM_EXIT_FAILURE;
    }
}

int glm_cli_fail(rt_status status) {
    char stamp[RT_LOG_TIME_BYTES];
    (void)fprintf(stderr, "%sglm1m: %s\n", rt_log_time(stamp), rt_error_text());
    return exit_code(status);
}

#include <stdio.h>
#include <string.h>

#include "cli_flags.h"

enum { FLAG_COLUMNS = 34, LINE_COLUMNS = 100 };

static const char exit_codes[] =
        "Exit: 0 ok, 1 failure, 2 usage, 3 does not fit, 4 bad model file, 5 corrupt data,\n"
        "6 rank lost, 7 evaluation below --min-accuracy, 130 Ctrl-C, 143 SIGTERM, 128 + N signal N.\n";

const char *glm_cli_print_wrapped(const char *text, int indent, int column) {
    int gap = 0; /* blanks in front of the word, which a line's beginning does not need */
    while (*text && *text != '\n') {
        const int length = (int)strcspn(text, " \n");
        if (column > indent && column + gap + length > LINE_COLUMNS) {
            (void)printf("\n%*s", indent, "");
            column = indent;
            gap = 0;
        }
        (void)printf("%*s%.*s", gap, "", length, text);
        column += gap + length;
        text += length;
        gap = (int)strspn(text, " ");
        text += gap;
    }
    (void)putchar('\n');
    return text + (*text == '\n');
}

/* Paragraphs; lines that begin with a space, examples, stay as they are. */
static void print_details(const char *text) {
    while (*text) {
        if (*text != ' ') {
            text = glm_cli_print_wrapped(text, 0, 0);
            continue;
        }
        const int length = (int)strcspn(text, "\n");
        (void)printf("%.*s\n", length, text);
        text += length + (text[length] == '\n');
    }
    (void)putchar('\n');
}

/* "  -n, --max-tokens N", then what it does. */
static void print_flag(const cli_flag *flag) {
    char left[128];
    char shorthand[8] = "    ";
    if (flag->shorthand) (void)snprintf(shorthand, sizeof shorthand, "-%s, ", flag->shorthand);
    const int n = snprintf(left, sizeof left, "  %s--%s%s%s", shorthand, flag->name,
            flag->metavar ? " " : "",
            flag->choices   ? flag->choices
            : flag->metavar ? flag->metavar
                            : "");
    (void)printf("%s", left);
    if (n > FLAG_COLUMNS - 2)
        (void)printf("\n%*s", FLAG_COLUMNS, "");
    else
        (void)printf("%*s", FLAG_COLUMNS - n, "");
    (void)glm_cli_print_wrapped(flag->help, FLAG_COLUMNS, FLAG_COLUMNS);
}

void glm_cli_help(const glm_command *command) {
    (void)printf(
            "glm1m %s: %s\n\nUsage: glm1m %s\n\n", command->name, command->summary, command->usage);
    if (command->details) print_details(command->details);
    (void)printf("Flags:\n");
    for (int i = 0; i < cli_n_flags; i++)
        if (cli_takes(command, &cli_flags[i])) print_flag(&cli_flags[i]);
    (void)printf(
            "  -h, --help                      this text\n\n"
            "Numbers take k, m, K, M and G: 1k tokens are 1000, 1K are 1024, 1m a million, 1M\n"
            "2^20; sizes in bytes are powers of 1024. Every flag has an environment twin,\n"
            "--max-tokens is GLM_MAX_TOKENS, which holds one value; the command line wins.\n"
            "GLM_LOG=info shows more.\n\n%s",
            exit_codes);
}

void glm_cli_help_all(const glm_command *const *commands) {
    (void)printf("glm1m: GLM-4-9B-Chat-1M over a million tokens of context\n\n"
                 "Usage: glm1m COMMAND [flags]\n\nCommands:\n");
    for (; *commands; commands++)
        (void)printf("  %-12s %s\n", (*commands)->name, (*commands)->summary);
    (void)printf("\nglm1m COMMAND --help says what a command takes; glm1m --version which one "
                 "this is.\n\n%s",
            exit_codes);
}

/* The text of a flag -> its place in glm_cli. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/size.h"
#include "cli_flags.h"

static void *field(glm_cli *cli, size_t offset) {
    return (char *)cli + offset;
}

/* As it was typed; a bound that only keeps numbers apart from overflow says nothing to anybody. */
static rt_status check_range(
        const cli_flag *flag, const char *source, const char *text, double value) {
    static const double large = 1e12;
    if (value >= flag->min && value <= flag->max) return RT_OK;
    if (flag->max < large)
        return rt_fail(RT_EUSAGE, "%s %s: must be between %.10g and %.10g", source, text, flag->min,
                flag->max);
    return value < flag->min
                   ? rt_fail(RT_EUSAGE, "%s %s: must be at least %.10g", source, text, flag->min)
                   : rt_fail(RT_EUSAGE, "%s %s: is too large", source, text);
}

static rt_status parse_number(
        const cli_flag *flag, const char *source, const char *text, int64_t *out) {
    const bool is_negative = text[0] == '-' && isdigit((unsigned char)text[1]);
    if (is_negative) return check_range(flag, source, text, strtod(text, NULL));
    if (rt_parse_size(text, flag->kind == CLI_BYTES, out) != RT_OK)
        return rt_fail(RT_EUSAGE, "%s: %s", source, rt_error_text());
    return check_range(flag, source, text, (double)*out);
}

static rt_status parse_real(
        const cli_flag *flag, const char *source, const char *text, double *out) {
    char *end = NULL;
    errno = 0;
    *out = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(*out))
        return rt_fail(RT_EUSAGE, "%s: \"%s\" is not a number", source, text);
    return check_range(flag, source, text, *out);
}

static bool is_word(const cli_flag *flag, const char *word, const char *text, size_t n) {
    return (flag->kind == CLI_NAME ? strncasecmp : strncmp)(word, text, n) == 0;
}

static rt_status check_choice(const cli_flag *flag, const char *source, const char *text) {
    const size_t length = strlen(text);
    for (const char *word = flag->choices; *word; word += *word == '|') {
        const size_t n = strcspn(word, "|");
        if (n == length && is_word(flag, word, text, n)) return RT_OK;
        word += n;
    }
    return rt_fail(RT_EUSAGE, "%s: \"%s\" is none of %s", source, text, flag->choices);
}

/* A switch's environment twin: "1" and "" switch it on, "0" off. */
static rt_status parse_switch(const char *source, const char *text, bool *out) {
    *out = strcmp(text, "0") != 0;
    if (!*out || strcmp(text, "1") == 0 || text[0] == '\0') return RT_OK;
    return rt_fail(RT_EUSAGE, "%s: \"%s\" is neither 0 nor 1", source, text);
}

/* What an empty variable of a shell leaves names no file, and is said before the work whose result it is to hold. */
static rt_status check_path(const cli_flag *flag, const char *source, const char *text) {
    static const char *const paths[] = {"DIR", "FILE", "FILE|DIR...", "A B", "PATH"};
    if (text[0] != '\0' || !flag->metavar) return RT_OK;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (strcmp(flag->metavar, paths[i]) == 0)
            return rt_fail(RT_EUSAGE, "%s: the name is empty", source);
    return RT_OK;
}

/* Of a list all items are meant, and one flag takes them. */
static rt_status given_twice(
        const cli_flag *flag, const char *source, const char *first, const char *second) {
    if (strcmp(flag->metavar, "LIST") != 0) return rt_fail(RT_EUSAGE, "%s is given twice", source);
    return rt_fail(RT_EUSAGE, "%s is given twice; a list has both: %s %s,%s", source, source, first,
            second);
}

static rt_status append_text(glm_cli *cli, const cli_flag *flag, const char *text) {
    int *n = field(cli, flag->count_offset);
    const char ***texts = field(cli, flag->offset);
    void *larger = realloc((void *)*texts, ((size_t)*n + 1) * sizeof **texts);
    if (!larger) return rt_fail(RT_ENOMEM, "cli: no memory for --%s", flag->name);
    *texts = larger;
    (*texts)[(*n)++] = text;
    return RT_OK;
}

rt_status cli_set_value(glm_cli *cli, const cli_flag *flag, const char *source, const char *text) {
    void *value = field(cli, flag->offset);
    int64_t number = 0;
    RT_TRY(check_path(flag, source, text));
    switch (flag->kind) {
    case CLI_SWITCH:
        return parse_switch(source, text, value);
    case CLI_CHOICE:
    case CLI_NAME:
        RT_TRY(check_choice(flag, source, text));
        *(const char **)value = text;
        return RT_OK;
    case CLI_INPUT:
        if (*(const char **)value) return given_twice(flag, source, *(const char **)value, text);
        *(const char **)value = text;
        return RT_OK;
    case CLI_TEXT:
        *(const char **)value = text;
        return RT_OK;
    case CLI_TEXTS:
    case CLI_PATHS:
        return append_text(cli, flag, text);
    case CLI_INT32:
        RT_TRY(parse_number(flag, source, text, &number));
        *(int32_t *)value = (int32_t)number;
        return RT_OK;
    case CLI_COUNT:
    case CLI_BYTES:
        return parse_number(flag, source, text, value);
    case CLI_REAL:
        return parse_real(flag, source, text, value);
    }
    return RT_OK;
}

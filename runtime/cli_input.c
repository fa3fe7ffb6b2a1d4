/* What commands read besides flags: texts, token files, lists of numbers. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "chat.h"
#include "cli_input.h"
#include "cli_progress.h"
#include "npy_ids.h"

/* ---- text ------------------------------------------------------------------------------------ */

/* What a shell puts in place of <(command), /dev/stdin and /dev/null have no size to ask for. */
static bool is_pipe(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode));
}

rt_status glm_cli_read_text(const char *path, char **text, int64_t *n_bytes) {
    *text = NULL;
    *n_bytes = 0;
    if (strcmp(path, "-") != 0 && is_pipe(path))
        return rt_file_read_pipe(path, RT_GIB, text, n_bytes);
    if (strcmp(path, "-") != 0) return rt_file_read_stoppable(path, RT_GIB, text, n_bytes);
    return rt_file_read_stream(STDIN_FILENO, "standard input", RT_GIB, text, n_bytes);
}

rt_status glm_cli_read_question(const char *who, char **text) {
    int64_t n_bytes = 0;
    RT_TRY(glm_cli_read_text("-", text, &n_bytes));
    char *end = *text + n_bytes;
    while (end > *text && (end[-1] == '\n' || end[-1] == '\r')) *--end = '\0';
    if (!memchr(*text, '\0', (size_t)(end - *text))) return RT_OK;
    free(*text);
    *text = NULL;
    return rt_fail(
            RT_EUSAGE, "%s: the question on standard input is no text: there is a NUL in it", who);
}

/* ---- token ids ------------------------------------------------------------------------------- */

static const char separators[] = " \t\r\n\v\f,";

static bool is_separator(char c) {
    return c != '\0' && strchr(separators, c) != NULL;
}

rt_status glm_cli_strip_brackets(const char *path, char *text) {
    char *open = text + strspn(text, separators);
    if (*open != '[') return RT_OK;
    char *close = strchr(open, ']');
    if (!close || close[1 + strspn(close + 1, separators)] != '\0')
        return rt_fail(
                RT_EUSAGE, "%s: the array that begins with \"[\" does not end the text", path);
    *open = ' ';
    *close = ' ';
    return RT_OK;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static rt_status bad_token(const char *path, int64_t line, const char *place, int64_t vocab) {
    const int n = (int)strcspn(place, " \t\r\n,");
    return rt_fail(RT_EUSAGE, "%s:%" PRId64 ": \"%.*s\" is not a token id from 0 to %" PRId64, path,
            line, n > 32 ? 32 : n, place, vocab - 1);
}

/* One decimal number at *place, which moves past it; false unless it is below `limit`. */
static bool read_id(const char **place, int64_t limit, int32_t *id) {
    int64_t value = 0;
    const char *digit = *place;
    for (; is_digit(*digit); digit++) {
        value = 10 * value + (*digit - '0');
        if (value >= limit) return false;
    }
    if (digit == *place || (*digit != '\0' && !is_separator(*digit))) return false;
    *id = (int32_t)value;
    *place = digit;
    return true;
}

static rt_status parse_tokens(
        const char *path, const char *text, int64_t n_bytes, int64_t vocab, glm_ids *out) {
    const char *end = text + n_bytes;
    int64_t line = 1;
    for (const char *place = text; place < end;) {
        if (is_separator(*place)) {
            line += *place++ == '\n';
            continue;
        }
        int32_t id = 0;
        if (!read_id(&place, vocab, &id)) return bad_token(path, line, place, vocab);
        RT_TRY(glm_ids_push(out, id));
    }
    return RT_OK;
}

/* Of numbers, or a JSON array. */
static rt_status parse_list(
        const char *path, char *text, int64_t n_bytes, int64_t vocab, glm_ids *out) {
    RT_TRY(glm_cli_strip_brackets(path, text));
    return parse_tokens(path, text, n_bytes, vocab, out);
}

rt_status glm_cli_read_tokens(const char *path, int64_t vocab, glm_ids *out) {
    char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(glm_cli_read_text(path, &text, &n_bytes));
    const rt_status status = glm_npy_is(text, n_bytes)
                                     ? glm_npy_read_ids(path, text, n_bytes, vocab, out)
                                     : parse_list(path, text, n_bytes, vocab, out);
    free(text);
    return status;
}

rt_status glm_cli_load_document(
        const glm_cli *cli, const char *const *sources, int n_sources, glm_document *out) {
    const glm_watch watch = glm_cli_watch(cli);
    const glm_document_limits limits = {.watch = &watch};
    return glm_document_load(sources, n_sources, &limits, out);
}

rt_status glm_cli_load_tokenizer(const glm_cli *cli, glm_tokenizer **out) {
    RT_TRY(glm_tokenizer_load(cli->engine.model_dir, out));
    const glm_watch watch = glm_cli_watch(cli);
    glm_tokenizer_watch(*out, &watch);
    return RT_OK;
}

static bool begins_with_specials(const glm_tokenizer *tokenizer, const glm_ids *ids) {
    const glm_special_ids specials = glm_tokenizer_specials(tokenizer);
    return ids->n >= 2 && ids->ids[0] == specials.gmask && ids->ids[1] == specials.sop;
}

void glm_cli_drop_specials(const glm_tokenizer *tokenizer, glm_ids *ids) {
    if (!begins_with_specials(tokenizer, ids)) return;
    ids->n -= 2;
    memmove(ids->ids, ids->ids + 2, (size_t)ids->n * sizeof *ids->ids);
}

rt_status glm_cli_put_in_front(glm_ids *front, glm_ids *ids) {
    const rt_status status = glm_ids_append(front, ids->ids, ids->n);
    glm_ids_free(status == RT_OK ? ids : front);
    if (status == RT_OK) *ids = *front;
    *front = (glm_ids){0};
    return status;
}

rt_status glm_cli_begin_ids(const glm_tokenizer *tokenizer, glm_ids *ids) {
    if (begins_with_specials(tokenizer, ids)) return RT_OK;
    glm_ids whole = {0};
    const rt_status status = glm_chat_begin(tokenizer, &whole);
    if (status == RT_OK) return glm_cli_put_in_front(&whole, ids);
    glm_ids_free(&whole);
    return status;
}

rt_status glm_cli_check_length(
        const glm_cli *cli, int64_t model_len, const char *what, int64_t n_tokens) {
    const int64_t asked = cli->engine.max_len;
    const bool is_asked = asked > 0 && asked < model_len;
    const int64_t limit = is_asked ? asked : model_len;
    if (n_tokens <= limit) return RT_OK;
    return rt_fail(RT_ENOFIT, "%s has %" PRId64 " tokens, %" PRId64 " more than %s, %" PRId64, what,
            n_tokens, n_tokens - limit, is_asked ? "--max-model-len" : "the model's length", limit);
}

/* ---- lists of numbers ------------------------------------------------------------------------ */

static int64_t count_commas(const char *text) {
    int64_t n = 0;
    for (; *text; text++) n += *text == ',';
    return n;
}

/* One item of a list into its place. */
typedef rt_status parse_item(const char *word, void *values, int64_t place);

static rt_status parse_number(const char *word, void *values, int64_t place) {
    return rt_parse_size(word, false, (int64_t *)values + place);
}

/* "50", "12.5", either with a % behind it. */
static rt_status parse_depth(const char *word, void *values, int64_t place) {
    enum { DECIMALS_MAX = 3 };
    const size_t n_whole = strspn(word, "0123456789");
    const size_t n_decimals = word[n_whole] == '.' ? strspn(word + n_whole + 1, "0123456789") : 0;
    const char *end = word + n_whole + (n_decimals > 0 ? 1 + n_decimals : 0);
    const double depth = strtod(word, NULL);
    const bool is_number =
            n_whole > 0 && n_decimals <= DECIMALS_MAX && (!*end || !strcmp(end, "%"));
    if (!is_number || depth > 100.0)
        return rt_fail(
                RT_EUSAGE, "\"%s\" is none in per cent, from 0 to 100, such as 50 or 12.5", word);
    ((double *)values)[place] = depth;
    return RT_OK;
}

/* The words of `copy`, which strsep cuts up. */
static rt_status parse_words(
        char *copy, const char *flag, parse_item *parse, void *values, int64_t *n_values) {
    char *rest = copy;
    for (const char *word = strsep(&rest, ","); word; word = strsep(&rest, ",")) {
        if (parse(word, values, *n_values) != RT_OK)
            return rt_fail(RT_EUSAGE, "%s, a list with commas: %s", flag, rt_error_text());
        (*n_values)++;
    }
    return RT_OK;
}

/* Into *values, which has room for as many as the list has commas and one more, and is for free(). */
static rt_status parse_into(
        const char *text, const char *flag, parse_item *parse, void *values, int64_t *n_values) {
    *n_values = 0;
    char *copy = strdup(text);
    if (!copy) return rt_fail(RT_ENOMEM, "cli: no memory for %s", flag);
    const rt_status status = parse_words(copy, flag, parse, values, n_values);
    free(copy);
    return status;
}

rt_status glm_cli_parse_list(
        const char *text, const char *flag, int64_t **values, int64_t *n_values) {
    *values = NULL;
    RT_TRY(rt_calloc(count_commas(text) + 1, sizeof **values, flag, values));
    const rt_status status = parse_into(text, flag, parse_number, *values, n_values);
    if (status == RT_OK) return RT_OK;
    free(*values);
    *values = NULL;
    return status;
}

rt_status glm_cli_parse_depths(const char *text, double **depths, int64_t *n_depths) {
    *depths = NULL;
    RT_TRY(rt_calloc(count_commas(text) + 1, sizeof **depths, "--depths", depths));
    const rt_status status = parse_into(text, "--depths", parse_depth, *depths, n_depths);
    if (status == RT_OK) return RT_OK;
    free(*depths);
    *depths = NULL;
    return status;
}

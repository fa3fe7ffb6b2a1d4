/* glm1m detokenize: ids -> text, byte for byte what tokenize was given. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli.h"
#include "cli_input.h"
#include "cli_show.h"
#include "npy_ids.h"
#include "text.h"
#include "tokenizer.h"

static const char separators[] = " \t\r\n\v\f,";

static rt_status parse_ids(const char *path, const char *text, glm_ids *ids) {
    for (const char *at = text + strspn(text, separators); *at != '\0';) {
        char *end = NULL;
        errno = 0;
        const long long id = strtoll(at, &end, 10);
        const bool is_number = *at >= '0' && *at <= '9' && errno == 0 && id <= INT32_MAX &&
                               (*end == '\0' || strchr(separators, *end));
        const size_t n_word = strcspn(at, separators);
        if (!is_number)
            return rt_fail(RT_EUSAGE, "%s: byte %td: \"%.*s\" is not a token id", path, at - text,
                    n_word < 16 ? (int)n_word : 16, at);
        RT_TRY(glm_ids_push(ids, (int32_t)id));
        at = end + strspn(end, separators);
    }
    return RT_OK;
}

static rt_status parse_list(const char *path, char *text, int64_t n_bytes, glm_ids *ids) {
    if ((int64_t)strlen(text) != n_bytes)
        return rt_fail(RT_EUSAGE, "%s: a NUL at byte %zu is not part of an id", path, strlen(text));
    RT_TRY(glm_cli_strip_brackets(path, text));
    return parse_ids(path, text, ids);
}

static rt_status read_ids(const char *path, glm_ids *ids) {
    char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(glm_cli_read_text(path, &text, &n_bytes));
    const rt_status status = glm_npy_is(text, n_bytes) ? glm_npy_read_ids(path, text, n_bytes,
                                                                 (int64_t)INT32_MAX + 1, ids)
                                                       : parse_list(path, text, n_bytes, ids);
    free(text);
    return status;
}

/* The tokens' bytes as they are, but on a terminal: also those that are not whole characters. A model may have rows for ids that the
 * tokenizer has no text for. */
static rt_status print_text(const glm_tokenizer *tokenizer, const glm_ids *ids) {
    glm_text text = {0};
    int64_t n_mute = 0;
    int64_t first_mute = 0;
    RT_TRY(glm_text_add(&text, "", 0));
    for (int64_t i = 0; i < ids->n; i++) {
        int64_t n_bytes;
        const char *bytes = glm_tokenizer_bytes(tokenizer, ids->ids[i], &n_bytes, NULL);
        RT_TRY(glm_text_add(&text, bytes, n_bytes));
        if (n_bytes == 0 && n_mute++ == 0) first_mute = i;
    }
    (void)glm_cli_show(stdout, text.bytes, text.n);
    free(text.bytes);
    if (n_mute > 0)
        rt_log(RT_LOG_WARN, "detokenize",
                "%" PRId64 " of %" PRId64 " ids have no text here, first %" PRId32
                ", number %" PRId64 "; the vocabulary ends at %" PRId64,
                n_mute, ids->n, ids->ids[first_mute], first_mute + 1,
                glm_tokenizer_size(tokenizer) - 1);
    return RT_OK;
}

static int run(glm_cli *cli) {
    glm_tokenizer *tokenizer = NULL;
    glm_ids ids = {0};
    rt_status status = glm_tokenizer_load(cli->engine.model_dir, &tokenizer);
    if (status == RT_OK) status = read_ids(cli->file ? cli->file : "-", &ids);
    if (status == RT_OK) status = print_text(tokenizer, &ids);
    glm_ids_free(&ids);
    glm_tokenizer_free(tokenizer);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_detokenize = {
        .name = "detokenize",
        .usage = "detokenize -m DIR [-f FILE]",
        .summary = "the text of token ids",
        .details =
                "Reads ids separated by white space or commas, a JSON array of them, or a .npy file,\n"
                "from FILE or standard input, and prints their text, control tokens included. Ids without\n"
                "text (padding rows of the vocabulary) print nothing. Needs only the tokenizer\n"
                "files of DIR.\n"
                "\n"
                "Examples:\n"
                "  echo 9703 11 1879 0 | glm1m detokenize -m glm-4-9b-chat-1m\n",
        .flags = "model file",
        .required = "model",
        .run = run,
};

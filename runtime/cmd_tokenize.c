/* glm1m tokenize: text -> ids. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chat.h"
#include "cli.h"
#include "cli_input.h"
#include "cli_signals.h"
#include "cli_sources.h"
#include "tokenizer.h"

static rt_status encode(const glm_cli *cli, const glm_tokenizer *tokenizer, glm_ids *ids) {
    char *text = NULL;
    int64_t n_bytes = 0;
    const char *path = cli->file ? cli->file : "-";
    RT_TRY(glm_cli_read_text(path, &text, &n_bytes));
    glm_cli_say_bytes(path, text, n_bytes);
    rt_status status = RT_OK;
    if (cli->add_special) status = glm_chat_begin(tokenizer, ids);
    if (status == RT_OK)
        status = glm_tokenizer_encode(tokenizer, text, n_bytes, cli->special_in_text, ids);
    free(text);
    return status;
}

/* "1 2 3" or "[1, 2, 3]". A signal ends it: a terminal is slower than the tokenizer. */
static rt_status print_ids(const glm_ids *ids, bool as_json) {
    if (as_json) (void)putchar('[');
    for (int64_t i = 0; i < ids->n; i++) {
        (void)printf("%s%" PRId32, i == 0 ? "" : as_json ? ", " : " ", ids->ids[i]);
        RT_TRY(glm_cli_check_interrupted());
    }
    (void)fputs(as_json ? "]\n" : "\n", stdout);
    return RT_OK;
}

static int run(glm_cli *cli) {
    glm_tokenizer *tokenizer = NULL;
    glm_ids ids = {0};
    rt_status status = glm_cli_load_tokenizer(cli, &tokenizer);
    if (status == RT_OK) status = encode(cli, tokenizer, &ids);
    if (status == RT_OK) status = print_ids(&ids, cli->json);
    glm_ids_free(&ids);
    glm_tokenizer_free(tokenizer);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_tokenize = {
        .name = "tokenize",
        .usage = "tokenize -m DIR [-f FILE] [--json] [--add-special] [--special-in-text]",
        .summary = "the token ids of a text",
        .details =
                "Reads FILE, or standard input, and prints the ids of the text alone, separated\n"
                "by spaces. Needs only the tokenizer files of DIR. Its bytes are taken as they are,\n"
                "those of a PDF or a text in UTF-16, too: that is warned of. Control tokens that\n"
                "the text spells out, such as <|user|>, stay plain text unless --special-in-text.\n"
                "\n"
                "Examples:\n"
                "  echo -n 'Hello, world!' | glm1m tokenize -m glm-4-9b-chat-1m\n"
                "  glm1m tokenize -m glm-4-9b-chat-1m -f book.txt --add-special --json\n",
        .flags = "model file json add-special special-in-text",
        .required = "model",
        .run = run,
};

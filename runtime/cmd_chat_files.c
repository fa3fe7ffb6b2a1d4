/* The files of a conversation: blocks of one text. */
#include "cmd_chat_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memstream.h"
#include "base/size.h"

void chat_files_forget(chat_files *files) {
    free(files->text);
    *files = (chat_files){0};
}

/* A path as a shell would take it: "~/" is the home directory. For free(). */
static rt_status expand_path(const char *typed, char **path) {
    const char *home = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe): nothing here sets one */
    if (home && strncmp(typed, "~/", 2) == 0) return rt_path_join(home, typed + 2, path);
    *path = strdup(typed);
    return *path ? RT_OK : rt_fail(RT_ENOMEM, "chat: no memory for a path");
}

/* "-" is a file of that name: standard input is the conversation. */
static rt_status load(const char *typed, glm_document *document) {
    char *path = NULL;
    if (typed[0] == '\0') return rt_fail(RT_EUSAGE, "/read needs a file's name");
    RT_TRY(expand_path(strcmp(typed, "-") == 0 ? "./-" : typed, &path));
    const rt_status status = glm_document_load((const char *const *)&path, 1, NULL, document);
    free(path);
    return status;
}

static rt_status add(chat_files *files, const char *path, const char *text, int64_t n_bytes) {
    const char *slash = strrchr(path, '/');
    char *all = NULL;
    size_t all_bytes = 0;
    FILE *memory = rt_memstream_open(&all, &all_bytes);
    if (!memory) return rt_fail(RT_ENOMEM, "chat: no memory for %s", path);
    (void)fwrite(files->text ? files->text : "", 1, files->n_bytes, memory);
    (void)fprintf(memory, "%s[File Name]\n%s\n[File Content]\n", files->n_files > 0 ? "\n\n" : "",
            slash ? slash + 1 : path);
    (void)fwrite(text, 1, (size_t)n_bytes, memory);
    if (!rt_memstream_close(memory, &all))
        return rt_fail(RT_ENOMEM, "chat: no memory for %s", path);
    free(files->text);
    files->text = all;
    files->n_bytes = all_bytes;
    files->n_files++;
    return RT_OK;
}

/* RT_ENOFIT beyond n_free: now, not when a question has been typed. */
static rt_status count_tokens(const glm_tokenizer *tokenizer, const char *name, const char *text,
        int64_t n_bytes, int64_t n_free, int64_t *n_tokens) {
    glm_ids ids = {0};
    const rt_status status = glm_tokenizer_encode(tokenizer, text, n_bytes, false, &ids);
    *n_tokens = ids.n;
    glm_ids_free(&ids);
    if (status != RT_OK || *n_tokens < n_free) return status;
    return rt_fail(RT_ENOFIT,
            "%s has %" PRId64 " tokens, and %" PRId64 " are free: it is not read; /reset forgets "
            "the conversation and its files, -c N makes room for more",
            name, *n_tokens, n_free);
}

rt_status chat_files_read(chat_files *files, const glm_cli *cli, const glm_tokenizer *tokenizer,
        const char *typed, int64_t n_free, int64_t *n_tokens) {
    glm_document document;
    RT_TRY(load(typed, &document));
    glm_cli_say_skipped(cli, &document);
    rt_status status =
            count_tokens(tokenizer, typed, document.text, document.n_bytes, n_free, n_tokens);
    if (status == RT_OK) status = add(files, typed, document.text, document.n_bytes);
    if (status == RT_OK) files->n_tokens += *n_tokens;
    glm_document_free(&document);
    return status;
}

rt_status chat_files_question(const chat_files *files, const char *question, int64_t n_bytes,
        char **whole, int64_t *whole_bytes) {
    size_t n_whole = 0;
    *whole = NULL;
    FILE *memory = rt_memstream_open(whole, &n_whole);
    if (!memory) return rt_fail(RT_ENOMEM, "chat: no memory for the question");
    if (files->n_files > 0) {
        (void)fwrite(files->text, 1, files->n_bytes, memory);
        (void)fprintf(memory, "\n\n\n%" PRId64 " files uploaded.\n", files->n_files);
    }
    (void)fwrite(question, 1, (size_t)n_bytes, memory);
    const bool is_whole = rt_memstream_close(memory, whole);
    *whole_bytes = (int64_t)n_whole;
    return is_whole ? RT_OK : rt_fail(RT_ENOMEM, "chat: no memory for the question");
}

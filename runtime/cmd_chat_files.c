/* The files of a conversation: blocks of one text. */
#include "cmd_chat_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memstream.h"
#include "cli_input.h"
#include "cli_sources.h"

void chat_files_forget(chat_files *files) {
    free(files->text);
    *files = (chat_files){0};
}

/* A path as a shell reads it, but that blanks need no quotes: out has room for n_bytes and a NUL. False where a quote has no
 * end. */
static bool unquote(const char *typed, size_t n_bytes, char *out) {
    char quote = '\0';
    for (size_t i = 0; i < n_bytes; i++) {
        const char c = typed[i];
        const bool escapes = c == '\\' && quote != '\'' && i + 1 < n_bytes;
        if (escapes)
            *out++ = typed[++i];
        else if (c == quote)
            quote = '\0';
        else if (!quote && (c == '"' || c == '\''))
            quote = c;
        else
            *out++ = c;
    }
    *out = '\0';
    return quote == '\0';
}

/* "~" and "~/" are the home directory, "-" a file of that name: standard input is the conversation. */
static rt_status expand(const char *name, char **path) {
    const char *home = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe): nothing here sets one */
    if (home && (strcmp(name, "~") == 0 || strncmp(name, "~/", 2) == 0))
        return rt_path_join(home, name[1] ? name + 2 : "", path);
    *path = strdup(strcmp(name, "-") == 0 ? "./-" : name);
    return *path ? RT_OK : rt_fail(RT_ENOMEM, "chat: no memory for a path");
}

static size_t without_blanks(const char *text) {
    size_t n_bytes = strlen(text);
    while (n_bytes > 0 && strchr(" \t", text[n_bytes - 1])) n_bytes--;
    return n_bytes;
}

/* What is there under the name as it was typed, quotes and all, is meant so. */
rt_status chat_files_path(const char *typed, char **path) {
    const size_t n_bytes = without_blanks(typed);
    if (n_bytes == 0) return rt_fail(RT_EUSAGE, "/read needs a file's name");
    if (access(typed, F_OK) == 0) return expand(typed, path);
    char *name = strndup(typed, n_bytes);
    char *plain = malloc(n_bytes + 1);
    rt_status status = rt_fail(RT_ENOMEM, "chat: no memory for a path");
    if (name && plain) {
        const bool is_meant_so = access(name, F_OK) == 0 || !unquote(typed, n_bytes, plain);
        status = expand(is_meant_so ? name : plain, path);
    }
    free(name);
    free(plain);
    return status;
}

/* Its last name, without the slashes behind a directory's. */
static const char *last_name(const char *path, int *n_bytes) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    *n_bytes = (int)(end - begin);
    return path + begin;
}

static rt_status add(chat_files *files, const char *path, const char *text, int64_t n_bytes) {
    int name_bytes = 0;
    const char *name = last_name(path, &name_bytes);
    char *all = NULL;
    size_t all_bytes = 0;
    FILE *memory = rt_memstream_open(&all, &all_bytes);
    if (!memory) return rt_fail(RT_ENOMEM, "chat: no memory for %s", path);
    (void)fwrite(files->text ? files->text : "", 1, files->n_bytes, memory);
    (void)fprintf(memory, "%s[File Name]\n%.*s\n[File Content]\n", files->n_files > 0 ? "\n\n" : "",
            name_bytes, name);
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
        const char *path, int64_t n_free, int64_t *n_tokens) {
    glm_document document;
    RT_TRY(glm_cli_load_document(cli, &path, 1, &document));
    glm_cli_say_skipped(cli, &document);
    rt_status status =
            count_tokens(tokenizer, path, document.text, document.n_bytes, n_free, n_tokens);
    if (status == RT_OK) status = add(files, path, document.text, document.n_bytes);
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

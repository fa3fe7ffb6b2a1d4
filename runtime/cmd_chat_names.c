#include "cmd_chat_names.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cmd_chat_files.h"
#include "text.h"
#include "utf8.h"

static const char *const commands[] = {"/read", "/result", "/keep", "/reset", "/help", "/quit"};
static const char read_command[] = "/read ";

/* What was found so far. */
typedef struct found {
    int64_t n;
    glm_text common; /* what all of them have behind the word */
} found;

static rt_status add(found *f, const char *rest) {
    glm_text *common = &f->common;
    if (f->n++ == 0) return glm_text_add(common, rest, (int64_t)strlen(rest));
    int64_t n = 0;
    while (n < common->n && common->bytes[n] == rest[n]) n++;
    while (n > 0 && ((uint8_t)common->bytes[n] & 0xc0) == 0x80) n--; /* whole characters */
    common->n = n;
    common->bytes[n] = '\0';
    return RT_OK;
}

/* Whether it can be shown and typed on one line. */
static bool is_plain(const char *name) {
    const int64_t n = (int64_t)strlen(name);
    uint32_t character = 0;
    for (int64_t at = 0; at < n;) {
        const int length = glm_utf8_decode(name + at, n - at, &character);
        if (length == 0 || character < 0x20 || (character >= 0x7f && character < 0xa0))
            return false;
        at += length;
    }
    return true;
}

/* Hidden names only where their dot was typed. */
static bool begins(const char *name, const char *word, size_t n_word) {
    return strncmp(name, word, n_word) == 0 && (name[0] != '.' || word[0] == '.') &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && is_plain(name);
}

static rt_status add_names(DIR *dir, const char *word, found *f) {
    const size_t n_word = strlen(word);
    for (;;) {
        const struct dirent *entry =
                readdir(dir); /* NOLINT(concurrency-mt-unsafe): our own stream */
        if (!entry) return RT_OK;
        if (begins(entry->d_name, word, n_word)) RT_TRY(add(f, entry->d_name + n_word));
    }
}

/* Behind the only one, which is whole. */
static rt_status end_name(const char *dir, const char *word, found *f) {
    struct stat info;
    char *path = NULL;
    glm_text name = {0};
    if (f->n != 1) return RT_OK;
    rt_status status = glm_text_add(&name, word, (int64_t)strlen(word));
    if (status == RT_OK) status = glm_text_add(&name, f->common.bytes, f->common.n);
    if (status == RT_OK) status = rt_path_join(dir, name.bytes, &path);
    if (status == RT_OK)
        status = glm_text_add(
                &f->common, stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? "/" : " ", 1);
    free(name.bytes);
    free(path);
    return status;
}

static rt_status look_into(const char *path, const char *word, found *f) {
    DIR *dir = opendir(path);
    if (!dir) return RT_OK;
    const rt_status status = add_names(dir, word, f);
    (void)closedir(dir);
    return status == RT_OK ? end_name(path, word, f) : status;
}

/* `typed` is all that stands behind /read: blanks belong to the name, as chat_files_path has it. */
static rt_status complete_path(char *typed, found *f) {
    char *slash = strrchr(typed, '/');
    char *path = NULL;
    if (!slash) return look_into(".", typed, f);
    *slash = '\0';
    RT_TRY(chat_files_path(slash == typed ? "/" : typed, &path));
    const rt_status status = look_into(path, slash + 1, f);
    free(path);
    return status;
}

static rt_status complete_command(const char *typed, found *f) {
    const size_t n_typed = strlen(typed);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strncmp(commands[i], typed, n_typed) == 0) RT_TRY(add(f, commands[i] + n_typed));
    return f->n == 1 ? glm_text_add(&f->common, " ", 1) : RT_OK;
}

static rt_status complete(char *typed, found *f) {
    const size_t n_command = sizeof read_command - 1;
    if (strncmp(typed, read_command, n_command) == 0) return complete_path(typed + n_command, f);
    return typed[0] == '/' && !strchr(typed, ' ') ? complete_command(typed, f) : RT_OK;
}

rt_status chat_names_complete(const char *line, int64_t n_bytes, char **rest) {
    found f = {0};
    char *typed = strndup(line, (size_t)n_bytes);
    *rest = NULL;
    rt_status status =
            typed ? complete(typed, &f) : rt_fail(RT_ENOMEM, "chat: no memory for a name");
    if (status == RT_OK) status = glm_text_add(&f.common, "", 0);
    free(typed);
    if (status == RT_OK)
        *rest = f.common.bytes;
    else
        free(f.common.bytes);
    return status;
}

/* Files read into a conversation: they go in front of the next question. */
#ifndef GLM_CMD_CHAT_FILES_H
#define GLM_CMD_CHAT_FILES_H

#include "cli.h"
#include "tokenizer.h"

typedef struct chat_files {
    char *text; /* owned; NULL: none */
    size_t n_bytes;
    int64_t n_files;
    int64_t n_tokens; /* about as many as the text is, without what stands around the files */
} chat_files;

/* The path that somebody typed: as a shell takes it, with "~", quotes and backslashes, but that blanks inside need none, and
 * those behind it do not count; for free(). RT_EUSAGE: no name; RT_ENOMEM */
RT_MUST_CHECK rt_status chat_files_path(const char *typed, char **path);

/* Read one more, or the files of a directory, as ask reads its sources. What is left out of a directory is said. n_tokens: how many it is; n_free: how many there is room for, with what has been read before.
 * On failure `files` is as before.
 *
 * RT_ENOFIT  too long; otherwise as glm_document_load; RT_ENOMEM */
RT_MUST_CHECK rt_status chat_files_read(chat_files *files, const glm_cli *cli,
        const glm_tokenizer *tokenizer, const char *path, int64_t n_free, int64_t *n_tokens);

/* The files, as GLM-4's own demonstration shows them, then the question; for free(). RT_ENOMEM. */
RT_MUST_CHECK rt_status chat_files_question(const chat_files *files, const char *question,
        int64_t n_bytes, char **whole, int64_t *whole_bytes);

/* Free the text, and be empty again. */
void chat_files_forget(chat_files *files);

#endif

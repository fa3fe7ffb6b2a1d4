/* The files a tokenizer is read from. Strict: what is not exactly understood is RT_EMODEL with the
 * file, the line or key, and the reason. Memory stays within a small multiple of the file's size,
 * whatever the file declares. */
#ifndef GLM_TOKENIZER_FILES_H
#define GLM_TOKENIZER_FILES_H

#include "base/status.h"
#include "tokenizer_vocab.h"

enum { GLM_SPECIALS_MAX = 1024, GLM_SPECIAL_BYTES_MAX = 256, GLM_SPECIAL_ID_MAX = (1 << 24) - 1 };

/* A token that no text spells: a control token of the conversation. */
typedef struct glm_special {
    int32_t id;
    int32_t n_bytes;
    char *text; /* n_bytes and a NUL; owned by the list */
} glm_special;

/* Each id and each text once. Zero-initialise; glm_specials_free when done. */
typedef struct glm_special_list {
    glm_special *items;
    int32_t n;
} glm_special_list;

void glm_specials_free(glm_special_list *list);

/* Append; `where` (a file and what in it) begins the message of a refusal. Saying the same twice
 * is fine.
 *
 * Errors: RT_EMODEL  id not in [n_tokens, GLM_SPECIAL_ID_MAX], an id with two texts or a text with
 *                    two ids, an empty or overlong text, too many */
RT_MUST_CHECK rt_status glm_specials_add(glm_special_list *list, const char *where,
        int32_t n_tokens, int64_t id, const char *text, int64_t n_bytes);

/* tokenizer.model: one token a line, standard base64, a space, its rank in decimal, LF. Ranks count
 * up from 0. `vocab` is created; the caller frees it, also after a failure. */
RT_MUST_CHECK rt_status glm_read_tokenizer_model(const char *path, glm_vocab *vocab);

/* tokenizer.json of a byte-level BPE tokenizer with GLM-4's pattern: model.vocab, ids as ranks, and
 * added_tokens. `vocab` may be NULL when the tokens are already known: then n_tokens says how many,
 * and only added_tokens are read. */
RT_MUST_CHECK rt_status glm_read_tokenizer_json(
        const char *path, glm_vocab *vocab, int32_t n_tokens, glm_special_list *specials);

/* tokenizer_config.json: added_tokens_decoder, if it is there. */
RT_MUST_CHECK rt_status glm_read_tokenizer_config(
        const char *path, int32_t n_tokens, glm_special_list *specials);

#endif

/* Text <-> token ids, exactly as the GLM-4 tokenizer does it.
 *
 * Read from DIR/tokenizer.model (tiktoken form) or DIR/tokenizer.json; special tokens from
 * DIR/tokenizer_config.json (or tokenizer.json). Linear time, flat stack, thread-safe after
 * loading. Special tokens in text stay plain text unless asked for. */
#ifndef GLM_TOKENIZER_H
#define GLM_TOKENIZER_H

#include <stddef.h>

#include "watch.h"

typedef struct glm_tokenizer glm_tokenizer;

/* A growing list of ids. Zero-initialise; glm_ids_free when done. */
typedef struct glm_ids {
    int32_t *ids;
    int64_t n;
    int64_t capacity;
} glm_ids;
void glm_ids_free(glm_ids *ids);
RT_MUST_CHECK rt_status glm_ids_push(glm_ids *ids, int32_t id);
RT_MUST_CHECK rt_status glm_ids_append(glm_ids *ids, const int32_t *more, int64_t n);

/* GLM-4's control tokens, found by their text; -1 where the tokenizer has none of that text. */
typedef struct glm_special_ids {
    int32_t endoftext;
    int32_t gmask;
    int32_t sop;
    int32_t system;
    int32_t user;
    int32_t assistant;
    int32_t observation;
} glm_special_ids;

/* What loading takes for each token of the vocabulary, at most: 96 bytes for each of GLM-4's 151,552. */
enum { GLM_TOKENIZER_TOKEN_BYTES = 104 };

/* Errors: RT_EIO; RT_EMODEL with the file, line and what is wrong. */
RT_MUST_CHECK rt_status glm_tokenizer_load(const char *dir, glm_tokenizer **out);
void glm_tokenizer_free(glm_tokenizer *tokenizer);

/* Ask and tell while a long text is encoded; where it is to stop, that call ends with RT_EINTERRUPTED. To be called before
 * the tokenizer is used; the watch is copied. */
void glm_tokenizer_watch(glm_tokenizer *tokenizer, const glm_watch *watch);
/* That watch; one that never says anything where there was none. */
const glm_watch *glm_tokenizer_watched_by(const glm_tokenizer *tokenizer);

/* Its control tokens. */
glm_special_ids glm_tokenizer_specials(const glm_tokenizer *tokenizer);

/* One more than the largest id, special tokens included. */
int64_t glm_tokenizer_size(const glm_tokenizer *tokenizer);

/* Append the ids of `text` (n_bytes of any bytes; invalid UTF-8 goes through byte by byte).
 * With `with_special`, special tokens spelled out in the text become their ids.
 *
 * Errors: RT_ENOMEM; RT_EINTERRUPTED  glm_tokenizer_watch. On failure `out` keeps what it had before. */
RT_MUST_CHECK rt_status glm_tokenizer_encode(const glm_tokenizer *tokenizer, const char *text,
        int64_t n_bytes, bool with_special, glm_ids *out);

/* The first ids of such a text, without special tokens: n_ids of them or a few more, or all. The text behind them is looked at
 * where it has a say in them, and no further. Errors: as above. */
RT_MUST_CHECK rt_status glm_tokenizer_encode_beginning(const glm_tokenizer *tokenizer,
        const char *text, int64_t n_bytes, int64_t n_ids, glm_ids *out);

/* The bytes of one id: borrowed, not NUL-terminated, n_bytes 0 for padding ids and ids outside.
 * Special tokens give their text; *is_special says so where not NULL. */
const char *glm_tokenizer_bytes(
        const glm_tokenizer *tokenizer, int32_t id, int64_t *n_bytes, bool *is_special);

/* The text of ids: concatenated bytes, specials left out unless `with_special`, invalid UTF-8
 * replaced by U+FFFD. A new NUL-terminated string for free(); *n_bytes excludes the NUL. */
RT_MUST_CHECK rt_status glm_tokenizer_decode(const glm_tokenizer *tokenizer, const int32_t *ids,
        int64_t n_ids, bool with_special, char **text, int64_t *n_bytes);

/* Streaming decode: holds back an incomplete UTF-8 tail (at most 3 bytes), so that what comes out
 * is always whole characters. */
typedef struct glm_utf8_stream {
    char held[4];
    int n_held;
} glm_utf8_stream;

/* Feed bytes; writes whole characters (invalid ones as U+FFFD) to `out`, which has room for
 * 3 x (n_bytes + 3) bytes, and returns how many. With is_last the held tail is flushed. */
int64_t glm_utf8_stream_feed(
        glm_utf8_stream *stream, const char *bytes, int64_t n_bytes, bool is_last, char *out);

#endif

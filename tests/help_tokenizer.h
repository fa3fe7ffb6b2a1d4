/* What the tokenizer's tests share: directories with tokenizer files, the published one where it is
 * found, tables of tokens made by chance, and ids compared. */
#ifndef HELP_TOKENIZER_H
#define HELP_TOKENIZER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "runtime/tokenizer.h"
#include "runtime/tokenizer_vocab.h"

enum { TOKH_SKIP = 77 };

/* GLM_TEST_FAST=1: the sanitizers' runs. */
bool tokh_is_fast(void);

/* A growing text; zero-initialise, free(text.bytes). Always NUL-terminated. */
typedef struct tokh_text {
    char *bytes;
    int64_t n;
} tokh_text;
void tokh_put(tokh_text *text, const void *bytes, int64_t n_bytes);
void tokh_printf(tokh_text *text, const char *format, ...) RT_PRINTF(2, 3);

/* Write dir/name; n_bytes -1: NUL-terminated. */
void tokh_write(const char *dir, const char *name, const char *bytes, int64_t n_bytes);
void tokh_remove(const char *dir, const char *name);

/* One line of tokenizer.model. */
void tokh_put_line(tokh_text *text, const char *token, int64_t n_bytes, int64_t rank);
/* The 256 single bytes, rank = byte value. */
void tokh_put_bytes(tokh_text *text);

/* GLM-4's fourteen special tokens from `first_id` on, as tokenizer_config.json. */
void tokh_write_config(const char *dir, int64_t first_id);

/* The table as dir/tokenizer.model; as dir/tokenizer.json, with every merge there is. */
void tokh_write_model(const char *dir, const glm_vocab *vocab);
void tokh_write_json(const char *dir, const glm_vocab *vocab);
/* What tokh_write_json writes, and its "pre_tokenizer". */
void tokh_put_json(tokh_text *json, const glm_vocab *vocab);
extern const char *const tokh_pre_tokenizer;

/* The 256 bytes in a random order, then n_more tokens, each two earlier ones joined: of the bytes in
 * `alphabet` where it is not NULL. The caller frees it. */
void tokh_random_vocab(uint64_t *random, int32_t n_more, const char *alphabet, glm_vocab *vocab);

/* The tokenizer of GLM_TEST_DATA/glm-4-9b-chat-1m; exits with TOKH_SKIP where it is not found. */
glm_tokenizer *tokh_load_published(void);
glm_tokenizer *tokh_load(const char *dir);

/* Whether the ids are those of `wanted`; prints both where not. */
bool tokh_same_ids(const char *what, const glm_ids *got, const int32_t *wanted, int64_t n_wanted);

/* Ids of a NUL-terminated text; the caller frees them. */
glm_ids tokh_encode(const glm_tokenizer *tokenizer, const char *text, bool with_special);

#endif

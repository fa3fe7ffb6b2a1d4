/* What records that commands print say of how they were made: the same members, by the same names, in all of them. */
#ifndef GLM_CMD_RECORD_H
#define GLM_CMD_RECORD_H

#include <jansson.h>

#include "runtime.h"
#include "tokenizer.h"

enum { RECORD_PROGRAM = 128 };

/* Which build on what, "glm1m 0.1.0 85a235516d5b, CPU with amx, 1 rank": by another one, on another kind of machine or among
 * more ranks sums may round otherwise. Writes into `text` and returns it. */
const char *record_program(const glm_engine *engine, char text[RECORD_PROGRAM]);

/* {program, model, model_fingerprint, kv_cache_dtype, linear}: `model` is the directory. NULL without memory. */
json_t *record_made(const glm_engine *engine, const char *model);

/* {temperature, top_p, top_k, min_p, seed}; null where the likeliest token is taken. */
json_t *record_sampling(const glm_sampling *sampling);

/* In hex; of ids as int32, little-endian. NULL without memory. */
json_t *record_sha256(const void *bytes, int64_t n_bytes);
json_t *record_sha256_of_ids(const glm_ids *ids);
/* Those of the command line, such as --stop. */
json_t *record_texts(const char *const *texts, int n_texts);

/* Move the members of `from`, which is released, behind those of `to`, unless it has them. Either may be NULL: without memory;
 * then NULL is returned and both are released. */
json_t *record_join(json_t *to, json_t *from);

#endif

/* What stored keys and values belong to: everything that decides their bytes, as text and SHA-256.
 *
 * Two sessions may share stored KV when their identities and their token ids are equal. In it are
 * the weights by content, the numbers of the architecture that K and V depend on, the tokenizer's
 * files, how positions enter, the types of the residual stream and of stored KV, and whether rows of
 * linear layers are rounded for oneDNN. Not in it: device, threads, span, chunk, ranks and budgets, which change K
 * and V by rounding only; names and directories of files; the sampling defaults; how long a context the model is
 * said to take.
 *
 * The weights are the set of the contents of the safetensors files: renaming them, or moving them
 * to another machine, keeps the identity; cutting the same tensors into other shards does not. */
#ifndef GLM_IDENTITY_H
#define GLM_IDENTITY_H

#include "checkpoint.h"
#include "sha256.h"

/* Raise it when stored K and V come to mean something else. */
enum { GLM_IDENTITY_FORMAT = 1, GLM_IDENTITY_TEXT = 1024 };

typedef struct glm_identity {
    uint8_t hash[GLM_SHA256_BYTES]; /* over every key and value below, each behind its length */
    char text[GLM_IDENTITY_TEXT];   /* "key=value\n", keys in one order; `linear` may be absent */
} glm_identity;

/* Which files on this machine hold the weights, as they are now: two processes of one machine for which
 * it is equal have the same bytes before them. Writes 64 hex characters and a NUL. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_identity_files(const glm_checkpoint *checkpoint, char hex[65]);

typedef struct glm_identity_job glm_identity_job;

/* Start one thread that reads and hashes the checkpoint's files, while the caller loads weights.
 * Files hashed before and unchanged since (hash_cache.h) cost a stat. The checkpoint may be closed
 * before the job ends.
 *
 *   kv_dtype  names how K and V are stored, parameters included; no '=' or line's end in it; copied
 *   linear    likewise, who multiplies; NULL: our kernels, of which the identity says nothing
 *
 * Errors: RT_ENOMEM */
RT_MUST_CHECK rt_status glm_identity_begin(const glm_checkpoint *checkpoint, const char *kv_dtype,
        const char *linear, glm_identity_job **out);

/* Wait for the thread. The same answer every time; one thread may wait.
 *
 * Errors: RT_EIO     a file cannot be read
 *         RT_EMODEL  a file is not what it was when the checkpoint was opened, or changes while it
 *                    is read
 *         RT_EINTERRUPTED  glm_identity_cancel() came first */
RT_MUST_CHECK rt_status glm_identity_wait(glm_identity_job *job, glm_identity *out);

/* Ask the thread to stop within a few MiB. Any thread may ask. */
void glm_identity_cancel(glm_identity_job *job);

/* Bytes of weights that were read so far; 0 at the end when all were known. Any thread may ask. */
int64_t glm_identity_bytes_read(const glm_identity_job *job);

/* Cancel, wait, free. Accepts NULL. */
void glm_identity_end(glm_identity_job *job);

#endif

/* SHA-256, as much of libcrypto as the runtime needs. */
#ifndef GLM_SHA256_H
#define GLM_SHA256_H

#include "watch.h"

enum { GLM_SHA256_BYTES = 32, GLM_SHA256_HEX = 2 * GLM_SHA256_BYTES + 1 };

/* A hash under way. glm_sha256_free() also after a failure; accepts NULL. RT_ENOMEM. */
typedef struct glm_sha256 glm_sha256;
RT_MUST_CHECK rt_status glm_sha256_create(glm_sha256 **out);
void glm_sha256_free(glm_sha256 *sha);

/* More bytes of what is hashed. */
RT_MUST_CHECK rt_status glm_sha256_add(glm_sha256 *sha, const void *bytes, int64_t n_bytes);

/* The bytes behind their number, 8 bytes little-endian: fields cannot run into one another. */
RT_MUST_CHECK rt_status glm_sha256_add_field(glm_sha256 *sha, const void *bytes, int64_t n_bytes);

/* The digest of all that was added; `sha` then begins anew. */
RT_MUST_CHECK rt_status glm_sha256_finish(glm_sha256 *sha, uint8_t digest[GLM_SHA256_BYTES]);

/* Of one piece of memory. */
RT_MUST_CHECK rt_status glm_sha256_of(
        const void *bytes, int64_t n_bytes, uint8_t digest[GLM_SHA256_BYTES]);

/* The same of a text that may be long. `watch` may be NULL. RT_EINTERRUPTED: it says so. */
RT_MUST_CHECK rt_status glm_sha256_of_text(const void *bytes, int64_t n_bytes,
        const glm_watch *watch, uint8_t digest[GLM_SHA256_BYTES]);

/* Lower-case hex and a NUL. Writes into `hex` and returns it. */
const char *glm_sha256_hex(const uint8_t digest[GLM_SHA256_BYTES], char hex[GLM_SHA256_HEX]);

#endif

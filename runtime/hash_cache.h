/* Contents of large files, remembered: a file that has not changed need not be read to be known.
 *
 * A file is known by device, inode, size, and the times of its last write and last change, to the
 * nanosecond. A time of last write can be set back; the other one cannot. */
#ifndef GLM_HASH_CACHE_H
#define GLM_HASH_CACHE_H

#include <sys/stat.h>

#include "sha256.h"

/* Whether the file with this stat has been hashed before, and then its SHA-256. A cache that cannot
 * be read, is damaged, or could have been written by somebody else holds nothing. */
bool glm_hash_cache_find(const struct stat *info, uint8_t hash[GLM_SHA256_BYTES]);

/* Remember the SHA-256 of the file with this stat. Failing to is no failure: it is logged and costs
 * the next program a read. Of programs that store at once, some may lose their entry. */
void glm_hash_cache_store(const struct stat *info, const uint8_t hash[GLM_SHA256_BYTES]);

/* Whether a write now would show in the file's times, which move in steps of a clock tick, up to
 * seconds on some file systems. Ask before hashing; a file younger than that is not to be stored. */
bool glm_hash_cache_is_settled(const struct stat *info);

#endif

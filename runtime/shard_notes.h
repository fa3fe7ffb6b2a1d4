/* Which rank's files a book is in: lines of its note, for people and for those who look for a part.
 *
 *     shard=2-3of4 rank=1 host=HOST dir=DIR      KV heads 2 and 3 of 4 */
#ifndef GLM_SHARD_NOTES_H
#define GLM_SHARD_NOTES_H

#include "engine.h"

/* All ranks: `note` with a line for each of them instead of those it has, for free(); NULL where each
 * holds every head and `note` is as it should be. The same on all ranks: RT_EPEER, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_shards_note(glm_engine *engine, const char *note, char **out);

/* Each rank, of a book's ids that rank 0 has read: where keys and values that this rank needs are in no
 * directory that it can read, an error that names them, the rank that wrote them, its host and its
 * directory. What is lost or damaged in a directory that can be read is no error: it is computed again.
 * `dir`: rank 0's, where a book without lines lies whole.
 *
 * Errors: RT_ECORRUPT; RT_ENOMEM, RT_EIO */
RT_MUST_CHECK rt_status glm_shards_require(
        glm_engine *engine, const int32_t *ids, int64_t n_ids, const char *note, const char *dir);

/* After an RT_ECORRUPT about a book: the same, and where by its note the heads are that were not found. */
RT_MUST_CHECK rt_status glm_shards_explain(const char *note);

#endif

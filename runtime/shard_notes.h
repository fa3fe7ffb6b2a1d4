/* Which rank's files a book is in: lines of its note, for people and for those who look for a part.
 *
 *     shard=2-3of4 rank=1 host=HOST dir=DIR      KV heads 2 and 3 of 4 */
#ifndef GLM_SHARD_NOTES_H
#define GLM_SHARD_NOTES_H

#include "engine.h"

/* All ranks: `note` with a line for each of them instead of those it has, for free(); NULL where each
 * holds every head and `note` is as it should be. RT_EPEER, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_shards_note(glm_engine *engine, const char *note, char **out);

/* After an RT_ECORRUPT about a book: the same, and where by its note the heads are that were not found. */
RT_MUST_CHECK rt_status glm_shards_explain(const char *note);

#endif

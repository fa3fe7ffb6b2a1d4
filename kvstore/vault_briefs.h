/* What is known of segments without opening them, and kept beside them so that a vault of many is opened without a look
 * into each: all of it follows from the segment's name, a hash, but its size. A file that has its name does not change; one
 * that was let go and is written again may have another, so whoever gives it its name first writes the file anew without how
 * large it was, and sizes are taken from that file as each scan finds it, or looked at. Private to kvstore.
 *
 *   DIR/vault/segments.known     of the segments in that DIR; text by kv_dirs_write_text: a header, then briefs
 *
 * Nothing hangs on it. One that is lost, or does not verify, is written again after a look into every segment; whoever
 * needs room removes it. */
#ifndef KV_VAULT_BRIEFS_H
#define KV_VAULT_BRIEFS_H

#include "chain.h"

enum { KV_BRIEF_IDS = 16, KV_SIZE_UNKNOWN = -1 };

typedef struct kv_brief {
    kv_hash chain, parent;
    uint64_t shard; /* kv_shard_number of the part of its name */
    int64_t first_pos;
    int64_t bytes; /* physical, as of the last scan, or KV_SIZE_UNKNOWN: scans look at it until it is settled */
    int32_t n_tokens;
    int32_t head_ids[KV_BRIEF_IDS]; /* the first ids, unverified: to look at likely ones first */
} kv_brief;

typedef struct kv_briefs {
    kv_brief *all; /* [n] */
    int64_t n, room;
    int64_t *buckets;  /* [n_buckets]: 1 + number, 0: empty */
    int64_t n_buckets; /* a power of 2, more than n */
    uint64_t checksum; /* of the text that they were parsed from, all of it; 0: none */
} kv_briefs;

/* ".2-3of4", or "" of all heads: 0. */
uint64_t kv_shard_number(const char *shard);
/* NULL: not known. Until the next put. */
const kv_brief *kv_briefs_find(const kv_briefs *briefs, const kv_hash *chain, uint64_t shard);
/* In place of what was known of that file. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_briefs_put(kv_briefs *briefs, const kv_brief *brief);
void kv_briefs_free(kv_briefs *briefs);

/* As the file has them, but for what no segment can be like. Text that is none of ours, or damaged, holds none, and leaves
 * the checksum 0. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_briefs_parse(kv_briefs *briefs, const char *text, int64_t n_bytes);
/* The checksum that text begins with; 0: it is none of ours. */
uint64_t kv_briefs_said_checksum(const char *text, int64_t n_bytes);
/* The way back, of some; free(). RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_briefs_format(
        const kv_brief *all, int64_t n, char **text, int64_t *n_bytes);

#endif

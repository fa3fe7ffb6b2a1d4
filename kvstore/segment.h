/* A segment file, opened and verified; runs excepted. Private to kvstore.
 *
 * Errors of both: RT_ECORRUPT      its bytes are not a segment of this name: quarantine it
 *                 RT_EUNSUPPORTED  not for us: another kind of file, a later version's
 *                 RT_EIO           cannot be read, or went away meanwhile; RT_ENOMEM */
#ifndef KV_SEGMENT_H
#define KV_SEGMENT_H

#include "segment_format.h"
#include "vault_dirs.h"

struct kv_segment {
    kv_dirs *dirs;
    char *path;
    kv_file *file;
    kv_segment_header header;
    kv_segment_footer footer;
    kv_run_place *places; /* [n_layers][n_kv_heads] */
    int32_t *ids;         /* [n_tokens] */
};
typedef struct kv_segment kv_segment;

enum { KV_HEAD_IDS = KV_BLOCK_BYTES / 4 };

/* What the index keeps of a segment. */
typedef struct kv_segment_brief {
    kv_segment_header header;
    bool is_complete;
    int32_t head_ids[KV_HEAD_IDS]; /* the first ids, as far as there are any; not verified */
} kv_segment_brief;

/* Header and footer only. */
RT_MUST_CHECK rt_status kv_segment_peek(
        kv_dirs *dirs, const char *path, const kv_hash *chain, kv_segment_brief *out);
/* The same of several regular files, side by side; is_seen[i] is false where that failed, to be looked into alone then,
 * which says why. */
enum { KV_PEEKS_AT_ONCE = 32 };
void kv_segments_peek(kv_dirs *dirs, const char *const *paths, const kv_hash *const *chains,
        int32_t n, kv_segment_brief *out, bool *is_seen);
/* All of it, under a shared lock. */
RT_MUST_CHECK rt_status kv_segment_open(
        kv_dirs *dirs, const char *path, const kv_hash *chain, kv_segment **out);
/* The same of a file that is open, and locked as the caller likes: the segment's from here on,
 * also on failure. */
RT_MUST_CHECK rt_status kv_segment_adopt(
        kv_dirs *dirs, const char *path, const kv_hash *chain, kv_file *file, kv_segment **out);

/* Whether its path still leads to this file: not where it was put aside, or replaced since. */
bool kv_segment_has_its_name(const kv_segment *segment);

#endif

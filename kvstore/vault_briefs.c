#include "vault_briefs.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "segment_format.h"

enum { MAGIC = 0x4b42564b, VERSION = 1, BUCKETS_MIN = 256 };

typedef struct known_header {
    uint64_t checksum; /* XXH3-64 of all that follows, briefs included */
    uint32_t magic;
    uint32_t version;
    int64_t n;
} known_header;

_Static_assert(sizeof(kv_brief) == 160 && sizeof(known_header) == 24, "a file is read by all");

uint64_t kv_shard_number(const char *shard) {
    return *shard ? XXH3_64bits(shard, strlen(shard)) : 0;
}

/* ---- the table ------------------------------------------------------------------------------- */

static bool is_of(const kv_brief *brief, const kv_hash *chain, uint64_t shard) {
    return brief->shard == shard && kv_hash_equal(&brief->chain, chain);
}

/* Where it is, or belongs. Hashes are uniformly distributed as they are. */
static int64_t *bucket_of(const kv_briefs *b, const kv_hash *chain, uint64_t shard) {
    uint64_t at;
    memcpy(&at, chain->bytes, sizeof at);
    for (at += shard;; at++) {
        int64_t *bucket = &b->buckets[at & (uint64_t)(b->n_buckets - 1)];
        if (*bucket == 0 || is_of(&b->all[*bucket - 1], chain, shard)) return bucket;
    }
}

static rt_status grow(kv_briefs *b) {
    int64_t *buckets = NULL;
    const int64_t n_buckets = rt_max64(BUCKETS_MIN, 2 * b->n_buckets);
    RT_TRY(rt_calloc(n_buckets, sizeof *buckets, "what is known of segments", &buckets));
    free(b->buckets);
    b->buckets = buckets;
    b->n_buckets = n_buckets;
    for (int64_t i = 0; i < b->n; i++) *bucket_of(b, &b->all[i].chain, b->all[i].shard) = i + 1;
    return RT_OK;
}

const kv_brief *kv_briefs_find(const kv_briefs *b, const kv_hash *chain, uint64_t shard) {
    const int64_t number = b->n_buckets ? *bucket_of(b, chain, shard) : 0;
    return number ? &b->all[number - 1] : NULL;
}

rt_status kv_briefs_put(kv_briefs *b, const kv_brief *brief) {
    if (2 * (b->n + 1) > b->n_buckets) RT_TRY(grow(b));
    int64_t *bucket = bucket_of(b, &brief->chain, brief->shard);
    if (*bucket == 0) {
        RT_TRY(rt_make_room(&b->all, sizeof *b->all, b->n, &b->room, "what is known of segments"));
        *bucket = ++b->n;
    }
    b->all[*bucket - 1] = *brief;
    return RT_OK;
}

void kv_briefs_free(kv_briefs *b) {
    free(b->all);
    free(b->buckets);
    *b = (kv_briefs){0};
}

/* ---- the file -------------------------------------------------------------------------------- */

static uint64_t checksum_of(const char *text, int64_t n_bytes) {
    const size_t n_skipped = sizeof(uint64_t);
    return XXH3_64bits(text + n_skipped, (size_t)n_bytes - n_skipped);
}

/* As a segment's header must be, and no larger than all sizes together can be counted. */
static bool is_possible(const kv_brief *brief) {
    return brief->n_tokens >= 1 && brief->n_tokens <= KV_SEGMENT_TOKENS && brief->first_pos >= 0 &&
           brief->first_pos % KV_SEGMENT_TOKENS == 0 &&
           brief->first_pos <= INT64_MAX - 2 * KV_SEGMENT_TOKENS &&
           brief->bytes >= KV_SIZE_UNKNOWN && brief->bytes < (int64_t)1 << 40;
}

/* Its header, if it is ours. */
static bool read_header(const char *text, int64_t n_bytes, known_header *h) {
    if (n_bytes < (int64_t)sizeof *h) return false;
    memcpy(h, text, sizeof *h);
    return h->magic == MAGIC && h->version == VERSION;
}

uint64_t kv_briefs_said_checksum(const char *text, int64_t n_bytes) {
    known_header h;
    return read_header(text, n_bytes, &h) ? h.checksum : 0;
}

rt_status kv_briefs_parse(kv_briefs *b, const char *text, int64_t n_bytes) {
    known_header h;
    if (!read_header(text, n_bytes, &h)) return RT_OK;
    const int64_t n_max = (n_bytes - (int64_t)sizeof h) / (int64_t)sizeof(kv_brief);
    if (h.n < 0 || h.n > n_max ||
            h.checksum != checksum_of(text, (int64_t)sizeof h + h.n * (int64_t)sizeof(kv_brief)))
        return RT_OK;
    for (int64_t i = 0; i < h.n; i++) {
        kv_brief brief;
        memcpy(&brief, text + sizeof h + (size_t)i * sizeof brief, sizeof brief);
        if (is_possible(&brief)) RT_TRY(kv_briefs_put(b, &brief));
    }
    b->checksum = h.checksum;
    return RT_OK;
}

rt_status kv_briefs_format(const kv_brief *all, int64_t n, char **text, int64_t *n_bytes) {
    known_header h = {.magic = MAGIC, .version = VERSION, .n = n};
    *n_bytes = (int64_t)sizeof h + n * (int64_t)sizeof(kv_brief);
    RT_TRY(rt_calloc(1, *n_bytes, "what is known of segments", text));
    if (n > 0) memcpy(*text + sizeof h, all, (size_t)n * sizeof *all);
    memcpy(*text, &h, sizeof h);
    h.checksum = checksum_of(*text, *n_bytes);
    memcpy(*text, &h, sizeof h);
    return RT_OK;
}

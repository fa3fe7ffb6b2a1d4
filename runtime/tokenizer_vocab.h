/* The table of ordinary tokens: id <-> bytes. The id is the rank: lower ids merge first.
 *
 * Ids are 0..n_tokens-1 without gaps. Built once, then read by any number of threads. Finding a
 * span of text costs about one cache line whatever its length:
 *
 *   1 byte       byte_ids
 *   2 bytes      pair_ids, by the two bytes
 *   3..8 bytes   a hash table, keyed by the bytes themselves
 *   9 and more   the same table, keyed by a hash; then the bytes are compared
 *
 * The hash of a span comes from the hashes of the text's prefixes, which a caller keeps:
 *
 *   hash(b[0..n)) = sum of (b[i]+1) * BASE^(n-1-i)  mod 2^64
 *   hash(b[i..j)) = prefix[j] - prefix[i] * BASE^(j-i) */
#ifndef GLM_TOKENIZER_VOCAB_H
#define GLM_TOKENIZER_VOCAB_H

#include "base/status.h"

enum {
    GLM_TOKENS_MAX = 1 << 20,
    GLM_TOKEN_BYTES_MAX = 4096, /* GLM-4's longest has 512 */
    GLM_KEY_BYTES = 8,
    GLM_NO_TOKEN = INT32_MAX /* above every rank */
};

#define GLM_HASH_BASE 0x9e3779b97f4a7c15u

typedef struct glm_vocab_slot {
    uint64_t key;    /* n_bytes <= 8: the bytes, the first one lowest; else their hash */
    int32_t n_bytes; /* 0: the slot is empty */
    int32_t id;
} glm_vocab_slot;

typedef struct glm_vocab {
    char *bytes;     /* every token's bytes, one after the other */
    int64_t *starts; /* [n_tokens + 1] into bytes */
    int32_t n_tokens;
    int32_t longest;       /* bytes of the longest token */
    int32_t byte_ids[256]; /* of the single bytes */
    int32_t *pair_ids;     /* [65536] of two bytes, by glm_vocab_pair */
    bool is_merges_only;   /* a piece that is a token is merged all the same, tokenizer_bpe.h */

    uint64_t *filter;      /* [2^20 / 64]; a clear bit: no token has this hash */
    glm_vocab_slot *slots; /* open addressing */
    int64_t slots_bytes;
    int slot_shift;   /* 64 - log2(number of slots) */
    uint64_t *powers; /* GLM_HASH_BASE^k for k = 0..GLM_TOKEN_BYTES_MAX */

    int64_t bytes_max;
    int32_t tokens_max;
} glm_vocab;

/* An empty table with room for tokens_max <= GLM_TOKENS_MAX tokens of bytes_max bytes together.
 * glm_vocab_free takes it back, also after a failure. */
RT_MUST_CHECK rt_status glm_vocab_create(int32_t tokens_max, int64_t bytes_max, glm_vocab *vocab);
void glm_vocab_free(glm_vocab *vocab);

/* Append the token whose id is vocab->n_tokens; 1 <= n_bytes <= GLM_TOKEN_BYTES_MAX. Returns the id
 * of an earlier token with these bytes, and appends nothing then; else GLM_NO_TOKEN. */
int32_t glm_vocab_add(glm_vocab *vocab, const char *bytes, int64_t n_bytes);

/* The first byte, 0..255, that is no token; -1 when all are. */
int glm_vocab_missing_byte(const glm_vocab *vocab);

/* The place of two bytes in pair_ids. */
static inline int32_t glm_vocab_pair(const char *bytes) {
    return (uint8_t)bytes[0] << 8 | (uint8_t)bytes[1];
}

/* The id of these bytes, n_bytes >= 1; GLM_NO_TOKEN when they are none. */
int32_t glm_vocab_find(const glm_vocab *vocab, const char *bytes, int64_t n_bytes);

static inline uint64_t glm_hash_byte(uint64_t hash, char byte) {
    return hash * GLM_HASH_BASE + (uint8_t)byte + 1;
}

/* The same for the span text[start..end) of 3 bytes or more, when prefixes[i] is the hash of
 * text[0..i) and GLM_KEY_BYTES bytes may be read from any place in the text. */
int32_t glm_vocab_find_span(const glm_vocab *vocab, const char *text, const uint64_t *prefixes,
        int64_t start, int64_t end);

#endif

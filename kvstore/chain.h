/* Identity: a fingerprint of everything that K and V depend on, and a chain of hashes over it and all
 * token ids so far. Private to kvstore.
 *
 *   root    = SHA-256("glm1m chain root 1", fingerprint)
 *   next(c) = SHA-256("glm1m chain next 1", c, u32 n_tokens, u32 ids[n_tokens]), little-endian */
#ifndef KV_CHAIN_H
#define KV_CHAIN_H

#include "runtime/base/status.h"

enum { KV_HASH_BYTES = 32, KV_HEX_BYTES = 2 * KV_HASH_BYTES + 1 };

typedef struct kv_hash {
    uint8_t bytes[KV_HASH_BYTES];
} kv_hash;

bool kv_hash_equal(const kv_hash *a, const kv_hash *b);
/* 64 lower-case hex digits and a NUL; returns `text`. */
const char *kv_hash_hex(const kv_hash *hash, char text[KV_HEX_BYTES]);
/* The first 64 characters of `text`, lower-case digits only. */
bool kv_hash_parse(const char *text, kv_hash *out);

/* RT_ENOMEM: the hash has no room to work. */
RT_MUST_CHECK rt_status kv_chain_root(const kv_hash *fingerprint, kv_hash *out);
RT_MUST_CHECK rt_status kv_chain_next(
        const kv_hash *parent, const int32_t *ids, int32_t n_tokens, kv_hash *out);

/* How two fingerprint texts ("key=value" lines) differ, for people: "kv=bf16, this run has
 * kv=int8; ...". Writes at most `room` bytes, NUL included, and returns `out`. */
const char *kv_fingerprint_difference(const char *there, const char *here, char *out, int64_t room);

#endif

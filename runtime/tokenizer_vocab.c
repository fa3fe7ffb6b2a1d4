#include "tokenizer_vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* At most half full, so that a search that finds nothing ends after a probe or two. */
static int log2_slots(int32_t tokens_max) {
    int log2 = 10;
    while (((int64_t)1 << log2) < 2 * (int64_t)tokens_max) log2++;
    return log2;
}

rt_status glm_vocab_create(int32_t tokens_max, int64_t bytes_max, glm_vocab *vocab) {
    rt_assert(tokens_max <= GLM_TOKENS_MAX);
    const int log2 = log2_slots(tokens_max);
    memset(vocab, 0, sizeof *vocab);
    vocab->bytes_max = bytes_max;
    vocab->tokens_max = tokens_max;
    vocab->slot_shift = 64 - log2;
    RT_TRY(rt_calloc(bytes_max + 1, 1, "the tokens' bytes", &vocab->bytes));
    RT_TRY(rt_calloc((int64_t)tokens_max + 1, sizeof *vocab->starts, "tokens", &vocab->starts));
    RT_TRY(rt_calloc((int64_t)1 << log2, sizeof *vocab->slots, "the token table", &vocab->slots));
    RT_TRY(rt_calloc(
            GLM_TOKEN_BYTES_MAX + 1, sizeof *vocab->powers, "hash powers", &vocab->powers));
    vocab->powers[0] = 1;
    for (int k = 1; k <= GLM_TOKEN_BYTES_MAX; k++)
        vocab->powers[k] = vocab->powers[k - 1] * GLM_HASH_BASE;
    return RT_OK;
}

void glm_vocab_free(glm_vocab *vocab) {
    free(vocab->bytes);
    free(vocab->starts);
    free(vocab->slots);
    free(vocab->powers);
    memset(vocab, 0, sizeof *vocab);
}

static uint64_t hash_bytes(const char *bytes, int64_t n_bytes) {
    uint64_t hash = 0;
    for (int64_t i = 0; i < n_bytes; i++) hash = glm_hash_byte(hash, bytes[i]);
    return hash;
}

/* The low bits of a polynomial hash are weak: they depend on the low bits of the bytes alone. */
static uint64_t mix(uint64_t hash) {
    return (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
}

static bool is_token(const glm_vocab *vocab, int32_t id, const char *bytes, int64_t n_bytes) {
    const int64_t start = vocab->starts[id];
    return vocab->starts[id + 1] - start == n_bytes &&
           memcmp(vocab->bytes + start, bytes, (size_t)n_bytes) == 0;
}

/* The slot that holds these bytes, or the empty one where they belong. */
static uint64_t *find_slot(
        const glm_vocab *vocab, const char *bytes, int64_t n_bytes, uint64_t mixed) {
    const uint64_t mask = UINT64_MAX >> vocab->slot_shift;
    for (uint64_t i = mixed >> vocab->slot_shift;; i = (i + 1) & mask) {
        uint64_t *slot = &vocab->slots[i];
        if (*slot == 0) return slot;
        const bool is_candidate = (uint32_t)(*slot >> 32) == (uint32_t)mixed;
        if (is_candidate && is_token(vocab, (int32_t)(uint32_t)*slot - 1, bytes, n_bytes))
            return slot;
    }
}

static int32_t slot_id(uint64_t slot) {
    return slot == 0 ? GLM_NO_TOKEN : (int32_t)(uint32_t)slot - 1;
}

int32_t glm_vocab_add(glm_vocab *vocab, const char *bytes, int64_t n_bytes) {
    const int64_t start = vocab->starts[vocab->n_tokens];
    rt_assert(n_bytes >= 1 && n_bytes <= GLM_TOKEN_BYTES_MAX);
    rt_assert(vocab->n_tokens < vocab->tokens_max && n_bytes <= vocab->bytes_max - start);

    const uint64_t mixed = mix(hash_bytes(bytes, n_bytes));
    uint64_t *slot = find_slot(vocab, bytes, n_bytes, mixed);
    if (*slot != 0) return slot_id(*slot);

    memcpy(vocab->bytes + start, bytes, (size_t)n_bytes);
    *slot = mixed << 32 | (uint32_t)++vocab->n_tokens;
    vocab->starts[vocab->n_tokens] = start + n_bytes;
    if (n_bytes > vocab->longest) vocab->longest = (int32_t)n_bytes;
    return GLM_NO_TOKEN;
}

int glm_vocab_find_bytes(glm_vocab *vocab) {
    for (int byte = 0; byte < 256; byte++) {
        const char text = (char)byte;
        vocab->byte_ids[byte] = glm_vocab_find(vocab, &text, 1);
        if (vocab->byte_ids[byte] == GLM_NO_TOKEN) return byte;
    }
    return -1;
}

int32_t glm_vocab_find(const glm_vocab *vocab, const char *bytes, int64_t n_bytes) {
    if (n_bytes > vocab->longest) return GLM_NO_TOKEN;
    return glm_vocab_find_hashed(vocab, bytes, n_bytes, hash_bytes(bytes, n_bytes));
}

int32_t glm_vocab_find_hashed(
        const glm_vocab *vocab, const char *bytes, int64_t n_bytes, uint64_t hash) {
    return slot_id(*find_slot(vocab, bytes, n_bytes, mix(hash)));
}

#include "tokenizer_vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { PAIRS = 1 << 16, FILTER_LOG2 = 20 };

/* At most half full, so that a search that finds nothing ends after a probe or two. */
static int log2_slots(int32_t tokens_max) {
    int log2 = 10;
    while (((int64_t)1 << log2) < 2 * (int64_t)tokens_max) log2++;
    return log2;
}

static void fill_tables(glm_vocab *vocab) {
    for (int i = 0; i < 256; i++) vocab->byte_ids[i] = GLM_NO_TOKEN;
    for (int i = 0; i < PAIRS; i++) vocab->pair_ids[i] = GLM_NO_TOKEN;
    vocab->powers[0] = 1;
    for (int k = 1; k <= GLM_TOKEN_BYTES_MAX; k++)
        vocab->powers[k] = vocab->powers[k - 1] * GLM_HASH_BASE;
}

rt_status glm_vocab_create(int32_t tokens_max, int64_t bytes_max, glm_vocab *vocab) {
    rt_assert(tokens_max <= GLM_TOKENS_MAX);
    const int log2 = log2_slots(tokens_max);
    memset(vocab, 0, sizeof *vocab);
    vocab->bytes_max = bytes_max;
    vocab->tokens_max = tokens_max;
    vocab->slot_shift = 64 - log2;
    vocab->slots_bytes = (int64_t)sizeof *vocab->slots << log2;
    RT_TRY(rt_calloc(bytes_max + 1, 1, "the tokens' bytes", &vocab->bytes));
    RT_TRY(rt_calloc((int64_t)tokens_max + 1, sizeof *vocab->starts, "tokens", &vocab->starts));
    RT_TRY(rt_calloc(PAIRS, sizeof *vocab->pair_ids, "token pairs", &vocab->pair_ids));
    RT_TRY(rt_calloc(
            GLM_TOKEN_BYTES_MAX + 1, sizeof *vocab->powers, "hash powers", &vocab->powers));
    RT_TRY(rt_calloc((int64_t)1 << (FILTER_LOG2 - 6), sizeof *vocab->filter, "the token filter",
            &vocab->filter));
    void *slots = NULL;
    RT_TRY(rt_mem_alloc(vocab->slots_bytes, "the token table", &slots));
    vocab->slots = slots;
    fill_tables(vocab);
    return RT_OK;
}

void glm_vocab_free(glm_vocab *vocab) {
    free(vocab->bytes);
    free(vocab->starts);
    free(vocab->pair_ids);
    free(vocab->powers);
    free(vocab->filter);
    rt_mem_free(vocab->slots, vocab->slots_bytes);
    memset(vocab, 0, sizeof *vocab);
}

/* ---- searching ------------------------------------------------------------------------------- */

static uint64_t load32(const char *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* 3..8 bytes, none beyond them read: the two loads overlap and agree where they do. */
static uint64_t short_key(const char *bytes, int64_t n_bytes) {
    if (n_bytes == 3)
        return (uint64_t)(uint8_t)bytes[0] | (uint64_t)(uint8_t)bytes[1] << 8 |
               (uint64_t)(uint8_t)bytes[2] << 16;
    return load32(bytes) | load32(bytes + n_bytes - 4) << (8 * (n_bytes - 4));
}

static uint64_t hash_bytes(const char *bytes, int64_t n_bytes) {
    uint64_t hash = 0;
    for (int64_t i = 0; i < n_bytes; i++) hash = glm_hash_byte(hash, bytes[i]);
    return hash;
}

static uint64_t key_of(const char *bytes, int64_t n_bytes) {
    return n_bytes <= GLM_KEY_BYTES ? short_key(bytes, n_bytes) : hash_bytes(bytes, n_bytes);
}

/* The key's bits stirred; the high ones are the good ones. */
static uint64_t stir(uint64_t key, int64_t n_bytes) {
    const uint64_t stirred = (key + (uint64_t)n_bytes) * 0xd6e8feb86659fd93u;
    return (stirred ^ stirred >> 32) * GLM_HASH_BASE;
}

static bool has_bytes(const glm_vocab *vocab, int32_t id, const char *bytes, int64_t n_bytes) {
    return memcmp(vocab->bytes + vocab->starts[id], bytes, (size_t)n_bytes) == 0;
}

/* The slot that holds these bytes, n_bytes >= 3, or the empty one where they belong. */
static inline glm_vocab_slot *find_slot(const glm_vocab *vocab, const char *bytes, int64_t n_bytes,
        uint64_t key, uint64_t stirred) {
    const uint64_t mask = UINT64_MAX >> vocab->slot_shift;
    for (uint64_t i = stirred >> vocab->slot_shift;; i = (i + 1) & mask) {
        glm_vocab_slot *slot = &vocab->slots[i];
        if (slot->n_bytes == 0) return slot;
        if (slot->key != key || slot->n_bytes != n_bytes) continue;
        if (n_bytes <= GLM_KEY_BYTES || has_bytes(vocab, slot->id, bytes, n_bytes)) return slot;
    }
}

/* One bit of the filter for every token that has a slot. Most spans asked for are no tokens, and
 * the filter, small enough for the second cache level, says so of nine in ten. */
static inline uint64_t *filter_word(const glm_vocab *vocab, uint64_t stirred) {
    return &vocab->filter[stirred >> (64 - FILTER_LOG2) >> 6];
}

static inline uint64_t filter_bit(uint64_t stirred) {
    return (uint64_t)1 << (stirred >> (64 - FILTER_LOG2) & 63);
}

static inline int32_t find_keyed(
        const glm_vocab *vocab, const char *bytes, int64_t n_bytes, uint64_t key) {
    const uint64_t stirred = stir(key, n_bytes);
    if (!(*filter_word(vocab, stirred) & filter_bit(stirred))) return GLM_NO_TOKEN;
    const glm_vocab_slot *slot = find_slot(vocab, bytes, n_bytes, key, stirred);
    return slot->n_bytes == 0 ? GLM_NO_TOKEN : slot->id;
}

int32_t glm_vocab_find(const glm_vocab *vocab, const char *bytes, int64_t n_bytes) {
    if (n_bytes == 1) return vocab->byte_ids[(uint8_t)bytes[0]];
    if (n_bytes == 2) return vocab->pair_ids[glm_vocab_pair(bytes)];
    if (n_bytes > vocab->longest) return GLM_NO_TOKEN;
    return find_keyed(vocab, bytes, n_bytes, key_of(bytes, n_bytes));
}

/* Both kinds of key are at hand at once: choosing needs no branch. */
int32_t glm_vocab_find_span(const glm_vocab *vocab, const char *text, const uint64_t *prefixes,
        int64_t start, int64_t end) {
    const int64_t n_bytes = end - start;
    if (n_bytes > vocab->longest) return GLM_NO_TOKEN;
    uint64_t word;
    memcpy(&word, text + start, sizeof word);
    const int64_t n_unused = n_bytes < GLM_KEY_BYTES ? GLM_KEY_BYTES - n_bytes : 0;
    const uint64_t bytes_key = word & UINT64_MAX >> (8 * n_unused);
    const uint64_t hash_key = prefixes[end] - prefixes[start] * vocab->powers[n_bytes];
    return find_keyed(
            vocab, text + start, n_bytes, n_bytes <= GLM_KEY_BYTES ? bytes_key : hash_key);
}

int glm_vocab_missing_byte(const glm_vocab *vocab) {
    for (int byte = 0; byte < 256; byte++)
        if (vocab->byte_ids[byte] == GLM_NO_TOKEN) return byte;
    return -1;
}

/* ---- building -------------------------------------------------------------------------------- */

static void add_slot(glm_vocab *vocab, int32_t id, const char *bytes, int64_t n_bytes) {
    const uint64_t key = key_of(bytes, n_bytes);
    const uint64_t stirred = stir(key, n_bytes);
    *find_slot(vocab, bytes, n_bytes, key, stirred) = (glm_vocab_slot){key, (int32_t)n_bytes, id};
    *filter_word(vocab, stirred) |= filter_bit(stirred);
}

static void index_token(glm_vocab *vocab, int32_t id, const char *bytes, int64_t n_bytes) {
    if (n_bytes == 1)
        vocab->byte_ids[(uint8_t)bytes[0]] = id;
    else if (n_bytes == 2)
        vocab->pair_ids[glm_vocab_pair(bytes)] = id;
    else
        add_slot(vocab, id, bytes, n_bytes);
}

int32_t glm_vocab_add(glm_vocab *vocab, const char *bytes, int64_t n_bytes) {
    const int32_t id = vocab->n_tokens;
    const int64_t start = vocab->starts[id];
    rt_assert(n_bytes >= 1 && n_bytes <= GLM_TOKEN_BYTES_MAX);
    rt_assert(id < vocab->tokens_max && n_bytes <= vocab->bytes_max - start);

    const int32_t earlier = glm_vocab_find(vocab, bytes, n_bytes);
    if (earlier != GLM_NO_TOKEN) return earlier;

    index_token(vocab, id, bytes, n_bytes);
    memcpy(vocab->bytes + start, bytes, (size_t)n_bytes);
    vocab->starts[id + 1] = start + n_bytes;
    vocab->n_tokens = id + 1;
    if (n_bytes > vocab->longest) vocab->longest = (int32_t)n_bytes;
    return GLM_NO_TOKEN;
}

/* Merging in linear time and a fixed amount of memory.
 *
 * Inside a window. Each position that begins a token has a leaf: the rank of that token joined with
 * the next. A tournament tree over the leaves (node k is the first of 2k and 2k+1, the root is 1)
 * has the next merge, the leftmost of lowest rank, at its root; a merge changes three leaves. n log n for n bytes,
 * with n at most a few thousand, all in the first cache levels.
 *
 * Over windows. A piece longer than a window (a clause of Chinese is short, a novel without
 * punctuation is not) is merged window by window. Let A be the tokens of one window, cut after
 * A[k-1], and B those of the window that begins where A[k] does. If B[0] is A[k], then A[0..k)
 * followed by B is what merging the whole would give:
 *
 *   1. No merge crosses the edge between two final tokens, and a merge only asks for ranks of
 *      neighbours: between two edges everything happens as if the rest of the text were not there.
 *      So A[0..k) is what its bytes merge to alone, and so is any stretch of A or of B.
 *   2. Next to the cut there are, at any time, a tail of A[k-1] and a head of B[0]. Which of the two
 *      sides moves next, and whether the pair across the cut is tried first, depends on these two
 *      alone; and by 1 they go through the same states as inside the first window, where A[k-1] and
 *      A[k] = B[0] were neighbours and nothing crossed.
 *
 * This holds for any table of ranks. Where B[0] differs (not seen but on tables made for it), the
 * whole piece is merged at once, in n log n and with memory for all of it. */
#include "tokenizer_bpe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"

enum { WINDOW_BYTES_MIN = 1024 };

/* ---- room ------------------------------------------------------------------------------------ */

static rt_status scratch_allocate(glm_bpe_scratch *scratch, int64_t capacity) {
    memset(scratch, 0, sizeof *scratch);
    scratch->capacity = capacity;
    RT_TRY(rt_calloc(2 * capacity, sizeof *scratch->tree, "merge ranks", &scratch->tree));
    RT_TRY(rt_calloc(capacity + GLM_KEY_BYTES, 1, "merge text", &scratch->text));
    RT_TRY(rt_calloc(capacity, sizeof *scratch->ends, "merge ends", &scratch->ends));
    RT_TRY(rt_calloc(capacity, sizeof *scratch->befores, "merge links", &scratch->befores));
    RT_TRY(rt_calloc(capacity, sizeof *scratch->ids, "merge ids", &scratch->ids));
    return rt_calloc(capacity + 1, sizeof *scratch->hashes, "merge hashes", &scratch->hashes);
}

static int64_t power_of_two(int64_t at_least) {
    int64_t power = 1;
    while (power < at_least) power *= 2;
    return power;
}

/* Four of the longest token: a window always yields tokens before its last quarter. */
rt_status glm_bpe_scratch_create(const glm_vocab *vocab, glm_bpe_scratch *scratch) {
    return scratch_allocate(
            scratch, power_of_two(rt_max64(WINDOW_BYTES_MIN, 4 * (int64_t)vocab->longest)));
}

void glm_bpe_scratch_free(glm_bpe_scratch *scratch) {
    free(scratch->tree);
    free(scratch->text);
    free(scratch->ends);
    free(scratch->befores);
    free(scratch->ids);
    free(scratch->hashes);
    memset(scratch, 0, sizeof *scratch);
}

/* ---- one window ------------------------------------------------------------------------------ */

typedef struct bpe_window {
    const glm_vocab *vocab;
    glm_bpe_scratch *scratch;
    int32_t n_bytes;
    int32_t n_leaves; /* a power of two >= n_bytes */
} bpe_window;

static int32_t span_rank(const bpe_window *window, int32_t start, int32_t end) {
    const glm_bpe_scratch *scratch = window->scratch;
    return glm_vocab_find_span(window->vocab, scratch->text, scratch->hashes, start, end);
}

static int64_t first_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* What a leaf holds: the lower rank comes first, and of equal ones the leftmost. */
static int64_t candidate(int32_t rank, int32_t place) {
    return (int64_t)rank << 32 | place;
}

/* All the way up, also where nothing changes: a branch would be a guess, the walk is not. */
static void set_leaf(const bpe_window *window, int32_t place, int32_t rank) {
    int64_t *tree = window->scratch->tree;
    int64_t first = candidate(rank, place);
    int32_t node = window->n_leaves + place;
    tree[node] = first;
    for (; node > 1; node /= 2) {
        first = first_of(first, tree[node ^ 1]);
        tree[node / 2] = first;
    }
}

/* Every byte a token. */
static void begin_tokens(const bpe_window *window) {
    glm_bpe_scratch *scratch = window->scratch;
    scratch->hashes[0] = 0;
    for (int32_t i = 0; i < window->n_bytes; i++) {
        scratch->hashes[i + 1] = glm_hash_byte(scratch->hashes[i], scratch->text[i]);
        scratch->ids[i] = window->vocab->byte_ids[(uint8_t)scratch->text[i]];
        scratch->ends[i] = i + 1;
        scratch->befores[i] = i - 1;
    }
}

/* Every pair's rank in its leaf, the tree above; the last byte has no pair. */
static void begin_tree(const bpe_window *window) {
    const glm_bpe_scratch *scratch = window->scratch;
    int64_t *leaves = scratch->tree + window->n_leaves;
    for (int32_t i = 0; i < window->n_leaves; i++) leaves[i] = candidate(GLM_NO_TOKEN, i);
    for (int32_t i = 0; i + 1 < window->n_bytes; i++)
        leaves[i] = candidate(window->vocab->pair_ids[glm_vocab_pair(scratch->text + i)], i);
    for (int32_t node = window->n_leaves - 1; node > 0; node--)
        scratch->tree[node] = first_of(scratch->tree[2 * node], scratch->tree[2 * node + 1]);
}

/* The token at `left` takes in the one after it and is now token `id`. */
static void merge_at(const bpe_window *window, int32_t left, int32_t id) {
    glm_bpe_scratch *scratch = window->scratch;
    const int32_t right = scratch->ends[left];
    const int32_t end = scratch->ends[right];
    const bool is_last = end == window->n_bytes;
    scratch->ids[left] = id;
    scratch->ends[left] = end;
    if (!is_last) scratch->befores[end] = left;

    set_leaf(window, right, GLM_NO_TOKEN);
    set_leaf(window, left, is_last ? GLM_NO_TOKEN : span_rank(window, left, scratch->ends[end]));
    const int32_t before = scratch->befores[left];
    if (before >= 0) set_leaf(window, before, span_rank(window, before, end));
}

/* Afterwards scratch->ids and ->ends hold the tokens of these bytes, from place 0 on. */
static void merge_window(
        const glm_vocab *vocab, glm_bpe_scratch *scratch, const char *bytes, int64_t n_bytes) {
    rt_assert(n_bytes >= 1 && n_bytes <= scratch->capacity);
    const bpe_window window = {vocab, scratch, (int32_t)n_bytes, (int32_t)power_of_two(n_bytes)};
    memcpy(scratch->text, bytes, (size_t)n_bytes);
    begin_tokens(&window);
    begin_tree(&window);
    for (;;) {
        const int64_t first = scratch->tree[1];
        const int32_t rank = (int32_t)(first >> 32);
        if (rank == GLM_NO_TOKEN) break;
        merge_at(&window, (int32_t)first, rank);
    }
    scratch->bytes_merged += n_bytes;
}

/* ---- a piece --------------------------------------------------------------------------------- */

/* Append the tokens that begin before `limit`; *next is where the first one after them begins. */
static rt_status take_tokens(
        const glm_bpe_scratch *scratch, int64_t limit, glm_ids *out, int64_t *next) {
    int64_t place = 0;
    for (; place < limit; place = scratch->ends[place])
        RT_TRY(glm_ids_push(out, scratch->ids[place]));
    *next = place;
    return RT_OK;
}

static rt_status encode_window(const glm_vocab *vocab, glm_bpe_scratch *scratch, const char *piece,
        int64_t n_bytes, glm_ids *out) {
    int64_t next;
    merge_window(vocab, scratch, piece, n_bytes);
    return take_tokens(scratch, n_bytes, out, &next);
}

/* In room made for this piece alone. */
static rt_status encode_at_once(const glm_vocab *vocab, glm_bpe_scratch *scratch, const char *piece,
        int64_t n_bytes, glm_ids *out) {
    if (n_bytes > RT_GIB)
        return rt_fail(RT_ENOMEM,
                "tokenizer: no memory to merge %" PRId64 " bytes without a word break", n_bytes);
    glm_bpe_scratch large;
    rt_status status = scratch_allocate(&large, power_of_two(n_bytes));
    if (status == RT_OK) status = encode_window(vocab, &large, piece, n_bytes, out);
    scratch->bytes_merged += large.bytes_merged;
    glm_bpe_scratch_free(&large);
    return status;
}

/* *is_done is false where two windows disagree about the token they share. */
static rt_status encode_in_windows(const glm_vocab *vocab, glm_bpe_scratch *scratch,
        const char *piece, int64_t n_bytes, glm_ids *out, bool *is_done) {
    int32_t expected = GLM_NO_TOKEN;
    for (int64_t at = 0; at < n_bytes;) {
        const int64_t window_bytes = rt_min64(scratch->capacity, n_bytes - at);
        merge_window(vocab, scratch, piece + at, window_bytes);
        *is_done = expected == GLM_NO_TOKEN || scratch->ids[0] == expected;
        if (!*is_done) return RT_OK;

        const bool is_last = at + window_bytes == n_bytes;
        int64_t next;
        RT_TRY(take_tokens(scratch, is_last ? window_bytes : window_bytes / 4 * 3, out, &next));
        if (!is_last) expected = scratch->ids[next];
        at += next;
    }
    return RT_OK;
}

rt_status glm_bpe_encode(const glm_vocab *vocab, glm_bpe_scratch *scratch, const char *piece,
        int64_t n_bytes, glm_ids *out) {
    const int32_t whole =
            vocab->is_merges_only ? GLM_NO_TOKEN : glm_vocab_find(vocab, piece, n_bytes);
    if (whole != GLM_NO_TOKEN) return glm_ids_push(out, whole);
    if (n_bytes <= scratch->capacity) return encode_window(vocab, scratch, piece, n_bytes, out);

    const int64_t n_before = out->n;
    bool is_done = true;
    RT_TRY(encode_in_windows(vocab, scratch, piece, n_bytes, out, &is_done));
    if (is_done) return RT_OK;
    out->n = n_before;
    return encode_at_once(vocab, scratch, piece, n_bytes, out);
}

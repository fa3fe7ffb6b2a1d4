#include "help_kv.h"

#include <string.h>

kv_config kvh_config(int32_t n_layers, int64_t n_pages) {
    return (kv_config){.shape = {.dtype = RT_BF16,
                               .n_kv_heads = 1,
                               .head_dim = 4,
                               .page_tokens = KVH_PAGE_TOKENS},
            .n_layers = n_layers,
            .page_bytes = KVH_PAGE_BYTES,
            .host_bytes_max = n_pages * KVH_PAGE_BYTES};
}

kv_store *kvh_open(int32_t n_layers, int64_t n_pages) {
    const kv_config config = kvh_config(n_layers, n_pages);
    kv_store *store = NULL;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    return store;
}

kv_seq *kvh_seq(kv_store *store, int64_t max_tokens) {
    kv_seq *seq = NULL;
    CHECK(kv_seq_create(store, max_tokens, &seq) == RT_OK);
    return seq;
}

static uint64_t layer_word(uint64_t value, int32_t layer) {
    return ~value * 31 + (uint64_t)layer;
}

static char *token_at(const kv_view *view, int64_t pos) {
    char *page = view->pages[(pos - view->first_pos) / KVH_PAGE_TOKENS];
    return page + pos % KVH_PAGE_TOKENS * KVH_TOKEN_BYTES;
}

void kvh_write(kv_seq *seq, int32_t n_layers, int64_t first, int64_t n_tokens, uint64_t value) {
    const int64_t start = first - first % KVH_PAGE_TOKENS;
    for (int32_t layer = 0; layer < n_layers; layer++) {
        kv_view view;
        CHECK(kv_acquire(seq, layer, start, first + n_tokens - start, &view) == RT_OK);
        for (int64_t pos = first; pos < first + n_tokens; pos++) {
            const uint64_t words[2] = {
                    value + (uint64_t)pos, layer_word(value + (uint64_t)pos, layer)};
            memcpy(token_at(&view, pos), words, sizeof words);
        }
        kv_release(seq, &view);
    }
}

uint64_t kvh_read(kv_seq *seq, int32_t layer, int64_t pos) {
    kv_view view;
    uint64_t words[2];
    const int64_t start = pos - pos % KVH_PAGE_TOKENS;
    CHECK(kv_acquire(seq, layer, start, pos + 1 - start, &view) == RT_OK);
    CHECK(view.n_pages == 1 && view.first_pos == start && view.n_tokens == pos + 1 - start);
    memcpy(words, token_at(&view, pos), sizeof words);
    kv_release(seq, &view);
    CHECK(words[1] == layer_word(words[0], layer));
    return words[0];
}

bool kvh_holds(kv_seq *seq, int32_t n_layers, int64_t first, int64_t n_tokens, uint64_t value) {
    for (int32_t layer = 0; layer < n_layers; layer++)
        for (int64_t pos = first; pos < first + n_tokens; pos++)
            if (kvh_read(seq, layer, pos) != value + (uint64_t)pos) return false;
    return true;
}

void kvh_append(kv_seq *seq, int32_t n_layers, int64_t n_tokens, uint64_t value) {
    const int64_t length = kv_seq_length(seq);
    CHECK(kv_span_begin(seq, n_tokens) == RT_OK);
    kvh_write(seq, n_layers, length, n_tokens, value);
    CHECK(kv_span_commit(seq) == RT_OK);
    CHECK(kv_seq_length(seq) == length + n_tokens);
}

uint64_t kvh_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A manifest whose segments are there, and each as it must be, but do not follow one another is no book: what it said would be
 * taken for a text that nobody has prefilled.
 *
 * Method: a file system in memory, with the segments of a text, and books of those: the text's own; in another order; with
 * one missing; of more tokens than the last one has. */
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"
#include "kvstore/vault_inside.h"

enum { N = KV_SEGMENT_TOKENS, TAIL = 200, TEXT = 2 * N + TAIL, LAYERS = 2, SEGMENTS = 3 };

static int32_t ids[TEXT];

static rt_status read_ids(const kvh_kept *p, const int32_t *order, int32_t n, int64_t n_tokens) {
    uint8_t chains[SEGMENTS][32];
    int32_t back[SEGMENTS * N] = {0};
    kv_book book = {.name = "one", .n_tokens = n_tokens, .n_segments = n, .chains = chains};
    memcpy(book.fingerprint, p->store->vault->fingerprint.bytes, sizeof book.fingerprint);
    for (int32_t i = 0; i < n; i++)
        memcpy(chains[i], p->seq->chains[order[i]].bytes, sizeof chains[i]);
    const rt_status status = kv_store_book_ids(p->store, &book, back);
    if (status == RT_OK) CHECK(memcmp(back, ids, (size_t)n_tokens * sizeof *ids) == 0);
    return status;
}

/* All of the text is in segments, its end too. */
static void keep(kvh_kept *p) {
    bool has_tail = false;
    CHECK(kv_span_begin(p->seq, ids, TEXT) == RT_OK);
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_try_write(p->store, p->seq, layer, 0, TEXT, 77) == RT_OK);
    kv_span_commit(p->seq);
    CHECK(kv_seq_keep_begin(p->seq, &has_tail) == RT_OK && has_tail);
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_try_save(p->store, p->seq, layer) == RT_OK);
    CHECK(kv_seq_keep_end(p->seq, "one", NULL) == RT_OK);
}

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, TEXT);
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    keep(&p);
    CHECK(kvh_memfs_count(fs, ".kvs") == SEGMENTS);
    CHECK(read_ids(&p, (const int32_t[]){0, 1, 2}, 3, TEXT) == RT_OK);
    CHECK(read_ids(&p, (const int32_t[]){0, 1, 2}, 3, TEXT - 9) == RT_OK);
    CHECK(read_ids(&p, (const int32_t[]){0, 1}, 2, 2 * N) == RT_OK);
    CHECK(read_ids(&p, (const int32_t[]){1, 0}, 2, 2 * N) == RT_ECORRUPT);
    CHECK(strstr(rt_error_text(), "segment 1 of 2 is another one"));
    CHECK(read_ids(&p, (const int32_t[]){1}, 1, N) == RT_ECORRUPT);
    CHECK(read_ids(&p, (const int32_t[]){0, 2}, 2, N + 9) == RT_ECORRUPT);
    CHECK(read_ids(&p, (const int32_t[]){0, 1, 2}, 3, TEXT + 1) == RT_ECORRUPT);
    CHECK(kvh_memfs_count(fs, ".bad") == 0);
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return 0;
}

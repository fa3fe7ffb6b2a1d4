/* What is persisted comes back bit for bit, also after a restart and from several directories; what
 * is found is the longest stored prefix, and never more than agrees.
 *
 * Method: segments whose values follow from their address are written, found and decoded; prompts
 * that end early, go on, branch off inside a segment or at a boundary, or belong to another model. */
#include <string.h>

#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS };

static void check_reason(
        kvh_vault *v, const int32_t *ids, int64_t n, int64_t n_found, const char *reason) {
    char text[KV_REASON_BYTES];
    const int64_t n_tokens = kvh_find(v, ids, n, text);
    if (n_tokens != n_found || strcmp(text, reason) != 0)
        (void)fprintf(stderr, "found %lld: %s\n", (long long)n_tokens, text);
    CHECK(n_tokens == n_found);
    CHECK(strcmp(text, reason) == 0);
}

static void check_finds(kvh_vault *v, int32_t *ids) {
    check_reason(v, ids, 2 * N + 100, 2 * N + 100, "all 8,292 tokens are stored");
    check_reason(v, ids, 2 * N + 60, 2 * N + 60, "all 8,252 tokens are stored");
    check_reason(v, ids, N + 1, N + 1, "all 4,097 tokens are stored");
    check_reason(v, ids, 3 * N, 2 * N + 100, "no segment after 8,292 tokens");
    check_reason(v, ids, 1, 1, "all 1 tokens are stored");
    CHECK(kvh_find(v, ids, 0, NULL) == 0);
    const int64_t places[] = {0, 5, 15, 16, 17, N - 1, N, N + 1, 2 * N, 2 * N + 99};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        ids[places[i]]++;
        CHECK(kvh_find(v, ids, 3 * N, NULL) == places[i]);
        ids[places[i]]--;
    }
}

static void check_directories(int32_t n_dirs, kv_io_mode mode) {
    kvh_vault v = kvh_vault_new(n_dirs);
    int32_t *ids = kvh_ids(1, 3 * N);
    kv_io *io;
    CHECK(kv_io_create(&(kv_io_config){.mode = mode}, &io) == RT_OK);
    kvh_vault_open(&v, io);
    check_reason(&v, ids, N, 0, "nothing stored for this model");
    CHECK(kvh_write_prefix(&v, ids, 2 * N + 100, NULL) == 3);
    CHECK(kv_vault_stats_of(v.vault).n_written == 3);
    check_finds(&v, ids);
    kvh_vault_close(&v);
    kvh_vault_open(&v, NULL);
    CHECK(kv_vault_stats_of(v.vault).n_segments == 3);
    check_finds(&v, ids);
    CHECK(kvh_write_prefix(&v, ids, 2 * N + 100, NULL) == 3);
    CHECK(kv_vault_stats_of(v.vault).n_written == 0); /* all there */
    kvh_vault_close(&v);
    v.model = "kv=int8\nrope=1\n";
    kvh_vault_open(&v, NULL);
    check_reason(&v, ids, N, 0,
            "nothing stored for this model; there is for kv=bf16, this run has kv=int8; this run "
            "has rope=1");
    free(ids);
    kvh_vault_remove(&v);
}

/* A longer last segment wins where it agrees for longer, and the shorter one stays. */
static void check_superseding(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(2, 2 * N);
    kvh_vault_open(&v, NULL);
    const kv_hash *root = kv_vault_root(v.vault);
    CHECK(kvh_write_segment(&v, root, 0, ids, 40, NULL) == RT_OK);
    CHECK(kvh_find(&v, ids, 2 * N, NULL) == 40);
    CHECK(kvh_write_segment(&v, root, 0, ids, 900, NULL) == RT_OK);
    CHECK(kvh_find(&v, ids, 2 * N, NULL) == 900);
    CHECK(kvh_find(&v, ids, 30, NULL) == 30);
    CHECK(kvh_write_prefix(&v, ids, N + 7, NULL) == 2);
    CHECK(kvh_find(&v, ids, 2 * N, NULL) == N + 7);
    int32_t *branch = kvh_ids(2, 2 * N);
    branch[950] ^= 1;
    CHECK(kvh_find(&v, branch, 2 * N, NULL) == 950);
    CHECK(kvh_write_segment(&v, root, 0, branch, N, NULL) == RT_OK);
    CHECK(kvh_find(&v, branch, 2 * N, NULL) == N);
    CHECK(kvh_find(&v, ids, 2 * N, NULL) == N + 7);
    free(branch);
    free(ids);
    kvh_vault_remove(&v);
}

/* A vault sees what another one in the same directory has written since. */
static void check_two_vaults(void) {
    kvh_vault a = kvh_vault_new(1);
    kvh_vault b = a;
    int32_t *ids = kvh_ids(3, 2 * N);
    kvh_vault_open(&a, NULL);
    kvh_vault_open(&b, NULL);
    CHECK(kvh_write_prefix(&a, ids, 2 * N, NULL) == 2);
    CHECK(kvh_find(&b, ids, 2 * N, NULL) == 2 * N);
    kvh_vault_close(&b);
    free(ids);
    kvh_vault_remove(&a);
}

/* Writers of one span are open together, each the parent of the next, and finish in order. */
static void check_span(void) {
    enum { SEGMENTS = 4 };
    kvh_vault v = kvh_vault_new(2);
    int32_t *ids = kvh_ids(4, SEGMENTS * N);
    kv_writer *writers[SEGMENTS];
    kv_segment *segments[SEGMENTS];
    kvh_vault_open(&v, NULL);
    kv_hash parent = *kv_vault_root(v.vault);
    for (int i = 0; i < SEGMENTS; i++) {
        CHECK(kv_writer_begin(v.vault, &parent, i * N, ids + i * N, N, &writers[i]) == RT_OK);
        parent = kv_writer_header(writers[i])->chain;
    }
    for (int layers = 0; layers < KVH_LAYERS; layers++)
        for (int i = 0; i < SEGMENTS; i++) CHECK(kvh_fill_segment(&v, writers[i], 1) == RT_OK);
    CHECK(kvh_find(&v, ids, SEGMENTS * N, NULL) == 0);
    for (int i = 0; i < SEGMENTS; i++) {
        CHECK(kv_writer_finish(writers[i], &segments[i]) == RT_OK);
        CHECK(kvh_find(&v, ids, SEGMENTS * N, NULL) == (i + 1) * N);
    }
    for (int i = 0; i < SEGMENTS; i++) {
        CHECK(kvh_read_segment(&v, segments[i]) == RT_OK);
        kv_segment_close(segments[i]);
    }
    free(ids);
    kvh_vault_remove(&v);
}

/* What has no stored parent is refused, at the start or at the end. */
static void check_orphans(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(5, 2 * N);
    kv_writer *first, *second;
    kv_hash chain;
    kvh_vault_open(&v, NULL);
    const kv_hash *root = kv_vault_root(v.vault);
    CHECK(kv_chain_next(root, ids, N, &chain) == RT_OK);
    CHECK(kvh_write_segment(&v, &chain, N, ids + N, N, NULL) == RT_EIO);
    CHECK(kv_writer_begin(v.vault, root, 0, ids, N, &first) == RT_OK);
    CHECK(kv_writer_begin(v.vault, &chain, N, ids + N, N, &second) == RT_OK);
    CHECK(kvh_fill_segment(&v, second, KVH_LAYERS) == RT_OK);
    kv_writer_abort(first);
    CHECK(kv_writer_finish(second, NULL) == RT_EIO);
    CHECK(kvh_count_files(v.dirs[0], ".tmp") == 0 && kvh_count_files(v.dirs[0], ".kvs") == 0);
    free(ids);
    kvh_vault_remove(&v);
}

/* What was evicted or quarantined behind a vault's back can be written again at once. */
static void check_again(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(6, N);
    kv_prefix prefix;
    kvh_vault_open(&v, NULL);
    CHECK(kvh_write_prefix(&v, ids, N, NULL) == 1);
    CHECK(kv_vault_find(v.vault, ids, N, &prefix) == RT_OK && prefix.n_segments == 1);
    kv_segment_quarantine(prefix.segments[0], "a test says so");
    CHECK(kvh_read_segment(&v, prefix.segments[0]) == RT_OK); /* open still */
    kv_prefix_free(&prefix);
    CHECK(strstr(kv_vault_stats_of(v.vault).last_bad, ".kvs: a test says so"));
    CHECK(kvh_write_prefix(&v, ids, N, NULL) == 1);
    CHECK(kv_vault_stats_of(v.vault).n_written == 2 && kvh_find(&v, ids, N, NULL) == N);
    CHECK(remove(kvh_only_file(v.dirs[0], ".kvs")) == 0);
    CHECK(kvh_write_prefix(&v, ids, N, NULL) == 1 && kvh_find(&v, ids, N, NULL) == N);
    free(ids);
    kvh_vault_remove(&v);
}

int main(void) {
    check_directories(1, KV_IO_AUTO);
    check_directories(3, KV_IO_PREAD);
    check_superseding();
    check_two_vaults();
    check_span();
    check_orphans();
    check_again();
    return 0;
}

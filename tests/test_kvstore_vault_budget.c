/* The disk budget is a hard cap, and what makes way for new segments is chosen as promised: never what a
 * book holds, what is open, what is being extended, or a parent before its child; the others by
 * age and by what they cost to compute again.
 *
 * Method: after every step du of the directory is compared with the cap; who is left is told by
 * what is found. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, SLACK = 32 << 10, BLOCK = 4096 };

static int64_t need(void) {
    const kv_segment_shape shape = {RT_BF16, KVH_LAYERS, KVH_HEADS, KVH_HEAD_DIM};
    return kv_segment_bytes_max(&shape, N) + SLACK;
}

/* What the vault counts: du of DIR/vault, every directory. */
static int64_t used(const kvh_vault *v) {
    int64_t n_bytes = 0;
    for (int32_t i = 0; i < v->n_dirs; i++) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/vault", v->dirs[i]);
        n_bytes += kvh_du(path);
    }
    return n_bytes;
}

/* Again, with a cap so that the next segment fits only if `n_more` bytes are removed. */
static void reopen_tight(kvh_vault *v, int64_t n_more) {
    kvh_vault_close(v);
    v->bytes_max = used(v) + need() - n_more;
    kvh_vault_open(v, NULL);
}

static void make_old(kvh_vault *v, const int32_t *ids, int64_t n_ids, int hours) {
    kv_prefix prefix;
    CHECK(kv_vault_find(v->vault, ids, n_ids, &prefix) == RT_OK);
    for (int32_t i = 0; i < prefix.n_segments; i++) {
        const struct timespec then[2] = {
                {.tv_sec = time(NULL) - hours * 3600}, {.tv_sec = time(NULL) - hours * 3600}};
        const char *path = kv_file_path(kv_segment_file(prefix.segments[i]));
        CHECK(utimensat(AT_FDCWD, path, then, 0) == 0);
    }
    kv_prefix_free(&prefix);
}

/* Which of the prefixes are there, without touching them: by name. */
static bool is_stored(const kvh_vault *v, const kv_hash *chain) {
    char hex[KV_HEX_BYTES], name[80];
    (void)snprintf(name, sizeof name, "%s.kvs", kv_hash_hex(chain, hex));
    return kvh_count_files(v->dirs[0], name) +
           (v->n_dirs > 1 ? kvh_count_files(v->dirs[1], name) : 0);
}

static void write_one(kvh_vault *v, uint64_t seed, rt_status expected) {
    CHECK(kvh_write_first(v, seed, N, NULL) == expected);
    CHECK(used(v) <= v->bytes_max);
}

/* Many more segments than fit: all are written, and the cap is never passed. */
static void check_cap(int32_t n_dirs) {
    kvh_vault v = kvh_vault_new(n_dirs);
    v.bytes_max = 4 * need();
    kvh_vault_open(&v, NULL);
    const int n = getenv("GLM_TEST_FAST") ? 12 : 40;
    for (int i = 0; i < n; i++) {
        int32_t *ids = kvh_ids(1000 + (uint64_t)i, 2 * N);
        kv_writer *writer;
        kv_hash chain;
        CHECK(kvh_write_segment(&v, kv_vault_root(v.vault), 0, ids, N, &chain) == RT_OK);
        CHECK(used(&v) <= v.bytes_max);
        CHECK(kv_writer_begin(v.vault, &chain, N, ids + N, N, &writer) == RT_OK);
        CHECK(used(&v) <= v.bytes_max);
        CHECK(kvh_fill_segment(&v, writer, KVH_LAYERS) == RT_OK);
        CHECK(used(&v) <= v.bytes_max);
        CHECK(kv_writer_finish(writer, NULL) == RT_OK);
        CHECK(used(&v) <= v.bytes_max);
        CHECK(kvh_find(&v, ids, 2 * N, NULL) == 2 * N);
        free(ids);
    }
    CHECK(kv_vault_stats_of(v.vault).n_evicted >= n);
    kvh_vault_remove(&v);
}

static void check_order(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *old = kvh_ids(1, 2 * N), *deep = kvh_ids(2, 2 * N), *flat = kvh_ids(3, N);
    kv_hash old_chains[2], deep_chains[2], flat_chains[1];
    kvh_vault_open(&v, NULL);
    (void)kvh_write_prefix(&v, old, 2 * N, old_chains);
    (void)kvh_write_prefix(&v, deep, 2 * N, deep_chains);
    (void)kvh_write_prefix(&v, flat, N, flat_chains);
    make_old(&v, old, 2 * N, 24);
    reopen_tight(&v, 1);
    write_one(&v, 10, RT_OK);
    CHECK(!is_stored(&v, &old_chains[1]) && is_stored(&v, &old_chains[0])); /* the leaf first */
    reopen_tight(&v, 1);
    write_one(&v, 11, RT_OK);
    CHECK(!is_stored(&v, &old_chains[0]));
    CHECK(is_stored(&v, &deep_chains[1]) && is_stored(&v, &flat_chains[0]));
    /* Of one age: what lies deeper cost more. Written since: 10 and 11, as flat as `flat`. */
    for (int i = 0; i < 3; i++) {
        reopen_tight(&v, 1);
        write_one(&v, 12, RT_OK);
        CHECK(is_stored(&v, &deep_chains[1]) && is_stored(&v, &deep_chains[0]));
        int32_t *ids = kvh_ids(12, N);
        make_old(&v, ids, N, 100);
        free(ids);
    }
    free(old);
    free(deep);
    free(flat);
    kvh_vault_remove(&v);
}

/* Pinned, open and extended prefixes stay, whatever is asked for. */
static void check_protection(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *pinned = kvh_ids(1, 2 * N), *opened = kvh_ids(2, N), *extended = kvh_ids(3, 2 * N);
    kv_hash pinned_chains[2], open_chain, extended_chain;
    kv_prefix prefix;
    kv_writer *writer;
    kvh_vault_open(&v, NULL);
    (void)kvh_write_prefix(&v, pinned, 2 * N, pinned_chains);
    (void)kvh_write_prefix(&v, opened, N, &open_chain);
    (void)kvh_write_prefix(&v, extended, N, &extended_chain);
    CHECK(kv_vault_write_book(v.vault, "kept", pinned_chains, 2, 2 * N, NULL) == RT_OK);
    write_one(&v, 20, RT_OK);
    make_old(&v, pinned, 2 * N, 1000);
    const int64_t n_used = used(&v);
    kvh_vault_close(&v);
    v.bytes_max = n_used + 2 * need() - 1; /* for the writer, and one more if one goes */
    kvh_vault_open(&v, NULL);
    CHECK(kv_vault_find(v.vault, opened, N, &prefix) == RT_OK && prefix.n_tokens == N);
    CHECK(kv_writer_begin(v.vault, &extended_chain, N, extended + N, N, &writer) == RT_OK);
    write_one(&v, 21, RT_OK); /* 20 went */
    for (uint64_t seed = 22; seed < 26; seed++) write_one(&v, seed, RT_OK);
    CHECK(is_stored(&v, &pinned_chains[0]) && is_stored(&v, &pinned_chains[1]));
    CHECK(is_stored(&v, &open_chain) && is_stored(&v, &extended_chain));
    CHECK(kvh_read_segment(&v, prefix.segments[0]) == RT_OK);
    kv_prefix_free(&prefix);
    CHECK(kvh_fill_segment(&v, writer, KVH_LAYERS) == RT_OK);
    CHECK(kv_writer_finish(writer, NULL) == RT_OK);
    CHECK(kvh_find(&v, extended, 2 * N, NULL) == 2 * N);
    free(pinned);
    free(opened);
    free(extended);
    kvh_vault_remove(&v);
}

/* What cannot fit, even if all went that may go, removes nothing, and the refusal says the sizes. */
static void check_refusal(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *pinned = kvh_ids(1, N);
    kv_hash chain;
    kvh_vault_open(&v, NULL);
    (void)kvh_write_prefix(&v, pinned, N, &chain);
    CHECK(kv_vault_write_book(v.vault, "kept", &chain, 1, N, NULL) == RT_OK);
    write_one(&v, 2, RT_OK);
    kvh_vault_close(&v);
    const int64_t n_used = used(&v);
    v.bytes_max = need() + BLOCK;
    kvh_vault_open(&v, NULL);
    int32_t *ids = kvh_ids(3, N);
    CHECK(kvh_write_segment(&v, kv_vault_root(v.vault), 0, ids, N, NULL) == RT_ENOFIT);
    CHECK(strstr(rt_error_text(), "do not fit on the disk") && strstr(rt_error_text(), "KiB"));
    CHECK(used(&v) == n_used);
    free(ids);
    free(pinned);
    kvh_vault_remove(&v);
}

/* Temporaries of the dead go when a vault opens; those of the living stay. */
static void check_sweep(void) {
    kvh_vault v = kvh_vault_new(1);
    kvh_vault_open(&v, NULL);
    int32_t *ids = kvh_ids(1, N);
    kv_writer *writer;
    CHECK(kv_writer_begin(v.vault, kv_vault_root(v.vault), 0, ids, N, &writer) == RT_OK);
    char dead[4200];
    (void)snprintf(dead, sizeof dead, "%s", kvh_only_file(v.dirs[0], ".tmp"));
    (void)snprintf(dead + strlen(dead) - 3, 8, "9.tmp");
    const int fd = open(dead, O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && close(fd) == 0 && kvh_count_files(v.dirs[0], ".tmp") == 2);
    kvh_vault other = v;
    kvh_vault_open(&other, NULL);
    CHECK(kv_vault_stats_of(other.vault).n_swept == 1);
    kvh_vault_close(&other);
    CHECK(kvh_count_files(v.dirs[0], ".tmp") == 1 && access(dead, F_OK) != 0);
    CHECK(kvh_fill_segment(&v, writer, KVH_LAYERS) == RT_OK);
    CHECK(kv_writer_finish(writer, NULL) == RT_OK);
    CHECK(kvh_find(&v, ids, N, NULL) == N);
    free(ids);
    kvh_vault_remove(&v);
}

int main(void) {
    check_cap(1);
    check_cap(2);
    check_order();
    check_protection();
    check_refusal();
    check_sweep();
    return 0;
}

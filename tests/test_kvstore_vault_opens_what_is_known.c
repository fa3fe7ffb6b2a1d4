/* A vault is opened without a look into each of its segments: it opens as few files for many as for few, looks at no
 * segment's size, and knows the same of them: which are there, what they begin with, how much disk they take, and who makes
 * way first. What it knows that from may be damaged, or be gone, or say nothing of some.
 *
 * Method: an engine before a file system in memory, which counts. */
#include <stdlib.h>

#include "help_kv_counts.h"
#include "help_kv_vault.h"

enum { FEW = 80, MANY = 320, TOKENS = 20, OPENS = 2 /* the lock, and what is known */ };

static const char known[] = "/segments.known";

typedef struct world {
    kvh_memfs *fs;
    kvh_vault v;
} world;

/* Opened; what that took. */
static kvh_counts open_again(world *w) {
    kv_io *io = kvh_counting_io(w->fs);
    kvh_begin_counting(".kvs");
    kvh_vault_open(&w->v, io);
    return kvh_counted();
}

static void write_one(world *w, int i) {
    CHECK(kvh_write_first(&w->v, (uint64_t)i, TOKENS, NULL) == RT_OK);
}

static void check_found(world *w, int n) {
    for (int i = 0; i < n; i += n / 8) {
        int32_t *ids = kvh_ids((uint64_t)i, TOKENS);
        CHECK(kvh_find(&w->v, ids, TOKENS, NULL) == TOKENS);
        CHECK(kvh_find(&w->v, ids, TOKENS - 1, NULL) == TOKENS - 1);
        free(ids);
    }
}

static world world_of(int n) {
    world w = {.fs = kvh_memfs_new(), .v = kvh_vault_in_memory()};
    (void)open_again(&w);
    for (int i = 0; i < n; i++) write_one(&w, i);
    kvh_vault_close(&w.v);
    return w;
}

static void end(world *w) {
    kvh_memfs_free(w->fs);
}

static const char *path_of_known(const world *w, char path[600]) {
    (void)snprintf(path, 600, "%s/vault%s", w->v.dirs[0], known);
    return path;
}

static kvh_counts check_open(world *w, int n) {
    const kvh_counts counts = open_again(w);
    CHECK(kv_vault_stats_of(w->v.vault).n_segments == n);
    check_found(w, n);
    return counts;
}

static void check_counts(void) {
    world few = world_of(FEW), many = world_of(MANY);
    const kvh_counts a = check_open(&few, FEW);
    kvh_vault_close(&few.v);
    const kvh_counts b = check_open(&many, MANY);
    kvh_vault_close(&many.v);
    (void)printf("%d segments: %ld opens, %ld looks, %ld lists; %d: %ld, %ld, %ld\n", FEW,
            (long)a.n_opens, (long)a.n_looks, (long)a.n_lists, MANY, (long)b.n_opens,
            (long)b.n_looks, (long)b.n_lists);
    CHECK(a.n_opens == OPENS && b.n_opens == OPENS);
    CHECK(b.n_looks <= b.n_lists + 12 && b.n_lists <= 256 + 4); /* folders alone */
    end(&few);
    end(&many);
}

/* The same bytes of disk, known or looked at. */
static void check_bytes(void) {
    world w = world_of(FEW);
    char path[600];
    kv_io_stat st;
    bool exists;
    (void)open_again(&w);
    const int64_t n_known = kv_vault_stats_of(w.v.vault).bytes_used;
    CHECK(kv_path_stat(w.v.io, path_of_known(&w, path), &st, &exists) == RT_OK && exists);
    CHECK(kv_path_unlink(w.v.io, path) == RT_OK);
    kvh_vault_close(&w.v);
    const kvh_counts counts = check_open(&w, FEW);
    CHECK(counts.n_opens >= FEW);
    CHECK(kv_vault_stats_of(w.v.vault).bytes_used == n_known - st.physical_bytes);
    kvh_vault_close(&w.v);
    CHECK(check_open(&w, FEW).n_opens == OPENS); /* it was kept again */
    kvh_vault_close(&w.v);
    end(&w);
}

/* A byte of it is another, or it ends early: whichever, every segment is found. */
static void check_damage(int64_t at) {
    world w = world_of(FEW);
    char path[600];
    kv_file *file = NULL;
    kv_io_stat st;
    (void)open_again(&w);
    CHECK(kv_file_open(w.v.io, path_of_known(&w, path), 2 /* O_RDWR */, &file) == RT_OK);
    CHECK(kv_file_stat(file, &st) == RT_OK);
    if (at < 0) {
        CHECK(kv_file_truncate(file, KV_IO_ALIGN) == RT_OK);
    } else {
        uint8_t *bytes = malloc((size_t)st.n_bytes);
        kv_blocks *blocks = NULL;
        CHECK(bytes && kv_blocks_create(w.v.io, &blocks) == RT_OK);
        CHECK(kv_blocks_read(blocks, file, 0, st.n_bytes, bytes) == RT_OK);
        bytes[at] ^= 1;
        CHECK(kv_blocks_write(blocks, file, 0, st.n_bytes, bytes) == RT_OK);
        kv_blocks_free(blocks);
        free(bytes);
    }
    kv_file_close(file);
    kvh_vault_close(&w.v);
    CHECK(check_open(&w, FEW).n_opens >= FEW);
    kvh_vault_close(&w.v);
    end(&w);
}

/* One that is gone is not there, and one that is not known yet is. */
static void check_others(void) {
    world w = world_of(FEW);
    kv_hash chain;
    int32_t *ids = kvh_ids(3, TOKENS);
    (void)open_again(&w);
    CHECK(kv_chain_next(kv_vault_root(w.v.vault), ids, TOKENS, &chain) == RT_OK);
    const kv_path path = kv_vault_path(w.v.vault, 0, &chain, ".kvs");
    CHECK(kv_path_unlink(w.v.io, path.text) == RT_OK);
    write_one(&w, FEW);
    write_one(&w, FEW + 1);
    kvh_vault_close(&w.v);
    const kvh_counts counts = open_again(&w);
    CHECK(counts.n_opens == OPENS + 2);
    CHECK(kv_vault_stats_of(w.v.vault).n_segments == FEW + 1);
    CHECK(kvh_find(&w.v, ids, TOKENS, NULL) == 0);
    free(ids);
    ids = kvh_ids(FEW + 1, TOKENS);
    CHECK(kvh_find(&w.v, ids, TOKENS, NULL) == TOKENS);
    free(ids);
    kvh_vault_close(&w.v);
    end(&w);
}

/* Where room is short others make way as ever, and what is known does where that alone helps. */
static void check_room(void) {
    world w = world_of(FEW);
    (void)open_again(&w);
    w.v.bytes_max = kv_vault_stats_of(w.v.vault).bytes_used;
    kvh_vault_close(&w.v);
    (void)open_again(&w);
    write_one(&w, FEW);
    const kv_vault_stats stats = kv_vault_stats_of(w.v.vault);
    CHECK(stats.n_evicted > 0 && stats.n_segments == FEW + 1);
    CHECK(kvh_memfs_count(w.fs, ".kvs") == FEW + 1 - stats.n_evicted);
    CHECK(kvh_memfs_count(w.fs, known + 1) == 1);
    kvh_vault_close(&w.v);
    end(&w);
}

int main(void) {
    check_counts();
    check_bytes();
    check_damage(0);
    check_damage(8);
    check_damage(24 + 7 * 160 + 40);
    check_damage(-1);
    check_others();
    check_room();
    return 0;
}

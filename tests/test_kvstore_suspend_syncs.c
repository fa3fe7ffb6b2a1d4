/* What a suspension waits for on a slow disk does not grow with the model: it has as many syncs with many layers and
 * heads as with few, however long the span is one after another, and the name of its state comes after all of them but
 * that of the name itself.
 *
 * Method: an engine before a file system in memory, which counts. A span is stopped in its middle, of stores of 2 and of
 * 24 layers, with one whole extent and with four. Real files are synced together with what cannot be: each has its own
 * answer. Then records by themselves, as many as 40 layers of 4 heads have and of sizes around a buffer's: two
 * syncs, writes as large as they can be; read back; and with a bit flipped in any of them, a size that is another's,
 * one more than there are, or another state's header, the records before it are right and it is not there. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_kv_counts.h"
#include "help_kv_io.h"
#include "help_kv_kept.h"
#include "kvstore/vault_inside.h"

enum { N = KV_SEGMENT_TOKENS, TEXT = 4 * N + 900, STOPPED = 300, HIDDEN = 70000, RECORDS = 160 };

/* ---- a span ---------------------------------------------------------------------------------- */

static int32_t ids[TEXT];

/* Stopped in the last layer, which has no whole extent then. */
static kvh_counts suspend(int32_t n_layers, int64_t n_extents) {
    const int64_t text = n_extents * N + 900;
    static char hidden[HIDDEN];
    const kv_suspension s = {.n_ids = text,
            .end = text,
            .layer = n_layers - 1,
            .layer_end = STOPPED,
            .hidden = hidden,
            .hidden_bytes = HIDDEN};
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin(kvh_counting_io(fs), n_layers, text);
    kvh_kept_write(&p, ids, &s);
    kvh_begin_counting(".state");
    CHECK(kvh_suspend(p.store, p.seq, n_layers, ids, &s) == RT_OK);
    const kvh_counts of_it = kvh_counted();
    CHECK(of_it.n_after == 1 && kvh_memfs_count(fs, ".state") == 1 &&
            kvh_memfs_count(fs, ".part") == n_extents);
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    (void)printf("%" PRId32 " layers, %" PRId64 " extents: %" PRId64 " waits for %" PRId64
                 " syncs of files and %" PRId64 " of directories, %" PRId64 " writes\n",
            n_layers, n_extents, of_it.n_waits, of_it.n_syncs, of_it.n_dir_syncs, of_it.n_writes);
    return of_it;
}

/* ---- records --------------------------------------------------------------------------------- */

static int64_t size_of(int32_t i) {
    static const int64_t sizes[] = {1, 4096, 100000, 8, (1 << 20) - 8, 1 << 20, 0, 5000, 4088};
    return sizes[i % (int32_t)(sizeof sizes / sizeof *sizes)];
}

static void fill(char *bytes, int32_t record) {
    for (int64_t i = 0; i < size_of(record); i++) bytes[i] = (char)(i * 7 + record + (i >> 9));
}

static kv_vault *open_vault(kv_io *io) {
    static const char *dirs[] = {"/disk"};
    const kv_vault_config config = {.io = io,
            .dirs = dirs,
            .n_dirs = 1,
            .disk_bytes_max = 1 << 26,
            .shape = {.dtype = RT_BF16, .n_layers = 1, .n_kv_heads = 1, .head_dim = 8},
            .fingerprint = {{1, 2, 3}},
            .fingerprint_text = "kv=bf16\n"};
    kv_vault *vault = NULL;
    CHECK(kv_vault_open(&config, &vault) == RT_OK);
    return vault;
}

static void write_records(kv_vault *vault, const kv_hash *key, int32_t n, char *bytes) {
    kv_records *records = NULL;
    int64_t n_bytes = 0;
    for (int32_t i = 0; i < n; i++) n_bytes += kv_record_bytes(size_of(i));
    CHECK(kv_records_begin(vault, key, n_bytes, &records) == RT_OK);
    kvh_begin_counting(".state");
    for (int32_t i = 0; i < n; i++) {
        fill(bytes, i);
        kv_records_add(records, bytes, size_of(i));
    }
    CHECK(kv_records_finish(records, &n, sizeof n) == RT_OK);
    const kvh_counts seen = kvh_counted();
    CHECK(seen.n_syncs == 1 && seen.n_dir_syncs == 1 && seen.n_after == 1);
    CHECK(seen.n_writes <= n_bytes / (1 << 20) + 2);
}

/* How many of n are there, all of them right; -1: there are no records. The last has another size if `is_longer`. */
static int32_t read_records(
        kv_vault *vault, const kv_hash *key, int32_t n, bool is_longer, char *bytes, char *room) {
    kv_records *records = NULL;
    int32_t noted = 0, n_read = 0;
    bool is_there = true;
    CHECK(kv_records_open(vault, key, &noted, sizeof noted, &records) == RT_OK);
    if (!records) return -1;
    for (; n_read < n && is_there; n_read += is_there) {
        const int64_t longer = is_longer && n_read == n - 1;
        CHECK(kv_records_read(records, room, size_of(n_read) + longer, &is_there) == RT_OK);
        fill(bytes, n_read);
        if (is_there) CHECK(memcmp(bytes, room, (size_t)size_of(n_read)) == 0);
    }
    CHECK(!is_there || noted > 0);
    kv_records_end(records);
    return n_read;
}

/* The file that holds the records, opened to be damaged. */
static void flip(kv_io *io, const char *path, int64_t at) {
    enum { BLOCK = KV_IO_ALIGN };
    char block[BLOCK];
    kv_blocks *blocks = NULL;
    kv_file *file = NULL;
    CHECK(kv_blocks_create(io, &blocks) == RT_OK);
    CHECK(kv_file_open(io, path, O_RDWR, &file) == RT_OK);
    CHECK(kv_blocks_read(blocks, file, at / BLOCK * BLOCK, BLOCK, block) == RT_OK);
    block[at % BLOCK] ^= 4;
    CHECK(kv_blocks_write(blocks, file, at / BLOCK * BLOCK, BLOCK, block) == RT_OK);
    kv_file_close(file);
    kv_blocks_free(blocks);
}

/* The header of one state and the records of another, of the same sizes: of those the last one says so. */
static void check_mixed(kv_vault *vault, kv_io *io, const kv_hash *key) {
    enum { BLOCK = KV_BLOCK_BYTES };
    static const char words[2][8] = {"the one", "another"};
    const kv_path path = kv_vault_path(vault, 0, key, ".state");
    char header[BLOCK], word[8];
    int32_t n = 0;
    for (int32_t i = 0; i < 2; i++) {
        kv_blocks *blocks = NULL;
        kv_records *records = NULL;
        kv_file *file = NULL;
        CHECK(kv_records_begin(vault, key, 2 * kv_record_bytes(8), &records) == RT_OK);
        kv_records_add(records, words[i], 8);
        kv_records_add(records, words[i], 8);
        CHECK(kv_records_finish(records, &n, sizeof n) == RT_OK);
        CHECK(kv_blocks_create(io, &blocks) == RT_OK);
        CHECK(kv_file_open(io, path.text, O_RDWR, &file) == RT_OK);
        if (i == 0) CHECK(kv_blocks_read(blocks, file, 0, BLOCK, header) == RT_OK);
        if (i == 1) CHECK(kv_blocks_write(blocks, file, 0, BLOCK, header) == RT_OK);
        kv_file_close(file);
        kv_blocks_free(blocks);
    }
    kv_records *records = NULL;
    bool is_there = false;
    CHECK(kv_records_open(vault, key, &n, sizeof n, &records) == RT_OK && records);
    CHECK(kv_records_read(records, word, 8, &is_there) == RT_OK && is_there);
    CHECK(kv_records_read(records, word, 8, &is_there) == RT_OK && !is_there);
    kv_records_end(records);
}

/* The record that a byte of them is in. */
static int32_t record_at(int64_t at) {
    int32_t i = 0;
    for (int64_t end = kv_record_bytes(size_of(0)); at >= end; end += kv_record_bytes(size_of(i)))
        i++;
    return i;
}

static void check_records(void) {
    enum { SMALL = 6 };
    kvh_memfs *fs = kvh_memfs_new();
    kv_io *io = kvh_counting_io(fs);
    kv_vault *vault = open_vault(io);
    const kv_hash key = *kv_vault_root(vault);
    char *bytes = malloc((1 << 20) + 1), *room = malloc((1 << 20) + 1);
    CHECK(bytes && room);
    CHECK(read_records(vault, &key, 1, false, bytes, room) == -1);
    write_records(vault, &key, RECORDS, bytes);
    CHECK(read_records(vault, &key, RECORDS, false, bytes, room) == RECORDS);
    write_records(vault, &key, SMALL, bytes); /* in place of them */
    CHECK(read_records(vault, &key, SMALL, false, bytes, room) == SMALL);
    CHECK(read_records(vault, &key, SMALL + 1, false, bytes, room) == SMALL);
    CHECK(read_records(vault, &key, 1, false, bytes, room) == -1); /* it was put aside */
    write_records(vault, &key, SMALL, bytes);
    CHECK(read_records(vault, &key, 3, true, bytes, room) == 2);
    const int64_t places[] = {
            0, 3, 9, 5000, 104105, 104200, 150000, 1152600, 1152670, 1152688, 2201000};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        write_records(vault, &key, SMALL, bytes);
        const kv_path path = kv_vault_path(vault, 0, &key, ".state");
        flip(io, path.text, KV_BLOCK_BYTES + places[i]);
        CHECK(read_records(vault, &key, SMALL, false, bytes, room) == record_at(places[i]));
    }
    for (int64_t at = 0; at < KV_BLOCK_BYTES; at += 97) {
        write_records(vault, &key, 1, bytes);
        const kv_path path = kv_vault_path(vault, 0, &key, ".state");
        flip(io, path.text, at);
        CHECK(read_records(vault, &key, 1, false, bytes, room) == -1);
    }
    check_mixed(vault, io, &key);
    CHECK(kvh_memfs_count(fs, ".tmp") == 0);
    free(bytes);
    free(room);
    kv_vault_close(vault);
    CHECK(kv_io_close(io) == RT_OK);
    kvh_memfs_free(fs);
}

/* ---- real files ------------------------------------------------------------------------------ */

static void check_real_files(void) {
    enum { FILES = 40 };
    kv_io_sync syncs[FILES];
    int fds[FILES];
    const char *dir = kvh_make_dir();
    for (int i = 0; i < FILES; i++) {
        fds[i] = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        CHECK(fds[i] >= 0);
        syncs[i] = (kv_io_sync){.fd = fds[i], .result = 1};
    }
    syncs[7].fd = -1;
    syncs[20].dir = dir;
    syncs[33].dir = "/nowhere at all";
    kv_io_posix_sync_all(NULL, syncs, FILES);
    for (int i = 0; i < FILES; i++) {
        CHECK(syncs[i].result == (i == 7 ? -EBADF : i == 33 ? -ENOENT : 0));
        CHECK(close(fds[i]) == 0);
    }
    kvh_remove_dir();
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    const kvh_counts few = suspend(2, 1), deep = suspend(24, 1), both = suspend(24, 4);
    CHECK(few.n_syncs == 2 && deep.n_syncs == 2 && both.n_syncs == 5);
    CHECK(few.n_dir_syncs == deep.n_dir_syncs);
    CHECK(few.n_waits == deep.n_waits && deep.n_waits == both.n_waits);
    check_records();
    check_real_files();
    return 0;
}

#include "help_kv_vault.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "help_dir.h"
#include "help_kv_codec.h"
#include "runtime/base/size.h"

/* ---- vaults ---------------------------------------------------------------------------------- */

kvh_vault kvh_vault_in_memory(void) {
    return (kvh_vault){.dirs = {"/kv"},
            .n_dirs = 1,
            .bytes_max = INT64_MAX / 2,
            .model = "kv=bf16\n",
            .shape = {RT_BF16, KVH_LAYERS, KVH_HEADS, KVH_HEAD_DIM}};
}

kvh_vault kvh_vault_new(int32_t n_dirs) {
    kvh_vault v = kvh_vault_in_memory();
    const char *base = getenv("TMPDIR");
    v.n_dirs = n_dirs;
    for (int32_t i = 0; i < n_dirs; i++) {
        (void)snprintf(v.dirs[i], sizeof v.dirs[i], "%s/kvh-vault.XXXXXX", base ? base : "/tmp");
        CHECK(mkdtemp(v.dirs[i]));
    }
    return v;
}

/* FNV-1a, spread over 32 bytes: any function of the text will do. */
static kv_hash fingerprint_of(const char *text) {
    kv_hash hash;
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++) h = (h ^ (uint8_t)*text) * 0x100000001b3u;
    for (int i = 0; i < KV_HASH_BYTES; i++) hash.bytes[i] = (uint8_t)(random_next(&h) >> 8);
    return hash;
}

rt_status kvh_vault_try_open(kvh_vault *v, kv_io *io) {
    const char *dirs[4];
    for (int32_t i = 0; i < v->n_dirs; i++) dirs[i] = v->dirs[i];
    v->io = io;
    if (!io) CHECK(kv_io_create(&(kv_io_config){.mode = KV_IO_PREAD}, &v->io) == RT_OK);
    const kv_vault_config config = {.io = v->io,
            .dirs = dirs,
            .n_dirs = v->n_dirs,
            .disk_bytes_max = v->bytes_max,
            .is_on_top = v->is_on_top,
            .shape = v->shape,
            .heads = v->heads,
            .fingerprint = fingerprint_of(v->model),
            .fingerprint_text = v->model};
    CHECK(kv_codec_create(rt_machine_isa(), &v->codec) == RT_OK);
    return kv_vault_open(&config, &v->vault);
}

void kvh_vault_open(kvh_vault *v, kv_io *io) {
    CHECK(kvh_vault_try_open(v, io) == RT_OK);
}

void kvh_vault_close(kvh_vault *v) {
    kv_vault_close(v->vault);
    if (v->io) CHECK(kv_io_close(v->io) == RT_OK);
    kv_codec_free(v->codec);
    v->vault = NULL;
    v->io = NULL;
    v->codec = NULL;
}

void kvh_vault_remove(kvh_vault *v) {
    kvh_vault_close(v);
    for (int32_t i = 0; i < v->n_dirs; i++) help_remove_dir(v->dirs[i]);
}

/* ---- contents -------------------------------------------------------------------------------- */

int32_t *kvh_ids(uint64_t seed, int64_t n) {
    int32_t *ids = malloc((size_t)n * sizeof *ids + 1);
    CHECK(ids);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(random_next(&seed) % 150000);
    return ids;
}

static void fill_run(const kv_run_address *address, const kv_run_shape *shape, void *raw) {
    uint64_t seed;
    memcpy(&seed, address->chain, sizeof seed);
    seed ^= (uint64_t)address->layer * 1000003 + (uint64_t)address->kv_head * 7919;
    const int64_t n = kv_run_raw_bytes(shape) / 8;
    for (int64_t i = 0; i < n; i++) ((uint64_t *)raw)[i] = random_next(&seed) & 0x80ff80ff80ff80ffu;
}

static void write_wait(
        kvh_vault *v, kv_file *file, int64_t offset, void *bytes, int64_t n, rt_status *status) {
    kv_io_op op = {.file = file,
            .is_write = true,
            .urgency = KV_IO_BEHIND,
            .bytes = bytes,
            .n_bytes = n,
            .offset = offset};
    kv_io_start(v->io, &op);
    *status = kv_io_wait(v->io, &op);
    while (op.is_in_flight) kv_io_poll(v->io);
}

static rt_status write_layer(kvh_vault *v, kv_writer *writer, int32_t layer) {
    const kv_run_shape shape = kv_segment_run_shape(kv_writer_header(writer));
    const int64_t room = kv_run_stored_bytes_max(&shape);
    char *raw = malloc((size_t)kv_run_raw_bytes(&shape));
    char *stored = aligned_alloc(4096, (size_t)(v->shape.n_kv_heads * room));
    CHECK(raw && stored);
    int64_t bytes[8], n = 0, offset;
    CHECK(v->shape.n_kv_heads <= 8);
    kv_file *file;
    rt_status status;
    for (int32_t head = 0; head < v->shape.n_kv_heads; head++) {
        const kv_run_address address = kv_writer_address(writer, layer, head);
        fill_run(&address, &shape, raw);
        bytes[head] = kv_run_encode(v->codec, &address, &shape, raw, stored + n);
        n += bytes[head];
    }
    kv_writer_place(writer, layer, bytes, &file, &offset);
    write_wait(v, file, offset, stored, n, &status);
    free(raw);
    free(stored);
    return status;
}

rt_status kvh_fill_segment(kvh_vault *v, kv_writer *writer, int32_t n_layers) {
    for (int32_t layer = v->shape.n_layers - 1; layer >= 0 && n_layers > 0; layer--)
        if (!kv_writer_has_layer(writer, layer)) {
            RT_TRY(write_layer(v, writer, layer));
            n_layers--;
        }
    return RT_OK;
}

rt_status kvh_write_segment(kvh_vault *v, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_hash *chain) {
    kv_writer *writer = NULL;
    if (chain) CHECK(kv_chain_next(parent, ids, n_tokens, chain) == RT_OK);
    RT_TRY(kv_writer_begin(v->vault, parent, first_pos, ids, n_tokens, &writer));
    if (!writer) return RT_OK;
    const rt_status status = kvh_fill_segment(v, writer, v->shape.n_layers);
    if (status == RT_OK) return kv_writer_finish(writer, NULL);
    kv_writer_abort(writer);
    return status;
}

rt_status kvh_write_first(kvh_vault *v, uint64_t seed, int32_t n_tokens, kv_hash *chain) {
    int32_t *ids = kvh_ids(seed, n_tokens);
    const rt_status status = kvh_write_segment(v, kv_vault_root(v->vault), 0, ids, n_tokens, chain);
    free(ids);
    return status;
}

int32_t kvh_write_prefix(kvh_vault *v, const int32_t *ids, int64_t n_tokens, kv_hash *chains) {
    kv_hash parent = *kv_vault_root(v->vault);
    int32_t n = 0;
    for (int64_t pos = 0; pos < n_tokens; pos += KV_SEGMENT_TOKENS) {
        const int32_t n_here = (int32_t)rt_min64(n_tokens - pos, KV_SEGMENT_TOKENS);
        kv_hash chain;
        CHECK(kvh_write_segment(v, &parent, pos, ids + pos, n_here, &chain) == RT_OK);
        if (chains) chains[n] = chain;
        parent = chain;
        n++;
    }
    return n;
}

/* ---- reading --------------------------------------------------------------------------------- */

static rt_status read_run(kvh_vault *v, const kv_segment *segment, int32_t layer, int32_t head) {
    const kv_run_place *run = &kv_segment_layer(segment, layer)[head];
    const kv_run_address address = kv_segment_address(segment, layer, head);
    const kv_run_shape shape = kv_segment_run_shape(kv_segment_header_of(segment));
    const size_t n_raw = (size_t)kv_run_raw_bytes(&shape);
    char *stored = aligned_alloc(4096, (size_t)run->n_bytes);
    char *raw = malloc(n_raw), *expected = malloc(n_raw);
    CHECK(stored && raw && expected);
    kv_io_op op = {.file = kv_segment_file(segment),
            .urgency = KV_IO_NOW,
            .bytes = stored,
            .n_bytes = run->n_bytes,
            .offset = run->offset};
    kv_io_start(v->io, &op);
    rt_status status = kv_io_wait(v->io, &op);
    while (op.is_in_flight) kv_io_poll(v->io);
    if (status == RT_OK)
        status = kv_run_decode(v->codec, &address, &shape, stored, run->n_bytes, raw);
    if (status == RT_OK) {
        fill_run(&address, &shape, expected);
        CHECK(memcmp(raw, expected, n_raw) == 0);
    }
    free(stored);
    free(raw);
    free(expected);
    return status;
}

rt_status kvh_read_segment(kvh_vault *v, const kv_segment *segment) {
    for (int32_t layer = 0; layer < v->shape.n_layers; layer++)
        for (int32_t head = 0; head < v->shape.n_kv_heads; head++)
            RT_TRY(read_run(v, segment, layer, head));
    return RT_OK;
}

int64_t kvh_find(kvh_vault *v, const int32_t *ids, int64_t n_ids, char *reason) {
    kv_prefix prefix;
    CHECK(kv_vault_find(v->vault, ids, n_ids, &prefix) == RT_OK);
    if (reason) memcpy(reason, prefix.reason, KV_REASON_BYTES);
    int64_t n_tokens = 0;
    for (int32_t i = 0; i < prefix.n_segments; i++) {
        const kv_segment_header *h = kv_segment_header_of(prefix.segments[i]);
        CHECK(h->first_pos == n_tokens);
        const rt_status status = kvh_read_segment(v, prefix.segments[i]);
        CHECK(status == RT_OK || status == RT_ECORRUPT || status == RT_EIO);
        if (status == RT_ECORRUPT) kv_segment_quarantine(prefix.segments[i], rt_error_text());
        if (status != RT_OK) break;
        n_tokens = rt_min64(h->first_pos + h->n_tokens, prefix.n_tokens);
    }
    CHECK(*prefix.reason);
    kv_prefix_free(&prefix);
    return n_tokens;
}

/* ---- directories ----------------------------------------------------------------------------- */

static int64_t n_counted;
static const char *counted_suffix;
static char found_path[4096];

static int add_blocks(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)path, (void)at;
    if (kind == FTW_NS) return 0; /* gone meanwhile */
    n_counted += (int64_t)st->st_blocks * 512;
    return 0;
}

int64_t kvh_du(const char *path) {
    n_counted = 0;
    CHECK(nftw(path, add_blocks, 16, FTW_PHYS) == 0);
    return n_counted;
}

static int match(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)at;
    const size_t n = strlen(path), n_suffix = strlen(counted_suffix);
    if (kind == FTW_D || n < n_suffix || strcmp(path + n - n_suffix, counted_suffix) != 0) return 0;
    n_counted++;
    (void)snprintf(found_path, sizeof found_path, "%s", path);
    return 0;
}

int64_t kvh_count_files(const char *path, const char *suffix) {
    n_counted = 0;
    counted_suffix = suffix;
    found_path[0] = 0;
    CHECK(nftw(path, match, 16, FTW_PHYS) == 0);
    return n_counted;
}

const char *kvh_only_file(const char *path, const char *suffix) {
    CHECK(kvh_count_files(path, suffix) <= 1);
    return found_path;
}

void kvh_spoil_last_layers(const char *path) {
    static const uint8_t zeros[512];
    struct stat st;
    const int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    for (int64_t at = st.st_size / 4096 / 2 * 4096; at < st.st_size - (16 << 10); at += 4096)
        CHECK(pwrite(fd, zeros, sizeof zeros, at) == sizeof zeros);
    CHECK(close(fd) == 0);
}

void kvh_flip(const char *path, int64_t at) {
    char byte;
    const int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 16;
    CHECK(pwrite(fd, &byte, 1, at) == 1 && close(fd) == 0);
}

/* State beside a suspended prefill, by byte offset; numbers little-endian:
 *
 *      0  u64  checksum: XXH3-64 of bytes 8 .. 4096
 *      8  u32  magic "KVST"
 *     12  u32  format version, 1
 *     16  u8   fingerprint[32]
 *     48  u8   key[32]
 *     80  u64  content: hash = XXH3-64(part, seeded with the hash of the parts before), 0 at first
 *     88  u32  n_parts
 *     92  u32  0
 *     96  i64  bytes of each part, n_parts of them
 *    ...       zeros
 *   4096       the parts, each from a multiple of 4096 on, zeros behind it
 *
 * The header is written last, the name given after a sync. */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/size.h"
#include "vault_inside.h"

enum { MAGIC = 0x5453564b, VERSION = 1, PARTS_MAX = 500 };

typedef struct state_header {
    uint64_t checksum;
    uint32_t magic;
    uint32_t version;
    kv_hash fingerprint, key;
    uint64_t content;
    uint32_t n_parts;
    uint32_t zero_92;
    int64_t part_bytes[PARTS_MAX];
} state_header;

_Static_assert(sizeof(state_header) == KV_BLOCK_BYTES, "as laid out above");

static state_header header_for(const kv_vault *vault, const kv_hash *key, const kv_part *parts,
        int32_t n_parts, uint64_t content) {
    state_header header = {.magic = MAGIC,
            .version = VERSION,
            .fingerprint = vault->fingerprint,
            .key = *key,
            .content = content,
            .n_parts = (uint32_t)n_parts};
    for (int32_t i = 0; i < n_parts; i++) header.part_bytes[i] = parts[i].n_bytes;
    header.checksum = kv_block_checksum(&header);
    return header;
}

static int64_t file_bytes(const kv_part *parts, int32_t n_parts) {
    int64_t n_bytes = KV_BLOCK_BYTES;
    for (int32_t i = 0; i < n_parts; i++) n_bytes += rt_round_up(parts[i].n_bytes, KV_BLOCK_BYTES);
    return n_bytes;
}

static uint64_t hash_parts(const kv_part *parts, int32_t n_parts) {
    uint64_t hash = 0;
    for (int32_t i = 0; i < n_parts; i++)
        hash = XXH3_64bits_withSeed(parts[i].bytes, (size_t)parts[i].n_bytes, hash);
    return hash;
}

/* ---- save ------------------------------------------------------------------------------------ */

static rt_status write_state(
        kv_vault *vault, kv_file *file, const kv_hash *key, const kv_part *parts, int32_t n_parts) {
    kv_blocks *blocks = vault->dirs.blocks;
    int64_t at = KV_BLOCK_BYTES;
    for (int32_t i = 0; i < n_parts; i++) {
        RT_TRY(kv_blocks_write(blocks, file, at, parts[i].n_bytes, parts[i].bytes));
        at += rt_round_up(parts[i].n_bytes, KV_BLOCK_BYTES);
    }
    const state_header header = header_for(vault, key, parts, n_parts, hash_parts(parts, n_parts));
    RT_TRY(kv_blocks_write(blocks, file, 0, sizeof header, &header));
    RT_TRY(kv_file_truncate(file, at));
    return kv_file_sync(file);
}

static rt_status create_state(kv_vault *vault, const kv_path *path, int32_t dir, int64_t n_bytes,
        kv_path *temporary, kv_file **file) {
    RT_TRY(kv_dirs_lock(&vault->dirs));
    rt_status status = kv_vault_save_fingerprint(vault);
    if (status == RT_OK) status = kv_vault_new_file(vault, dir, path, n_bytes, temporary, file);
    kv_dirs_unlock(&vault->dirs);
    return status;
}

rt_status kv_vault_save_state(
        kv_vault *vault, const kv_hash *key, const kv_part *parts, int32_t n_parts) {
    rt_assert(n_parts >= 0 && n_parts <= PARTS_MAX);
    const int32_t dir = kv_dirs_home(&vault->dirs, key);
    const kv_path path = kv_vault_path(vault, dir, key, ".state");
    kv_path temporary;
    kv_file *file = NULL;
    RT_TRY(create_state(vault, &path, dir, file_bytes(parts, n_parts), &temporary, &file));
    rt_status status = write_state(vault, file, key, parts, n_parts);
    if (status == RT_OK) status = kv_dirs_lock(&vault->dirs);
    if (status == RT_OK) {
        status = kv_vault_name_file(vault, &temporary, &path);
        kv_dirs_unlock(&vault->dirs);
    } else {
        kv_vault_discard(vault, temporary.text);
    }
    kv_blocks_close_file(vault->dirs.blocks, file);
    return status;
}

/* ---- load ------------------------------------------------------------------------------------ */

static rt_status read_state(
        kv_vault *vault, kv_file *file, const kv_hash *key, const kv_part *parts, int32_t n_parts) {
    kv_blocks *blocks = vault->dirs.blocks;
    state_header header;
    kv_io_stat st;
    RT_TRY(kv_file_stat(file, &st));
    if (st.n_bytes != file_bytes(parts, n_parts))
        return rt_fail(RT_ECORRUPT, "kvstore: the state has %" PRId64 " bytes, not %" PRId64,
                st.n_bytes, file_bytes(parts, n_parts));
    RT_TRY(kv_blocks_read(blocks, file, 0, sizeof header, &header));
    const state_header expected = header_for(vault, key, parts, n_parts, header.content);
    if (memcmp(&header, &expected, sizeof header) != 0)
        return rt_fail(RT_ECORRUPT, "kvstore: the state's header is not what it must be");
    int64_t at = KV_BLOCK_BYTES;
    for (int32_t i = 0; i < n_parts; i++) {
        RT_TRY(kv_blocks_read(blocks, file, at, parts[i].n_bytes, parts[i].bytes));
        at += rt_round_up(parts[i].n_bytes, KV_BLOCK_BYTES);
    }
    if (hash_parts(parts, n_parts) == header.content) return RT_OK;
    return rt_fail(RT_ECORRUPT, "kvstore: the state's bytes do not have their checksum");
}

static rt_status load_from(kv_vault *vault, const kv_path *path, const kv_hash *key,
        const kv_part *parts, int32_t n_parts, bool *found) {
    kv_io_stat st;
    kv_file *file = NULL;
    RT_TRY(kv_path_stat(vault->dirs.io, path->text, &st, found));
    *found = *found && st.is_file;
    if (!*found) return RT_OK;
    *found = false;
    RT_TRY(kv_file_open(vault->dirs.io, path->text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, &file));
    const rt_status status = read_state(vault, file, key, parts, n_parts);
    kv_blocks_close_file(vault->dirs.blocks, file);
    if (status == RT_ECORRUPT) kv_dirs_quarantine(&vault->dirs, path->text, rt_error_text());
    *found = status == RT_OK;
    return status;
}

rt_status kv_vault_load_state(
        kv_vault *vault, const kv_hash *key, const kv_part *parts, int32_t n_parts, bool *found) {
    rt_assert(n_parts >= 0 && n_parts <= PARTS_MAX);
    *found = false;
    for (int32_t dir = 0; dir < vault->dirs.n_dirs && !*found; dir++) {
        const kv_path path = kv_vault_path(vault, dir, key, ".state");
        if (load_from(vault, &path, key, parts, n_parts, found) == RT_ENOMEM) return RT_ENOMEM;
    }
    return RT_OK;
}

void kv_vault_drop_state(kv_vault *vault, const kv_hash *key) {
    for (int32_t dir = 0; dir < vault->dirs.n_dirs; dir++) {
        const kv_path path = kv_vault_path(vault, dir, key, ".state");
        kv_vault_discard(vault, path.text);
    }
}

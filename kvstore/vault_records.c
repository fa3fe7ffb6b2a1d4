/* State in records, by byte offset; numbers little-endian:
 *
 *      0  u64  checksum: XXH3-64 of bytes 8 .. 4096
 *      8  u32  magic "KVST"
 *     12  u32  format version, 2 (1 is vault_state.c's)
 *     16  u8   fingerprint[32]
 *     48  u8   key[32]
 *     80  u64  hash of the last record, 0 where there is none: the header is of these records
 *     88  i64  bytes of all records
 *     96  u8   note of the caller's, zeros behind it
 *   4096       records, one after another: bytes, then u64 hash = XXH3-64(bytes, seeded with the hash of the record
 *              before, at first 0); zeros up to a multiple of 4096
 *
 * However many they are, one file is synced once, and named once: the header is written after the records, the name
 * given after the sync. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_inside.h"

enum { MAGIC = 0x5453564b, VERSION = 2, BUFFER_BYTES = 1 << 20 };

typedef struct records_header {
    uint64_t checksum;
    uint32_t magic;
    uint32_t version;
    kv_hash fingerprint, key;
    uint64_t last;
    int64_t n_bytes;
    uint8_t note[KV_BLOCK_BYTES - 96];
} records_header;

_Static_assert(sizeof(records_header) == KV_BLOCK_BYTES, "as laid out above");

struct kv_records {
    kv_vault *vault;
    kv_hash key;
    kv_path path, temporary;
    kv_file *file;
    bool is_written; /* or read */
    uint64_t last;   /* hash of the record before */
    uint64_t end;    /* read: of the last record, as the header has it */
    int64_t n_bytes; /* of records, written or to be read */
    int64_t at;      /* written: in the file, where the buffer goes next */
    int64_t n_held;  /* in the buffer */
    char *buffer;    /* written: BUFFER_BYTES */
    kv_reader *reader;
};

static rt_status new_records(kv_vault *vault, const kv_hash *key, kv_records **out) {
    kv_records *r = NULL;
    RT_TRY(rt_calloc(1, sizeof *r, "state in records", &r));
    *r = (kv_records){.vault = vault, .key = *key, .at = KV_BLOCK_BYTES};
    *out = r;
    return RT_OK;
}

static void free_records(kv_records *r) {
    kv_reader_close(r->reader);
    kv_blocks_close_file(r->vault->dirs.blocks, r->file);
    free(r->buffer);
    free(r);
}

void kv_records_end(kv_records *r) {
    if (!r) return;
    if (r->is_written) {
        const rt_status ignored = kv_blocks_settle(r->vault->dirs.blocks);
        (void)ignored;
        kv_vault_discard(r->vault, r->temporary.text);
    }
    free_records(r);
}

void kv_records_drop(kv_records *r) {
    kv_vault *vault = r->vault;
    const kv_hash key = r->key;
    kv_records_end(r);
    kv_vault_drop_state(vault, &key);
}

/* ---- writing --------------------------------------------------------------------------------- */

static rt_status create_file(kv_records *r, int64_t bytes_max) {
    kv_vault *vault = r->vault;
    const int32_t dir = kv_dirs_home(&vault->dirs, &r->key);
    r->path = kv_vault_path(vault, dir, &r->key, ".state");
    RT_TRY(kv_dirs_lock(&vault->dirs));
    rt_status status = kv_vault_save_fingerprint(vault);
    if (status == RT_OK)
        status = kv_vault_new_file(vault, dir, &r->path, bytes_max, &r->temporary, &r->file);
    kv_dirs_unlock(&vault->dirs);
    return status;
}

int64_t kv_record_bytes(int64_t n_bytes) {
    return n_bytes + (int64_t)sizeof(uint64_t);
}

rt_status kv_records_begin(
        kv_vault *vault, const kv_hash *key, int64_t bytes_max, kv_records **out) {
    kv_records *r = NULL;
    *out = NULL;
    RT_TRY(new_records(vault, key, &r));
    void *buffer = NULL;
    rt_status status = rt_malloc(BUFFER_BYTES, "a buffer for state", &buffer);
    r->buffer = buffer;
    if (status == RT_OK)
        status = create_file(r, KV_BLOCK_BYTES + rt_round_up(bytes_max, KV_BLOCK_BYTES));
    if (status != RT_OK) {
        free_records(r);
        return status;
    }
    r->is_written = true;
    *out = r;
    return RT_OK;
}

static void flush(kv_records *r) {
    kv_blocks_queue(r->vault->dirs.blocks, r->file, r->at, r->n_held, r->buffer);
    r->at += rt_round_up(r->n_held, KV_BLOCK_BYTES);
    r->n_held = 0;
}

static void append(kv_records *r, const void *bytes, int64_t n_bytes) {
    for (int64_t done = 0, n; done < n_bytes; done += n) {
        n = rt_min64(n_bytes - done, BUFFER_BYTES - r->n_held);
        memcpy(r->buffer + r->n_held, (const char *)bytes + done, (size_t)n);
        r->n_held += n;
        if (r->n_held == BUFFER_BYTES) flush(r);
    }
    r->n_bytes += n_bytes;
}

void kv_records_add(kv_records *r, const void *bytes, int64_t n_bytes) {
    rt_assert(r->is_written);
    r->last = XXH3_64bits_withSeed(bytes, (size_t)n_bytes, r->last);
    append(r, bytes, n_bytes);
    append(r, &r->last, sizeof r->last);
}

static rt_status complete_file(kv_records *r, const void *note, int64_t note_bytes) {
    kv_blocks *blocks = r->vault->dirs.blocks;
    records_header header = {.magic = MAGIC,
            .version = VERSION,
            .fingerprint = r->vault->fingerprint,
            .key = r->key,
            .last = r->last,
            .n_bytes = r->n_bytes};
    memcpy(header.note, note, (size_t)note_bytes);
    header.checksum = kv_block_checksum(&header);
    flush(r);
    RT_TRY(kv_blocks_settle(blocks));
    RT_TRY(kv_blocks_write(blocks, r->file, 0, sizeof header, &header));
    RT_TRY(kv_file_truncate(r->file, r->at));
    return kv_file_sync(r->file);
}

rt_status kv_records_finish(kv_records *r, const void *note, int64_t note_bytes) {
    kv_vault *vault = r->vault;
    rt_assert(r->is_written && note_bytes <= (int64_t)sizeof((records_header *)0)->note);
    rt_status status = complete_file(r, note, note_bytes);
    if (status == RT_OK) status = kv_dirs_lock(&vault->dirs);
    if (status != RT_OK) {
        kv_records_end(r);
        return status;
    }
    status = kv_vault_name_file(vault, &r->temporary, &r->path);
    kv_dirs_unlock(&vault->dirs);
    free_records(r);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Whoever has computed for hours what is begun anew is told why. */
static void tell_unread(void) {
    rt_log(RT_LOG_WARN, "kvstore",
            "of a prefill that was stopped not all can be read, and it begins anew: %s",
            rt_error_text());
}

static rt_status corrupt(const kv_records *r) {
    return rt_fail(RT_ECORRUPT, "kvstore: %s is not the state that it must be", r->path.text);
}

/* One of version 1 is no failure, and stays until room is needed. */
static rt_status read_header(kv_records *r, void *note, int64_t note_bytes) {
    records_header header;
    kv_io_stat st;
    RT_TRY(kv_file_stat(r->file, &st));
    if (st.n_bytes < KV_BLOCK_BYTES) return corrupt(r);
    RT_TRY(kv_blocks_read(r->vault->dirs.blocks, r->file, 0, sizeof header, &header));
    if (header.checksum != kv_block_checksum(&header) || header.magic != MAGIC) return corrupt(r);
    if (header.version != VERSION)
        return rt_fail(RT_EUNSUPPORTED, "kvstore: %s is of another format version", r->path.text);
    if (!kv_hash_equal(&header.fingerprint, &r->vault->fingerprint) ||
            !kv_hash_equal(&header.key, &r->key) || header.n_bytes < 0 ||
            header.n_bytes > st.n_bytes - KV_BLOCK_BYTES)
        return corrupt(r);
    memcpy(note, header.note, (size_t)note_bytes);
    r->n_bytes = header.n_bytes;
    r->end = header.last;
    return kv_reader_open(
            r->vault->dirs.blocks, r->file, KV_BLOCK_BYTES, header.n_bytes, &r->reader);
}

/* It is held while it is read: what goes on with it needs room, and it is not to make way for that. */
static rt_status open_in(
        kv_records *r, int32_t dir, void *note, int64_t note_bytes, bool *is_there) {
    kv_vault *vault = r->vault;
    kv_io_stat st;
    r->path = kv_vault_path(vault, dir, &r->key, ".state");
    RT_TRY(kv_path_stat(vault->dirs.io, r->path.text, &st, is_there));
    *is_there = *is_there && st.is_file;
    if (!*is_there) return RT_OK;
    *is_there = false;
    RT_TRY(kv_file_open(
            vault->dirs.io, r->path.text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, &r->file));
    rt_status status = kv_dirs_hold(r->file);
    if (status == RT_OK) status = read_header(r, note, note_bytes);
    *is_there = status == RT_OK;
    if (*is_there) return RT_OK;
    kv_blocks_close_file(vault->dirs.blocks, r->file);
    r->file = NULL;
    if (status == RT_ECORRUPT) kv_dirs_quarantine(&vault->dirs, r->path.text, rt_error_text());
    return status;
}

rt_status kv_records_open(
        kv_vault *vault, const kv_hash *key, void *note, int64_t note_bytes, kv_records **out) {
    kv_records *r = NULL;
    bool is_there = false;
    rt_status status = RT_OK;
    *out = NULL;
    RT_TRY(new_records(vault, key, &r));
    for (int32_t dir = 0; dir < vault->dirs.n_dirs && !is_there && status != RT_ENOMEM; dir++) {
        status = open_in(r, dir, note, note_bytes, &is_there);
        if (status == RT_EIO) tell_unread();
    }
    if (is_there)
        *out = r;
    else
        free_records(r);
    return status == RT_ENOMEM ? status : RT_OK;
}

static rt_status take(kv_records *r, void *bytes, int64_t n_bytes) {
    if (n_bytes > r->n_bytes) return corrupt(r);
    r->n_bytes -= n_bytes;
    return kv_reader_take(r->reader, bytes, n_bytes);
}

static rt_status read_record(kv_records *r, void *bytes, int64_t n_bytes) {
    uint64_t hash = 0;
    RT_TRY(take(r, bytes, n_bytes));
    RT_TRY(take(r, &hash, sizeof hash));
    r->last = XXH3_64bits_withSeed(bytes, (size_t)n_bytes, r->last);
    const bool is_another = r->n_bytes == 0 && hash != r->end; /* state's, if all of it verifies */
    return hash == r->last && !is_another ? RT_OK : corrupt(r);
}

rt_status kv_records_read(kv_records *r, void *bytes, int64_t n_bytes, bool *is_there) {
    rt_assert(!r->is_written);
    const rt_status status = read_record(r, bytes, n_bytes);
    *is_there = status == RT_OK;
    if (status == RT_ECORRUPT) {
        kv_dirs_quarantine(&r->vault->dirs, r->path.text, rt_error_text());
        r->n_bytes = 0; /* no more of it */
    }
    if (status == RT_EIO) tell_unread();
    return status == RT_ENOMEM ? status : RT_OK;
}

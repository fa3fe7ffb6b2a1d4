/* Memory that stored extents pass through: its size, and runs in it <-> canonical rows. The slots' way is in
 * staging_slots.c. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "stored.h"

enum { BYTES_IN_FLIGHT = 4 << 20, DEPTH_AHEAD_MAX = 16, WIDE_WINDOW = 4 };

/* ---- sizes ----------------------------------------------------------------------------------- */

static int64_t run_stored_max(const kv_config *config) {
    const kv_run_shape shape = kv_run_shape_of(&config->shape, config->overflow.extent_tokens);
    return kv_run_stored_bytes_max(&shape);
}

static int64_t rows_bytes(const kv_config *config) {
    const kv_run_shape shape = kv_run_shape_of(&config->shape, config->overflow.extent_tokens);
    return rt_round_up(kv_run_raw_bytes(&shape), KV_IO_ALIGN);
}

/* A window, and what is read ahead meanwhile: an extent, or, where extents are so small that the way to
 * the disk is long for one, all of the next window. */
int32_t kv_staging_slots(const kv_config *config) {
    const int32_t n_window = config->overflow.window_extents;
    return n_window + (n_window >= WIDE_WINDOW ? n_window : 1) + KV_SLOTS_FOR_WRITES;
}

int64_t kv_cell_bytes(const kv_config *config) {
    return config->shape.n_kv_heads * run_stored_max(config);
}

int64_t kv_host_cell_bytes(const kv_config *config) {
    return config->shape.n_kv_heads * rows_bytes(config);
}

int64_t kv_staging_bytes(const kv_config *config) {
    return KV_IO_ALIGN + kv_staging_slots(config) * kv_cell_bytes(config) +
           config->overflow.n_threads * rows_bytes(config);
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* Enough to keep every drive busy and no more: a drive serves all it is asked for side by side, so that
 * with more the first extent would come late and the last ones all at once. Beside a device a window comes as one, and
 * whoever waits for that device meanwhile starts no other read: all of one are on their way. */
static int32_t depth_ahead(const kv_config *config) {
    const int64_t n = rt_div_up(BYTES_IN_FLIGHT, kv_cell_bytes(config)) * config->overflow.n_dirs;
    const int64_t n_window = config->device ? config->overflow.window_extents : 1;
    return (int32_t)rt_min64(rt_max64(n, n_window), DEPTH_AHEAD_MAX);
}

static rt_status create_io(const kv_config *config, kv_io **out) {
    static const kv_io_mode modes[] = {[KV_IO_CHOOSE] = KV_IO_AUTO,
            [KV_IO_ONLY_URING] = KV_IO_URING,
            [KV_IO_ONLY_PREAD] = KV_IO_PREAD};
    const kv_io_config io = {
            .mode = modes[config->overflow.io], .depth = {[KV_IO_AHEAD] = depth_ahead(config)}};
    return kv_io_create(&io, out);
}

static rt_status open_codecs(const kv_config *config, kv_staging *s) {
    const int32_t n = config->overflow.n_threads;
    RT_TRY(rt_calloc(n, sizeof *s->codecs, "codecs", &s->codecs));
    RT_TRY(rt_calloc(n, sizeof *s->rows, "rows", &s->rows));
    for (; s->n_threads < n; s->n_threads++)
        RT_TRY(kv_codec_create(config->overflow.isa, &s->codecs[s->n_threads]));
    return RT_OK;
}

static rt_status open_memory(const kv_config *config, kv_staging *s) {
    void *memory = NULL;
    RT_TRY(rt_calloc(kv_staging_slots(config), sizeof *s->slots, "staging", &s->slots));
    s->memory_bytes = kv_staging_bytes(config);
    RT_TRY(rt_mem_alloc(s->memory_bytes, "staging for the disk", &memory));
    s->memory = memory;
    s->n_slots = kv_staging_slots(config);
    s->n_spared = KV_SLOTS_FOR_WRITES;
    const int64_t cell_bytes = kv_cell_bytes(config);
    char *slots = s->memory + (KV_IO_ALIGN - (uintptr_t)s->memory % KV_IO_ALIGN) % KV_IO_ALIGN;
    for (int32_t i = 0; i < s->n_slots; i++) s->slots[i].bytes = slots + i * cell_bytes;
    char *rows = slots + s->n_slots * cell_bytes;
    for (int32_t i = 0; i < s->n_threads; i++) s->rows[i] = rows + i * rows_bytes(config);
    (void)kv_io_lend(s->io, slots, s->n_slots * cell_bytes);
    return RT_OK;
}

/* Where extents stay as they are, in front of the disk. */
static rt_status open_host(const kv_config *config, kv_staging *s) {
    const int64_t bytes = kv_host_cell_bytes(config);
    const int64_t n = config->overflow.host_bytes / bytes;
    void *memory = NULL;
    if (n == 0) return RT_OK;
    if (s->device)
        RT_TRY(s->device->pin(s->device, n * bytes, "KV in the host's memory", &memory));
    else
        RT_TRY(rt_mem_alloc(n * bytes, "KV in the host's memory", &memory));
    s->host = (kv_host_cells){.memory = memory, .bytes = bytes, .n = n};
    return RT_OK;
}

static void close_host(kv_staging *s) {
    if (s->host.n == 0) return;
    if (s->device)
        s->device->unpin(s->device, s->host.memory);
    else
        rt_mem_free(s->host.memory, s->host.n * s->host.bytes);
    s->host = (kv_host_cells){0};
}

static rt_status open_parts(const kv_config *config, kv_staging *s) {
    const kv_overflow *to = &config->overflow;
    if (getrandom(s->salt, sizeof s->salt, 0) != (ssize_t)sizeof s->salt)
        return rt_fail_errno(RT_EIO, "kvstore: no random numbers");
    if (!s->io) RT_TRY(create_io(config, &s->io));
    RT_TRY(open_host(config, s));
    RT_TRY(kv_scratch_open(s->io, to->dirs, to->n_dirs, kv_cell_bytes(config), to->bytes_max,
            &s->host, &s->scratch));
    /* Extents on their way out hold a cell each before the one they replace is given back. */
    RT_TRY(kv_scratch_reserve(s->scratch, kv_staging_slots(config)));
    RT_TRY(open_codecs(config, s));
    return open_memory(config, s);
}

rt_status kv_staging_open(const kv_config *config, kv_staging *out) {
    rt_assert(config->shape.n_kv_heads <= KV_HEADS_MAX);
    *out = (kv_staging){.io = out->io,
            .device = config->device,
            .shape = config->shape,
            .extent_tokens = config->overflow.extent_tokens,
            .run_bytes_max = run_stored_max(config),
            .rows_bytes = rows_bytes(config),
            .n_drives = config->overflow.n_dirs,
            .packing = config->overflow.packing == KV_PACKING_PLAIN ? KV_PACK_PLAIN : KV_PACK_DENSE,
            .chooses_packing =
                    config->overflow.packing == KV_PACKING_CHOOSE &&
                    (config->shape.dtype == RT_FP8 || !kv_dtype_is_sealed(config->shape.dtype))};
    const rt_status status = open_parts(config, out);
    if (status != RT_OK) (void)kv_staging_close(out);
    return status;
}

bool kv_staging_close(kv_staging *s) {
    if (s->slots) {
        kv_staging_forget_reads(s);
        kv_staging_forget_early(s);
        kv_staging_settle_file(s, NULL);
    }
    if (s->scratch) {
        kv_scratch_unreserve(s->scratch, s->n_slots);
        kv_scratch_close(s->scratch);
        s->scratch = NULL;
    }
    close_host(s);
    if (kv_io_close(s->io) != RT_OK) return false;
    for (int32_t i = 0; i < s->n_threads; i++) kv_codec_free(s->codecs[i]);
    free(s->codecs);
    free(s->rows);
    free(s->slots);
    if (s->memory) rt_mem_free(s->memory, s->memory_bytes);
    *s = (kv_staging){0};
    return true;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static kv_run_address address_of(const kv_stored *stored, int32_t kv_head) {
    kv_run_address address = stored->address;
    address.kv_head += kv_head;
    return address;
}

kv_rows kv_staging_rows_like(
        kv_staging *s, const kv_run_shape *shape, int32_t kv_head, int thread) {
    rt_assert(kv_run_raw_bytes(shape) <= s->rows_bytes);
    rt_assert(thread >= 0 && thread < s->n_threads);
    char *k = s->rows[thread];
    return (kv_rows){.kv_head = kv_head,
            .n_tokens = shape->n_tokens,
            .k = k,
            .v = kv_dtype_is_sealed(shape->dtype) ? NULL : k + kv_run_raw_bytes(shape) / 2};
}

kv_rows kv_staging_rows(kv_staging *s, const kv_stored *stored, int32_t kv_head, int thread) {
    const kv_run_shape shape = kv_run_shape_of(&s->shape, stored->n_tokens);
    return kv_staging_rows_like(s, &shape, kv_head, thread);
}

rt_status kv_staging_decode(kv_staging *s, const kv_slot *slot, int32_t kv_head, int thread,
        int32_t first, kv_rows *out) {
    const kv_stored *stored = slot->stored;
    const kv_codec *codec = s->codecs[thread];
    const kv_run_address address = address_of(stored, kv_head);
    const kv_run_shape shape = kv_run_shape_of(&s->shape, stored->n_tokens);
    const char *bytes = slot->bytes + kv_stored_run_offset(stored, kv_head);
    if (first == 0)
        RT_TRY(kv_run_check(codec, &address, &shape, bytes, stored->run_bytes[kv_head]));
    const kv_run_shape part =
            kv_run_shape_of(&s->shape, (int32_t)rt_min64(stored->n_tokens - first, KV_TILE_TOKENS));
    *out = kv_staging_rows_like(s, &part, kv_head, thread);
    return kv_run_decode_rows(s->codecs[thread], &address, &shape, bytes, first, out->k, out->v);
}

/* A page that is not full was never sealed. */
static void clear_last_page(const kv_run_shape *shape, char *raw) {
    if (!kv_dtype_is_sealed(shape->dtype) || shape->n_tokens % KV_SEALED_TOKENS == 0) return;
    const int64_t n_bytes = kv_sealed_page_bytes(shape->dtype, shape->head_dim);
    memset(raw + shape->n_tokens / KV_SEALED_TOKENS * n_bytes, 0, (size_t)n_bytes);
}

void kv_staging_encode(kv_staging *s, kv_slot *slot, int32_t kv_head, int thread) {
    kv_stored *stored = slot->stored;
    const kv_run_address address = address_of(stored, kv_head);
    const kv_run_shape shape = kv_run_shape_of(&s->shape, stored->n_tokens);
    clear_last_page(&shape, s->rows[thread]);
    kv_codec_pack(s->codecs[thread], s->packing);
    stored->run_bytes[kv_head] = (int32_t)kv_run_encode(s->codecs[thread], &address, &shape,
            s->rows[thread], slot->bytes + kv_head * s->run_bytes_max);
}

kv_rows kv_staging_piece(
        kv_staging *s, const kv_stored *stored, int32_t kv_head, int32_t first, int thread) {
    if (first >= stored->n_tokens) return (kv_rows){.kv_head = kv_head};
    const kv_run_shape part =
            kv_run_shape_of(&s->shape, (int32_t)rt_min64(stored->n_tokens - first, KV_TILE_TOKENS));
    return kv_staging_rows_like(s, &part, kv_head, thread);
}

void kv_staging_encode_piece(
        kv_staging *s, kv_slot *slot, const kv_rows *piece, int32_t first, int thread) {
    kv_stored *stored = slot->stored;
    kv_codec *codec = s->codecs[thread];
    const int32_t head = piece->kv_head;
    const kv_run_shape shape = kv_run_shape_of(&s->shape, stored->n_tokens);
    const kv_run_shape part = kv_run_shape_of(&s->shape, piece->n_tokens);
    char *bytes = slot->bytes + head * s->run_bytes_max;
    clear_last_page(&part, piece->k);
    kv_codec_pack(codec, s->packing);
    kv_run_encode_rows(codec, &shape, first, piece->k, piece->v, bytes);
    if (atomic_fetch_sub(&slot->n_unencoded[head], 1) > 1) return;
    const kv_run_address address = address_of(stored, head);
    stored->run_bytes[head] = (int32_t)kv_run_pack(codec, &address, &shape, bytes);
}

int64_t kv_staging_run_bytes(const kv_staging *s, const kv_stored *stored) {
    const kv_run_shape shape = kv_run_shape_of(&s->shape, stored->n_tokens);
    return kv_run_raw_bytes(&shape);
}

rt_status kv_staging_decode_run(kv_staging *s, const kv_slot *slot, int32_t kv_head) {
    const kv_stored *stored = slot->stored;
    const kv_run_address address = address_of(stored, kv_head);
    const kv_run_shape shape = kv_run_shape_of(&s->shape, stored->n_tokens);
    return kv_run_decode(s->codecs[0], &address, &shape, slot->bytes + kv_head * s->run_bytes_max,
            stored->run_bytes[kv_head], s->rows[0]);
}

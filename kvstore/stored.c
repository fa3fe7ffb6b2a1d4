/* A slot's way:
 *
 *     FREE --read--> READING --wait--> FULL --free_slot--> FREE
 *     FREE --take, encode, write--> WRITING --poll--> FREE
 *
 * A slot whose operation was given up while the kernel still has it stays where it is until the
 * answer comes: poll frees it then. */
#include "stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { SLOTS_FOR_WRITES = 2, BYTES_IN_FLIGHT = 4 << 20, DEPTH_AHEAD_MAX = 16, WIDE_WINDOW = 4 };

/* ---- sizes ----------------------------------------------------------------------------------- */

static kv_run_shape run_shape(const kv_shape *shape, int32_t n_tokens) {
    return (kv_run_shape){.dtype = shape->dtype, .head_dim = shape->head_dim, .n_tokens = n_tokens};
}

static int64_t run_stored_max(const kv_config *config) {
    const kv_run_shape shape = run_shape(&config->shape, config->overflow.extent_tokens);
    return kv_run_stored_bytes_max(&shape);
}

static int64_t rows_bytes(const kv_config *config) {
    const kv_run_shape shape = run_shape(&config->shape, config->overflow.extent_tokens);
    return rt_round_up(kv_run_raw_bytes(&shape), KV_IO_ALIGN);
}

/* A window, and what is read ahead meanwhile: an extent, or, where extents are so small that the way to
 * the disk is long for one, all of the next window. */
int32_t kv_staging_slots(const kv_config *config) {
    const int32_t n_window = config->overflow.window_extents;
    return n_window + (n_window >= WIDE_WINDOW ? n_window : 1) + SLOTS_FOR_WRITES;
}

int64_t kv_cell_bytes(const kv_config *config) {
    return config->shape.n_kv_heads * run_stored_max(config);
}

int64_t kv_staging_bytes(const kv_config *config) {
    return KV_IO_ALIGN + kv_staging_slots(config) * kv_cell_bytes(config) +
           config->overflow.n_threads * rows_bytes(config);
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* Enough to keep every drive busy and no more: a drive serves all it is asked for side by side, so that
 * with more the first extent would come late and the last ones all at once. */
static int32_t depth_ahead(const kv_config *config) {
    const int64_t n = rt_div_up(BYTES_IN_FLIGHT, kv_cell_bytes(config));
    return (int32_t)rt_min64(n * config->overflow.n_dirs, DEPTH_AHEAD_MAX);
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
    const int64_t cell_bytes = kv_cell_bytes(config);
    char *slots = s->memory + (KV_IO_ALIGN - (uintptr_t)s->memory % KV_IO_ALIGN) % KV_IO_ALIGN;
    for (int32_t i = 0; i < s->n_slots; i++) s->slots[i].bytes = slots + i * cell_bytes;
    char *rows = slots + s->n_slots * cell_bytes;
    for (int32_t i = 0; i < s->n_threads; i++) s->rows[i] = rows + i * rows_bytes(config);
    (void)kv_io_lend(s->io, slots, s->n_slots * cell_bytes);
    return RT_OK;
}

static rt_status open_parts(const kv_config *config, kv_staging *s) {
    const kv_overflow *to = &config->overflow;
    if (getrandom(s->salt, sizeof s->salt, 0) != (ssize_t)sizeof s->salt)
        return rt_fail_errno(RT_EIO, "kvstore: no random numbers");
    if (!s->io) RT_TRY(create_io(config, &s->io));
    RT_TRY(kv_scratch_open(
            s->io, to->dirs, to->n_dirs, kv_cell_bytes(config), to->bytes_max, &s->scratch));
    /* Extents on their way out hold a cell each before the one they replace is given back. */
    RT_TRY(kv_scratch_reserve(s->scratch, kv_staging_slots(config)));
    RT_TRY(open_codecs(config, s));
    return open_memory(config, s);
}

rt_status kv_staging_open(const kv_config *config, kv_staging *out) {
    rt_assert(config->shape.n_kv_heads <= KV_HEADS_MAX);
    *out = (kv_staging){.io = out->io,
            .shape = config->shape,
            .extent_tokens = config->overflow.extent_tokens,
            .run_bytes_max = run_stored_max(config),
            .rows_bytes = rows_bytes(config),
            .n_drives = config->overflow.n_dirs,
            .packing = config->overflow.packing == KV_PACKING_PLAIN ? KV_PACK_PLAIN : KV_PACK_DENSE,
            .chooses_packing = config->overflow.packing == KV_PACKING_CHOOSE &&
                               !kv_dtype_is_sealed(config->shape.dtype)};
    const rt_status status = open_parts(config, out);
    if (status != RT_OK) (void)kv_staging_close(out);
    return status;
}

void kv_staging_settle_file(kv_staging *s, const kv_file *file) {
    for (int32_t i = 0; i < s->n_slots; i++) {
        kv_slot *slot = &s->slots[i];
        const bool is_going = slot->state == KV_SLOT_READING || slot->state == KV_SLOT_WRITING;
        if (!is_going || (file && slot->op.file != file)) continue;
        if (!slot->op.is_done) (void)!kv_io_wait(s->io, &slot->op);
        if (slot->is_early) slot->stored = NULL;
    }
    kv_staging_poll(s);
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
    if (kv_io_close(s->io) != RT_OK) return false;
    for (int32_t i = 0; i < s->n_threads; i++) kv_codec_free(s->codecs[i]);
    free(s->codecs);
    free(s->rows);
    free(s->slots);
    if (s->memory) rt_mem_free(s->memory, s->memory_bytes);
    *s = (kv_staging){0};
    return true;
}

/* ---- stored extents -------------------------------------------------------------------------- */

static rt_status allocate(
        const kv_staging *s, int32_t layer, int64_t first_pos, int32_t n_tokens, kv_stored **out) {
    kv_stored *stored = NULL;
    RT_TRY(rt_calloc(1,
            (int64_t)(sizeof *stored + (size_t)s->shape.n_kv_heads * sizeof *stored->run_bytes),
            "a stored extent", &stored));
    stored->refs = 1;
    stored->layer = layer;
    stored->first_pos = first_pos;
    stored->n_tokens = n_tokens;
    stored->cell = -1;
    *out = stored;
    return RT_OK;
}

static void put_in_cell(kv_staging *s, kv_stored *stored) {
    stored->cell = kv_scratch_take(s->scratch);
    stored->file = kv_scratch_file(s->scratch, stored->cell);
    stored->offset = kv_scratch_offset(s->scratch, stored->cell);
    stored->address = (kv_run_address){
            .generation = ++s->generation, .first_pos = stored->first_pos, .layer = stored->layer};
    memcpy(stored->address.chain, s->salt, sizeof stored->address.chain);
}

rt_status kv_stored_create(kv_staging *s, int32_t layer, int64_t first_pos, int32_t n_tokens,
        kv_writer *writer, kv_slot *slot, kv_stored **out) {
    kv_stored *stored = NULL;
    RT_TRY(allocate(s, layer, first_pos, n_tokens, &stored));
    if (writer) {
        stored->writer = writer;
        stored->address = kv_writer_address(writer, layer, 0);
    } else {
        put_in_cell(s, stored);
    }
    stored->writing = slot;
    slot->stored = stored;
    *out = stored;
    return RT_OK;
}

static void put_at(const kv_staging *s, const kv_run_place *places, kv_stored *stored) {
    stored->offset = places[0].offset;
    for (int32_t head = 0; head < s->shape.n_kv_heads; head++)
        stored->run_bytes[head] = (int32_t)places[head].n_bytes;
}

rt_status kv_stored_open(
        kv_staging *s, kv_shared_segment *segment, int32_t layer, kv_stored **out) {
    const kv_segment_header *header = kv_segment_header_of(segment->segment);
    const kv_run_place *places = kv_segment_layer(segment->segment, layer);
    kv_stored *stored = NULL;
    RT_TRY(allocate(s, layer, header->first_pos, header->n_tokens, &stored));
    stored->address = kv_segment_address(segment->segment, layer, 0);
    put_at(s, places, stored);
    kv_stored_move(stored, segment);
    *out = stored;
    return RT_OK;
}

rt_status kv_stored_reopen(kv_staging *s, kv_writer *writer, int32_t layer, kv_stored **out) {
    const kv_segment_header *header = kv_writer_header(writer);
    kv_stored *stored = NULL;
    RT_TRY(allocate(s, layer, header->first_pos, header->n_tokens, &stored));
    stored->address = kv_writer_address(writer, layer, 0);
    stored->writer = writer;
    stored->file = kv_writer_file(writer);
    put_at(s, kv_writer_layer(writer, layer), stored);
    *out = stored;
    return RT_OK;
}

void kv_stored_move(kv_stored *stored, kv_shared_segment *segment) {
    segment->refs++;
    stored->segment = segment;
    stored->writer = NULL;
    stored->file = kv_segment_file(segment->segment);
}

kv_stored *kv_stored_share(kv_stored *stored) {
    if (stored) stored->refs++;
    return stored;
}

/* ---- segments -------------------------------------------------------------------------------- */

rt_status kv_shared_segment_create(kv_segment *segment, kv_shared_segment **out) {
    kv_shared_segment *shared = NULL;
    const rt_status status = rt_calloc(1, sizeof *shared, "a segment", &shared);
    if (status != RT_OK) {
        kv_segment_close(segment);
        return status;
    }
    *shared = (kv_shared_segment){.refs = 1, .segment = segment};
    *out = shared;
    return RT_OK;
}

void kv_shared_segment_drop(kv_staging *s, kv_shared_segment *shared) {
    if (!shared || --shared->refs > 0) return;
    kv_staging_settle_file(s, kv_segment_file(shared->segment));
    kv_segment_close(shared->segment);
    free(shared);
}

static void release(kv_staging *s, kv_stored *stored) {
    for (int32_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].is_early && s->slots[i].stored == stored) s->slots[i].stored = NULL;
    if (stored->cell >= 0) kv_scratch_give(s->scratch, stored->cell);
    kv_shared_segment_drop(s, stored->segment);
    free(stored);
}

/* While it is being written the cell must not go to somebody else: poll frees it. */
bool kv_stored_drop(kv_staging *s, kv_stored *stored) {
    if (!stored) return false;
    rt_assert(stored->refs > 0);
    if (--stored->refs > 0) return false;
    const bool was_in_cell = stored->cell >= 0;
    if (!stored->writing) release(s, stored);
    return was_in_cell;
}

static kv_run_address address_of(const kv_stored *stored, int32_t kv_head) {
    kv_run_address address = stored->address;
    address.kv_head += kv_head;
    return address;
}

static int64_t run_offset(const kv_stored *stored, int32_t kv_head) {
    int64_t offset = 0;
    for (int32_t i = 0; i < kv_head; i++) offset += stored->run_bytes[i];
    return offset;
}

/* ---- rows ------------------------------------------------------------------------------------ */

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
    const kv_run_shape shape = run_shape(&s->shape, stored->n_tokens);
    return kv_staging_rows_like(s, &shape, kv_head, thread);
}

rt_status kv_staging_decode(kv_staging *s, const kv_slot *slot, int32_t kv_head, int thread,
        int32_t first, kv_rows *out) {
    const kv_stored *stored = slot->stored;
    const kv_codec *codec = s->codecs[thread];
    const kv_run_address address = address_of(stored, kv_head);
    const kv_run_shape shape = run_shape(&s->shape, stored->n_tokens);
    const char *bytes = slot->bytes + run_offset(stored, kv_head);
    if (first == 0)
        RT_TRY(kv_run_check(codec, &address, &shape, bytes, stored->run_bytes[kv_head]));
    const kv_run_shape part =
            run_shape(&s->shape, (int32_t)rt_min64(stored->n_tokens - first, KV_TILE_TOKENS));
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
    const kv_run_shape shape = run_shape(&s->shape, stored->n_tokens);
    clear_last_page(&shape, s->rows[thread]);
    kv_codec_pack(s->codecs[thread], s->packing);
    stored->run_bytes[kv_head] = (int32_t)kv_run_encode(s->codecs[thread], &address, &shape,
            s->rows[thread], slot->bytes + kv_head * s->run_bytes_max);
}

int64_t kv_staging_run_bytes(const kv_staging *s, const kv_stored *stored) {
    const kv_run_shape shape = run_shape(&s->shape, stored->n_tokens);
    return kv_run_raw_bytes(&shape);
}

rt_status kv_staging_decode_run(kv_staging *s, const kv_slot *slot, int32_t kv_head) {
    const kv_stored *stored = slot->stored;
    const kv_run_address address = address_of(stored, kv_head);
    const kv_run_shape shape = run_shape(&s->shape, stored->n_tokens);
    return kv_run_decode(s->codecs[0], &address, &shape, slot->bytes + kv_head * s->run_bytes_max,
            stored->run_bytes[kv_head], s->rows[0]);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_free(const kv_slot *slot) {
    return slot->state == KV_SLOT_FREE && !slot->op.is_in_flight;
}

static kv_slot *find_free(const kv_staging *s, int32_t n_spared) {
    int32_t n_free = 0;
    kv_slot *found = NULL;
    for (int32_t i = 0; i < s->n_slots; i++) {
        if (!is_free(&s->slots[i])) continue;
        n_free++;
        found = &s->slots[i];
    }
    return n_free > n_spared ? found : NULL;
}

/* Slots that writes hold count as theirs. */
static int32_t n_spared_now(const kv_staging *s) {
    int32_t n = SLOTS_FOR_WRITES;
    for (int32_t i = 0; i < s->n_slots; i++) n -= s->slots[i].state == KV_SLOT_WRITING;
    return n > 0 ? n : 0;
}

static int64_t raw_bytes_of(const kv_staging *s, const kv_stored *stored) {
    const kv_run_shape shape = run_shape(&s->shape, stored->n_tokens);
    return s->shape.n_kv_heads * kv_run_raw_bytes(&shape);
}

kv_slot *kv_staging_read(kv_staging *s, kv_stored *stored, kv_io_urgency urgency) {
    if (stored->writing || stored->is_lost) return NULL;
    kv_slot *slot = find_free(s, n_spared_now(s));
    if (!slot) return NULL;
    slot->state = KV_SLOT_READING;
    slot->is_early = false;
    slot->stored = stored;
    slot->op = (kv_io_op){.file = stored->file,
            .urgency = urgency,
            .bytes = slot->bytes,
            .n_bytes = run_offset(stored, s->shape.n_kv_heads),
            .offset = stored->offset};
    s->raw_bytes_read += raw_bytes_of(s, stored);
    kv_io_start(s->io, &slot->op);
    return slot;
}

static rt_status wait_op(kv_staging *s, kv_slot *slot) {
    if (slot->op.is_done) return kv_io_wait(s->io, &slot->op);
    const double start = rt_now();
    const rt_status status = kv_io_wait(s->io, &slot->op);
    s->stall_s += rt_now() - start;
    return status;
}

/* A slot becomes free when a write is answered, or a forgotten read is. Those that were given up
 * may never be, and a read has no use for those that are spared. */
static rt_status wait_for_any(kv_staging *s, bool is_for_read) {
    bool is_going = false;
    for (int32_t i = 0; i < s->n_slots && !is_going; i++) {
        kv_slot *slot = &s->slots[i];
        is_going = (slot->state == KV_SLOT_WRITING ||
                           (slot->state == KV_SLOT_READING && !slot->stored)) &&
                   !slot->op.is_done;
        if (is_going) (void)!wait_op(s, slot);
    }
    kv_staging_poll(s);
    if (is_going || find_free(s, is_for_read ? n_spared_now(s) : 0)) return RT_OK;
    return rt_fail(RT_EIO, "kvstore: the disk does not answer any more");
}

static rt_status start_now(kv_staging *s, kv_stored *stored, kv_slot **out) {
    while (!(*out = kv_staging_read(s, stored, KV_IO_NOW))) {
        if (stored->is_lost)
            return rt_fail(RT_EIO,
                    "kvstore: layer %" PRId32 ", tokens from %" PRId64 " could not be kept",
                    stored->layer, stored->first_pos);
        RT_TRY(wait_for_any(s, true));
    }
    return RT_OK;
}

rt_status kv_staging_wait(kv_staging *s, kv_stored *stored, kv_slot **slot) {
    if (!*slot) RT_TRY(start_now(s, stored, slot));
    const rt_status status = wait_op(s, *slot);
    (*slot)->state = KV_SLOT_FULL;
    if (status != RT_OK) {
        kv_staging_free_slot(*slot);
        *slot = NULL;
    }
    return status;
}

bool kv_staging_read_early(kv_staging *s, kv_stored *stored) {
    kv_slot *slot = kv_staging_read(s, stored, KV_IO_AHEAD);
    if (slot) slot->is_early = true;
    return slot != NULL;
}

kv_slot *kv_staging_take_early(kv_staging *s, const kv_stored *stored) {
    for (int32_t i = 0; i < s->n_slots; i++) {
        kv_slot *slot = &s->slots[i];
        if (!slot->is_early || slot->stored != stored) continue;
        slot->is_early = false;
        return slot;
    }
    return NULL;
}

void kv_staging_free_slot(kv_slot *slot) {
    slot->state = KV_SLOT_FREE;
    slot->is_early = false;
    slot->stored = NULL;
}

void kv_staging_forget_early(kv_staging *s) {
    for (int32_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].is_early) s->slots[i].stored = NULL;
}

void kv_staging_forget_reads(kv_staging *s) {
    for (int32_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i].is_early) continue;
        if (s->slots[i].state == KV_SLOT_READING) s->slots[i].stored = NULL;
        if (s->slots[i].state == KV_SLOT_FULL) kv_staging_free_slot(&s->slots[i]);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

bool kv_staging_has_free(const kv_staging *s) {
    return find_free(s, 0) != NULL;
}

void kv_staging_forget_write(kv_staging *s, kv_slot *slot) {
    kv_stored *stored = slot->stored;
    kv_staging_free_slot(slot);
    stored->writing = NULL;
    stored->refs--;
    release(s, stored);
}

rt_status kv_staging_take(kv_staging *s, kv_slot **out) {
    kv_staging_poll(s);
    RT_TRY(kv_staging_check(s));
    kv_slot *slot = NULL;
    while (!(slot = find_free(s, 0))) {
        RT_TRY(wait_for_any(s, false));
        RT_TRY(kv_staging_check(s));
    }
    slot->state = KV_SLOT_WRITING;
    slot->op = (kv_io_op){.is_done = true}; /* nothing to wait for yet */
    *out = slot;
    return RT_OK;
}

/* Runs were encoded apart from each other; on disk they lie end to end. */
static int64_t close_ranks(kv_staging *s, kv_slot *slot) {
    int64_t at = 0;
    for (int32_t head = 0; head < s->shape.n_kv_heads; head++) {
        const int32_t bytes = slot->stored->run_bytes[head];
        memmove(slot->bytes + at, slot->bytes + head * s->run_bytes_max, (size_t)bytes);
        at += bytes;
    }
    return at;
}

/* A writer appends: it can say where only now that the sizes are known. */
static void place_in_segment(const kv_staging *s, kv_stored *stored) {
    int64_t run_bytes[KV_HEADS_MAX];
    for (int32_t head = 0; head < s->shape.n_kv_heads; head++)
        run_bytes[head] = stored->run_bytes[head];
    kv_writer_place(stored->writer, stored->layer, run_bytes, &stored->file, &stored->offset);
}

void kv_staging_write(kv_staging *s, kv_slot *slot) {
    kv_stored *stored = slot->stored;
    if (stored->writer) place_in_segment(s, stored);
    slot->op = (kv_io_op){.file = stored->file,
            .is_write = true,
            .urgency = KV_IO_BEHIND,
            .bytes = slot->bytes,
            .n_bytes = close_ranks(s, slot),
            .offset = stored->offset};
    s->raw_bytes_written += raw_bytes_of(s, stored);
    kv_io_start(s->io, &slot->op);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void note_failure(kv_staging *s, rt_status status) {
    if (s->failed != RT_OK) return;
    s->failed = status;
    (void)snprintf(s->failed_text, sizeof s->failed_text, "%s", rt_error_text());
}

static void finish_write(kv_staging *s, kv_slot *slot) {
    kv_stored *stored = slot->stored;
    /* Of one that was given up before, the file may be gone by now. */
    const rt_status status = stored->is_lost ? RT_EIO : kv_io_wait(s->io, &slot->op);
    kv_staging_free_slot(slot);
    stored->writing = NULL;
    /* A part of a segment matters also when no sequence needs it to go on. */
    const bool matters = stored->refs > 0 || stored->writer;
    if (status != RT_OK && matters && !stored->is_lost) note_failure(s, status);
    stored->is_lost = stored->is_lost || status != RT_OK;
    if (stored->refs == 0) release(s, stored);
}

/* The kernel still has it, and its cell with it; what it holds counts as lost already. */
static void give_up_write(kv_staging *s, kv_slot *slot) {
    if (slot->stored->is_lost) return;
    slot->stored->is_lost = true;
    note_failure(s, kv_io_wait(s->io, &slot->op));
}

void kv_staging_poll(kv_staging *s) {
    kv_io_poll(s->io);
    for (int32_t i = 0; i < s->n_slots; i++) {
        kv_slot *slot = &s->slots[i];
        if (!slot->op.is_done || !slot->op.file) continue;
        if (slot->op.is_in_flight) {
            if (slot->state == KV_SLOT_WRITING) give_up_write(s, slot);
            continue;
        }
        if (slot->state == KV_SLOT_WRITING) finish_write(s, slot);
        if (slot->state == KV_SLOT_READING && !slot->stored) kv_staging_free_slot(slot);
    }
}

rt_status kv_staging_check(kv_staging *s) {
    if (s->failed == RT_OK) return RT_OK;
    const rt_status status = s->failed;
    s->failed = RT_OK;
    return rt_fail(status, "%s", s->failed_text);
}

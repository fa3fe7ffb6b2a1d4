/* A slot's way:
 *
 *     FREE --read--> READING --wait--> FULL --free_slot--> FREE
 *     FREE --take, encode, write--> WRITING --poll--> FREE
 *
 * A slot whose operation was given up while the kernel still has it stays where it is until the
 * answer comes: poll frees it then. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/log.h"
#include "stored.h"

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

void kv_staging_spare(kv_staging *s, bool for_writes) {
    s->n_spared = for_writes ? KV_SLOTS_FOR_WRITES : 0;
}

int32_t kv_staging_readable(const kv_staging *s) {
    return s->n_slots - s->n_spared;
}

/* Slots that writes hold count as theirs. */
static int32_t n_spared_now(const kv_staging *s) {
    int32_t n = s->n_spared;
    for (int32_t i = 0; i < s->n_slots; i++) n -= s->slots[i].state == KV_SLOT_WRITING;
    return n > 0 ? n : 0;
}

static int64_t raw_bytes_of(const kv_staging *s, const kv_stored *stored) {
    const kv_run_shape shape = kv_run_shape_of(&s->shape, stored->n_tokens);
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
            .n_bytes = kv_stored_run_offset(stored, s->shape.n_kv_heads),
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

void kv_staging_forget_write(kv_staging *s, kv_slot *slot, kv_stored *stored) {
    if (slot) kv_staging_free_slot(slot);
    stored->writing = NULL;
    stored->refs--;
    kv_stored_release(s, stored);
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
    if (stored->refs == 0) kv_stored_release(s, stored);
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

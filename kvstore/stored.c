#include "stored.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"

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
    stored->cell = stored->copy = -1;
    *out = stored;
    return RT_OK;
}

static void put_in_memory(kv_staging *s, kv_stored *stored) {
    stored->cell = kv_scratch_take(s->scratch);
    stored->rows = kv_scratch_rows(s->scratch, stored->cell);
    rt_assert(stored->rows);
}

static void put_on_disk(kv_staging *s, kv_stored *stored) {
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
    } else if (slot) {
        stored->cell = kv_scratch_take_on_disk(s->scratch);
        if (stored->cell < 0) {
            free(stored);
            return rt_fail(RT_ENOFIT, "kvstore: no cell on disk is free");
        }
        put_on_disk(s, stored);
    } else {
        put_in_memory(s, stored);
    }
    stored->writing = slot;
    if (slot) slot->stored = stored;
    for (int32_t head = 0; slot && head < s->shape.n_kv_heads; head++)
        atomic_store(&slot->n_unencoded[head], (int)rt_div_up(n_tokens, KV_TILE_TOKENS));
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

void kv_stored_replace(kv_staging *s, kv_stored *stored, kv_shared_segment *segment) {
    kv_shared_segment *before = stored->segment;
    put_at(s, kv_segment_layer(segment->segment, stored->layer), stored);
    kv_stored_move(stored, segment);
    stored->is_lost = false;
    kv_shared_segment_drop(s, before);
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

/* ---- rows in memory -------------------------------------------------------------------------- */

void kv_stored_want_copy(kv_staging *s, kv_stored *stored) {
    if (stored->copy < 0 && (stored->segment || stored->writer))
        stored->copy = kv_scratch_take_copy(s->scratch);
}

void kv_stored_has_copy(kv_staging *s, kv_stored *stored) {
    if (stored->copy >= 0) stored->rows = kv_scratch_rows(s->scratch, stored->copy);
}

static char *head_of(const kv_staging *s, char *cell, int32_t kv_head) {
    return cell + kv_head * (s->host.bytes / s->shape.n_kv_heads);
}

static bool is_sealed(const kv_staging *s) {
    return kv_dtype_is_sealed(s->shape.dtype);
}

/* Of keys, or of values: in a run those of all the extent's tokens lie before these. Of sealed pages, of both. */
static int64_t rows_bytes(const kv_staging *s, int32_t n_tokens) {
    const kv_run_shape shape = kv_run_shape_of(&s->shape, n_tokens);
    return n_tokens > 0 ? kv_run_raw_bytes(&shape) / (is_sealed(s) ? 1 : 2) : 0;
}

kv_rows kv_stored_rows(
        const kv_staging *s, const kv_stored *stored, int32_t kv_head, int32_t n_tokens) {
    char *k = head_of(s, stored->rows, kv_head);
    return (kv_rows){.kv_head = kv_head,
            .n_tokens = n_tokens,
            .k = k,
            .v = is_sealed(s) ? NULL : k + rows_bytes(s, stored->n_tokens),
            .is_lasting = true};
}

void kv_stored_copy_rows(
        const kv_staging *s, const kv_stored *stored, const kv_rows *rows, int32_t first) {
    if (stored->copy < 0 || stored->rows) return;
    char *k = head_of(s, kv_scratch_rows(s->scratch, stored->copy), rows->kv_head);
    const int64_t at = rows_bytes(s, first);
    const size_t bytes = (size_t)rows_bytes(s, rows->n_tokens);
    memcpy(k + at, rows->k, bytes);
    if (is_sealed(s)) return;
    memcpy(k + rows_bytes(s, stored->n_tokens) + at, rows->v, bytes);
}

/* ---- the last reference ---------------------------------------------------------------------- */

void kv_stored_release(kv_staging *s, kv_stored *stored) {
    for (int32_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].is_early && s->slots[i].stored == stored) s->slots[i].stored = NULL;
    if (stored->cell >= 0) kv_scratch_give(s->scratch, stored->cell);
    if (stored->copy >= 0) kv_scratch_give_copy(s->scratch, stored->copy);
    kv_shared_segment_drop(s, stored->segment);
    free(stored);
}

/* While it is being written the cell must not go to somebody else: poll frees it. */
bool kv_stored_drop(kv_staging *s, kv_stored *stored) {
    if (!stored) return false;
    rt_assert(stored->refs > 0);
    if (--stored->refs > 0) return stored->n_spares > 0 && stored->n_spares--;
    rt_assert(stored->n_spares == 0);
    const bool was_in_cell = stored->cell >= 0;
    if (!stored->writing) kv_stored_release(s, stored);
    return was_in_cell;
}

int64_t kv_stored_run_offset(const kv_stored *stored, int32_t kv_head) {
    int64_t offset = 0;
    for (int32_t i = 0; i < kv_head; i++) offset += stored->run_bytes[i];
    return offset;
}

/* How fast the disk is and how fast a thread decodes is measured on the first whole extent that is
 * stored: its runs go to a cell of the scratch and come back, twice, and one of them is decoded dense and
 * plain. That takes some milliseconds, once. A drive that answers from a cache of its own what it was
 * just given looks faster than it is; a wrong choice costs time or a tenth of the disk, and no bit. */
#include "packing.h"

#include <string.h>

#include "io_files.h"
#include "runtime/base/log.h"

enum { ROUNDS = 3 };

kv_packing kv_packing_for(const kv_packing_facts *facts) {
    if (facts->disk_bytes_s <= 0.0 || facts->plain_s >= facts->dense_s) return KV_PACK_DENSE;
    const double disk_s = facts->dense_ratio / facts->disk_bytes_s;
    const double decode_s = facts->dense_s / facts->n_threads;
    return decode_s > disk_s / 2.0 ? KV_PACK_PLAIN : KV_PACK_DENSE;
}

/* ---- the disk -------------------------------------------------------------------------------- */

/* The runs of `from`, into a cell. */
static rt_status write_copy(kv_staging *s, const kv_slot *from, kv_stored **out) {
    const kv_stored *like = from->stored;
    kv_slot *slot = NULL;
    RT_TRY(kv_staging_take(s, &slot));
    const rt_status status =
            kv_stored_create(s, like->layer, like->first_pos, like->n_tokens, NULL, slot, out);
    if (status != RT_OK) {
        kv_staging_free_slot(slot);
        return status;
    }
    for (int32_t head = 0; head < s->shape.n_kv_heads; head++) {
        const int64_t at = head * s->run_bytes_max;
        (*out)->run_bytes[head] = like->run_bytes[head];
        memcpy(slot->bytes + at, from->bytes + at, (size_t)like->run_bytes[head]);
    }
    kv_staging_write(s, slot);
    const rt_status answer = kv_io_wait(s->io, &slot->op);
    kv_staging_poll(s);
    return answer;
}

/* Seconds to read it; 0: it could not be read. */
static double time_read(kv_staging *s, kv_stored *stored) {
    kv_slot *slot = NULL;
    const double start = rt_now();
    if (kv_staging_wait(s, stored, &slot) != RT_OK) return 0.0;
    const double seconds = rt_now() - start;
    kv_staging_free_slot(slot);
    return seconds;
}

static double stored_bytes(const kv_staging *s, const kv_stored *stored) {
    int64_t bytes = 0;
    for (int32_t head = 0; head < s->shape.n_kv_heads; head++) bytes += stored->run_bytes[head];
    return (double)bytes;
}

/* Bytes a second of one drive; 0 where that cannot be known. */
static double measure_disk(kv_staging *s, const kv_slot *slot) {
    kv_stored *copy = NULL;
    double best_s = 0.0;
    rt_status status = write_copy(s, slot, &copy);
    for (int i = 0; i < ROUNDS && status == RT_OK; i++) {
        const double seconds = time_read(s, copy);
        if (seconds == 0.0) status = RT_EIO;
        if (i == 0 || seconds < best_s) best_s = seconds;
    }
    if (status == RT_OK && !kv_file_is_direct(copy->file)) status = RT_EUNSUPPORTED;
    (void)kv_stored_drop(s, copy);
    return status == RT_OK && best_s > 0.0 ? stored_bytes(s, slot->stored) / best_s : 0.0;
}

/* ---- the threads ----------------------------------------------------------------------------- */

/* Seconds for a byte of rows, of the run of the first head in `slot`, which is left in the rows of the
 * first thread. */
static double measure_decode(kv_staging *s, const kv_slot *slot) {
    double best_s = 0.0;
    for (int i = 0; i < ROUNDS; i++) {
        const double start = rt_now();
        if (kv_staging_decode_run(s, slot, 0) != RT_OK) return 0.0;
        const double seconds = rt_now() - start;
        if (i == 0 || seconds < best_s) best_s = seconds;
    }
    return best_s / (double)kv_staging_run_bytes(s, slot->stored);
}

/* ---- both ------------------------------------------------------------------------------------ */

void kv_staging_repack(kv_staging *s, kv_slot *slot) {
    for (int32_t head = 0; head < s->shape.n_kv_heads; head++) {
        const rt_status status = kv_staging_decode_run(s, slot, head);
        rt_assert(status == RT_OK); /* it was encoded just now */
        kv_staging_encode(s, slot, head, 0);
    }
}

static void log_choice(const kv_staging *s, const kv_packing_facts *facts) {
    rt_log(RT_LOG_INFO, "kvstore",
            "packing=%s disk_gb_s=%.2f dense_ratio=%.3f dense_gb_s=%.2f plain_gb_s=%.2f threads=%d",
            s->packing == KV_PACK_PLAIN ? "plain" : "dense", 1e-9 * facts->disk_bytes_s,
            facts->dense_ratio, 1e-9 / facts->dense_s, 1e-9 / facts->plain_s, facts->n_threads);
}

void kv_staging_choose_packing(kv_staging *s, kv_slot *slot) {
    const kv_stored *stored = slot->stored;
    kv_packing_facts facts = {.n_threads = s->n_threads};
    facts.disk_bytes_s = s->n_drives * measure_disk(s, slot);
    facts.dense_ratio =
            stored_bytes(s, stored) / s->shape.n_kv_heads / (double)kv_staging_run_bytes(s, stored);
    facts.dense_s = measure_decode(s, slot);
    s->packing = KV_PACK_PLAIN;
    kv_staging_encode(s, slot, 0, 0);
    facts.plain_s = measure_decode(s, slot);
    s->packing = kv_packing_for(&facts);
    s->chooses_packing = false;
    log_choice(s, &facts);
}

/* Stored extents and the memory they pass through on their way. Private to kvstore.
 *
 * An extent is what one layer holds for extent_tokens consecutive tokens: a run for each KV head,
 * one after the other in one cell of the scratch, read and written as one operation. A stored
 * extent never changes; sequences share it by counted references. */
#ifndef KV_STORED_H
#define KV_STORED_H

#include <stdatomic.h>

#include "codec.h"
#include "kvstore.h"
#include "scratch.h"
#include "vault.h"

enum { KV_HEADS_MAX = 64, KV_SLOTS_FOR_WRITES = 2 };

/* A segment of the vault that stored extents are in; closed with the last of them. */
typedef struct kv_shared_segment {
    int32_t refs;
    kv_segment *segment;
} kv_shared_segment;

typedef struct kv_stored {
    int32_t refs;
    int32_t n_spares; /* cells reserved for those who will write it anew while others hold it; < refs */
    int32_t layer;
    int64_t first_pos;
    int32_t n_tokens;

    /* Where it is: a cell of the scratch, a segment, or a segment that is being written. */
    kv_file *file;
    int64_t offset;
    int64_t cell;               /* -1: not in the scratch */
    int64_t copy;               /* a cell in memory besides, of what is in a segment; -1: none */
    char *rows;                 /* in memory, [n_kv_heads] runs; NULL: they are not */
    kv_shared_segment *segment; /* NULL: not in a finished segment */
    kv_writer *writer;          /* NULL: not in an unfinished one */
    kv_run_address address;     /* of the first head */
    struct kv_slot *writing;    /* until it is on disk */
    bool is_lost;               /* could not be written, or came back as something else */
    int32_t run_bytes[];        /* [n_kv_heads], in order */
} kv_stored;

typedef enum kv_slot_state {
    KV_SLOT_FREE,
    KV_SLOT_READING,
    KV_SLOT_WRITING,
    KV_SLOT_FULL
} kv_slot_state;

/* Staging for one extent. */
typedef struct kv_slot {
    kv_io_op op;
    kv_slot_state state;
    bool is_early; /* being read for a walk that has not begun */
    char *bytes;
    kv_stored *stored;                    /* NULL: whoever wanted it is gone */
    atomic_int n_unencoded[KV_HEADS_MAX]; /* pieces of each run */
} kv_slot;

typedef struct kv_staging {
    kv_io *io;
    kv_scratch *scratch; /* NULL: nothing overflows, pages are only persisted */
    kv_codec **codecs;   /* [n_threads] */
    char **rows;         /* [n_threads][raw bytes of a run]: canonical rows on their way */
    int32_t n_threads;
    kv_slot *slots;
    int32_t n_slots;
    int32_t n_spared; /* of them, left to writes */
    kv_shape shape;
    int32_t extent_tokens;
    int64_t run_bytes_max;
    int64_t rows_bytes; /* of `rows` of a thread */
    uint8_t salt[32];   /* of this store: whatever else lies in a cell does not verify */
    uint64_t generation;
    int32_t n_drives;
    kv_packing packing;   /* of what is encoded from now on */
    bool chooses_packing; /* once there is something to measure */
    char *memory;         /* slots, then rows */
    int64_t memory_bytes;
    rt_device *device;  /* whose pinned memory host cells are; NULL: the host's own */
    kv_host_cells host; /* a cell: rows of n_kv_heads runs */
    rt_status failed;   /* of a write, until it is told */
    char failed_text[512];
    int64_t raw_bytes_written, raw_bytes_read;
    double stall_s;
} kv_staging;

static inline kv_run_shape kv_run_shape_of(const kv_shape *shape, int32_t n_tokens) {
    return (kv_run_shape){.dtype = shape->dtype, .head_dim = shape->head_dim, .n_tokens = n_tokens};
}

/* Slots, bytes of kv_staging.memory, bytes of a cell on disk, of one in memory. */
int32_t kv_staging_slots(const kv_config *config);
int64_t kv_staging_bytes(const kv_config *config);
int64_t kv_cell_bytes(const kv_config *config);
int64_t kv_host_cell_bytes(const kv_config *config);

/* out->io: what to reach the disk by, the staging's from here on; NULL: as the config says. */
RT_MUST_CHECK rt_status kv_staging_open(const kv_config *config, kv_staging *out);
/* False where operations were never answered: memory they may still use is then kept. */
bool kv_staging_close(kv_staging *staging);

/* One reference more, or fewer; accept NULL. True where the reservation of a cell is the caller's now: the extent's own
 * behind the last reference, before that a spare one. */
kv_stored *kv_stored_share(kv_stored *stored);
bool kv_stored_drop(kv_staging *staging, kv_stored *stored);
/* Freed, and its place with it: nobody refers to it, and it is not being written. */
void kv_stored_release(kv_staging *staging, kv_stored *stored);
/* Bytes of the runs before a head's; of all of them, for n_kv_heads. */
int64_t kv_stored_run_offset(const kv_stored *stored, int32_t kv_head);

/* Whether reads leave two slots to writes, from now on: before anything is written they must. */
void kv_staging_spare(kv_staging *staging, bool for_writes);
/* Slots that reads may hold, those that are theirs already included. */
int32_t kv_staging_readable(const kv_staging *staging);
/* Start reading `stored`; NULL where no slot is free now, or it is still being written. */
kv_slot *kv_staging_read(kv_staging *staging, kv_stored *stored, kv_io_urgency urgency);
/* Until it is in memory; *slot is what kv_staging_read returned, NULL to start now. On failure
 * *slot is NULL.
 * Errors: RT_EIO */
RT_MUST_CHECK rt_status kv_staging_wait(kv_staging *staging, kv_stored *stored, kv_slot **slot);
void kv_staging_free_slot(kv_slot *slot);
/* Nobody wants what is being read any more. */
void kv_staging_forget_reads(kv_staging *staging);
/* For a walk that has not begun: read `stored` (false: not now, as kv_staging_read). When it begins it
 * takes over what it wants, NULL where that is not being read, and the rest is forgotten. */
bool kv_staging_read_early(kv_staging *staging, kv_stored *stored);
kv_slot *kv_staging_take_early(kv_staging *staging, const kv_stored *stored);
void kv_staging_forget_early(kv_staging *staging);

/* A free slot for a write; waits for one.
 * Errors: RT_EIO, RT_ENOFIT  earlier writes failed */
RT_MUST_CHECK rt_status kv_staging_take(kv_staging *staging, kv_slot **out);
bool kv_staging_has_free(const kv_staging *staging);
/* Write what kv_staging_encode put into the slot; the cell must have been reserved. */
void kv_staging_write(kv_staging *staging, kv_slot *slot);

/* The slot, where there is one, and the extent that was to be written from it, given up. */
void kv_staging_forget_write(kv_staging *staging, kv_slot *slot, kv_stored *stored);

/* A stored extent to be, on its way through `slot`: into the writer's segment, or, where that is NULL,
 * a cell on disk that the caller has reserved; without a slot straight into one in memory, of which there is one.
 * RT_ENOMEM; RT_ENOFIT: no cell on disk is to be had now. */
RT_MUST_CHECK rt_status kv_stored_create(kv_staging *staging, int32_t layer, int64_t first_pos,
        int32_t n_tokens, kv_writer *writer, kv_slot *slot, kv_stored **out);
/* One that is there: a layer of a segment. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_stored_open(
        kv_staging *staging, kv_shared_segment *segment, int32_t layer, kv_stored **out);
/* The same of a segment that is being written. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_stored_reopen(
        kv_staging *staging, kv_writer *writer, int32_t layer, kv_stored **out);
/* What was in a writer's segment is in the finished one. */
void kv_stored_move(kv_stored *stored, kv_shared_segment *segment);
/* What was in a segment is in another one of the same tokens; nothing of it is being read. */
void kv_stored_replace(kv_staging *staging, kv_stored *stored, kv_shared_segment *segment);
/* RT_ENOMEM: the segment is closed. */
RT_MUST_CHECK rt_status kv_shared_segment_create(kv_segment *segment, kv_shared_segment **out);
void kv_shared_segment_drop(kv_staging *staging, kv_shared_segment *shared);

/* Until no operation on the file is in flight; what was read is thrown away. */
void kv_staging_settle_file(kv_staging *staging, const kv_file *file);

/* Rows of one run <-> the slot, in the rows of `thread`. Out of it they come KV_TILE_TOKENS at a time, from
 * `first`, a multiple of that; the run is verified with the first ones. Runs of a slot may be encoded side
 * by side: each has its place at head x run_bytes_max until kv_staging_write moves them together.
 * Errors: RT_ECORRUPT */
RT_MUST_CHECK rt_status kv_staging_decode(kv_staging *staging, const kv_slot *slot, int32_t kv_head,
        int thread, int32_t first, kv_rows *out);
kv_rows kv_staging_rows(kv_staging *staging, const kv_stored *stored, int32_t kv_head, int thread);
kv_rows kv_staging_rows_like(
        kv_staging *staging, const kv_run_shape *shape, int32_t kv_head, int thread);
void kv_staging_encode(kv_staging *staging, kv_slot *slot, int32_t kv_head, int thread);
/* The same a piece at a time, KV_TILE_TOKENS rows from `first` on, each once; whoever encodes the last piece of a run packs
 * it. The bytes are the same. */
kv_rows kv_staging_piece(
        kv_staging *staging, const kv_stored *stored, int32_t kv_head, int32_t first, int thread);
void kv_staging_encode_piece(
        kv_staging *staging, kv_slot *slot, const kv_rows *piece, int32_t first, int thread);

/* Rows in memory: of the first n_tokens of the extent, where they are; rows of the run from `first` on into its copy,
 * unless it is there already. What is in a segment gets room for a copy, where there is some; it has all of it. */
kv_rows kv_stored_rows(
        const kv_staging *staging, const kv_stored *stored, int32_t kv_head, int32_t n_tokens);
void kv_stored_copy_rows(
        const kv_staging *staging, const kv_stored *stored, const kv_rows *rows, int32_t first);
void kv_stored_want_copy(kv_staging *staging, kv_stored *stored);
void kv_stored_has_copy(kv_staging *staging, kv_stored *stored);

/* Bytes of rows of one run; and all of them out of a slot that was encoded and not written yet, into the
 * rows of the first thread. RT_ECORRUPT */
int64_t kv_staging_run_bytes(const kv_staging *staging, const kv_stored *stored);
RT_MUST_CHECK rt_status kv_staging_decode_run(
        kv_staging *staging, const kv_slot *slot, int32_t kv_head);

/* Take answers; what was written is then free. */
void kv_staging_poll(kv_staging *staging);
/* A write failed since the last call: how. */
RT_MUST_CHECK rt_status kv_staging_check(kv_staging *staging);

#endif

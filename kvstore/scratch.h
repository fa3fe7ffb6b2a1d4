/* Scratch: where the extents of live sequences overflow to. There are cells in memory, which are taken first, each for
 * the rows of an extent as they are; and cells of one size in files without a name, one file a drive, which whatever ends
 * the process frees. Room is reserved first and taken on disk then, so that writing within a reservation does not run out
 * of it. Private to kvstore. */
#ifndef KV_SCRATCH_H
#define KV_SCRATCH_H

#include "io.h"

typedef struct kv_scratch kv_scratch;

/* Memory for n cells of `bytes` bytes; borrowed. */
typedef struct kv_host_cells {
    char *memory;
    int64_t bytes;
    int64_t n;
} kv_host_cells;

/* A file in each directory (made where missing); cells of cell_bytes, a multiple of KV_IO_ALIGN.
 * Errors: RT_EIO  a directory cannot be made or written; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_scratch_open(kv_io *io, const char *const *dirs, int32_t n_dirs,
        int64_t cell_bytes, int64_t bytes_max, const kv_host_cells *host, kv_scratch **out);
/* No operation on it is in flight. Accepts NULL. */
void kv_scratch_close(kv_scratch *scratch);

/* Errors: RT_ENOFIT  more than bytes_max, or than the disks hold */
RT_MUST_CHECK rt_status kv_scratch_reserve(kv_scratch *scratch, int64_t n_cells);
void kv_scratch_unreserve(kv_scratch *scratch, int64_t n_cells);

/* A cell out of the reserved ones: in memory or, where none is free there, on disk. */
int64_t kv_scratch_take(kv_scratch *scratch);
/* One on disk, though memory may have one; -1: there is none now. */
int64_t kv_scratch_take_on_disk(kv_scratch *scratch);
/* Back among the reserved ones. */
void kv_scratch_give(kv_scratch *scratch, int64_t cell);

/* Whether the next cell is one in memory. */
bool kv_scratch_has_host(const kv_scratch *scratch);
/* The memory of a cell; NULL: it is on disk. */
char *kv_scratch_rows(const kv_scratch *scratch, int64_t cell);
/* A cell in memory for what is elsewhere, too, besides those reserved, and back; -1: there is none to spare. */
int64_t kv_scratch_take_copy(kv_scratch *scratch);
void kv_scratch_give_copy(kv_scratch *scratch, int64_t cell);
/* Cells in memory that were given back, ever. */
int64_t kv_scratch_host_given(const kv_scratch *scratch);

/* Of cells on disk: */
kv_file *kv_scratch_file(const kv_scratch *scratch, int64_t cell);
int64_t kv_scratch_offset(const kv_scratch *scratch, int64_t cell);

/* Bytes taken, and reserved, on disk; taken in memory. */
int64_t kv_scratch_bytes_used(const kv_scratch *scratch);
int64_t kv_scratch_bytes_reserved(const kv_scratch *scratch);
int64_t kv_scratch_host_bytes_used(const kv_scratch *scratch);

#endif

/* Cells are numbered: first those in memory, then through all files: the c-th of those is in file c mod n_files, at
 * c / n_files. Always true: cells in use <= n_reserved <= host.n + n_grown; cells on disk ever used <= n_grown, and
 * those exist. */
#include "scratch.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "io_files.h"
#include "runtime/base/file.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

struct kv_scratch {
    kv_file **files;
    int32_t n_files;
    int64_t cell_bytes;
    int64_t bytes_max;
    kv_host_cells host;
    int64_t *free_host; /* [n_free_host] of host.n */
    int64_t n_free_host;
    int64_t n_host_given; /* ever */
    int64_t n_reserved;

    /* Of cells on disk, counted without those in memory: */
    int64_t n_grown; /* that the files have room for */
    int64_t n_used;
    int64_t n_touched;   /* 0 .. n_touched were used once */
    int64_t *free_cells; /* [n_free], below n_touched */
    int64_t n_free;
    int64_t free_room;
};

/* ---- files ----------------------------------------------------------------------------------- */

/* File systems without O_TMPFILE: a name for a moment. */
static rt_status open_named(kv_io *io, const char *dir, kv_file **out) {
    uint64_t number = 0;
    (void)!getrandom(&number, sizeof number, 0);
    char name[64];
    (void)snprintf(name, sizeof name, "spill-%016" PRIx64 ".tmp", number);
    char *path = NULL;
    RT_TRY(rt_path_join(dir, name, &path));
    const rt_status status = kv_file_open(io, path, O_RDWR | O_CREAT | O_EXCL, out);
    if (status == RT_OK) (void)!kv_path_unlink(io, path);
    free(path);
    return status;
}

static rt_status open_file(kv_io *io, const char *dir, kv_file **out) {
    RT_TRY(rt_mkdirs(dir));
    if (kv_file_open(io, dir, O_RDWR | O_TMPFILE, out) == RT_OK) return RT_OK;
    return open_named(io, dir, out);
}

static rt_status list_host(kv_scratch *scratch) {
    const int64_t n = scratch->host.n;
    RT_TRY(rt_calloc(rt_max64(n, 1), sizeof *scratch->free_host, "cells", &scratch->free_host));
    for (; scratch->n_free_host < n; scratch->n_free_host++)
        scratch->free_host[scratch->n_free_host] = n - 1 - scratch->n_free_host;
    return RT_OK;
}

rt_status kv_scratch_open(kv_io *io, const char *const *dirs, int32_t n_dirs, int64_t cell_bytes,
        int64_t bytes_max, const kv_host_cells *host, kv_scratch **out) {
    rt_assert(n_dirs > 0 && cell_bytes > 0 && cell_bytes % KV_IO_ALIGN == 0);
    kv_scratch *scratch = NULL;
    RT_TRY(rt_calloc(1, sizeof *scratch, "the overflow", &scratch));
    *scratch = (kv_scratch){.cell_bytes = cell_bytes, .bytes_max = bytes_max, .host = *host};
    rt_status status = list_host(scratch);
    if (status == RT_OK)
        status = rt_calloc(n_dirs, sizeof *scratch->files, "files", &scratch->files);
    for (; status == RT_OK && scratch->n_files < n_dirs; scratch->n_files++) {
        status = open_file(io, dirs[scratch->n_files], &scratch->files[scratch->n_files]);
        if (status != RT_OK) break;
    }
    if (status != RT_OK) {
        kv_scratch_close(scratch);
        return status;
    }
    *out = scratch;
    return RT_OK;
}

void kv_scratch_close(kv_scratch *scratch) {
    if (!scratch) return;
    const int64_t n_listed = scratch->free_host ? scratch->host.n : 0;
    rt_assert(scratch->n_used == 0 && scratch->n_free_host == n_listed);
    for (int32_t i = 0; i < scratch->n_files; i++) kv_file_close(scratch->files[i]);
    free(scratch->files);
    free(scratch->free_cells);
    free(scratch->free_host);
    free(scratch);
}

/* ---- reservations ---------------------------------------------------------------------------- */

static int64_t file_bytes(const kv_scratch *scratch, int64_t n_cells) {
    return rt_div_up(n_cells, scratch->n_files) * scratch->cell_bytes;
}

/* All files, or none: a disk that is full is not the reason to keep another one's room. */
static rt_status grow_files(kv_scratch *scratch, int64_t n_cells) {
    rt_status status = RT_OK;
    int32_t n = 0;
    for (; n < scratch->n_files && status == RT_OK; n++)
        status = kv_file_reserve(scratch->files[n], file_bytes(scratch, n_cells));
    if (status == RT_OK) scratch->n_grown = n_cells;
    for (int32_t i = 0; i < n - 1 && status != RT_OK; i++)
        kv_file_unreserve(scratch->files[i], file_bytes(scratch, scratch->n_grown));
    return status;
}

/* Room to note every cell as free: giving one back cannot fail. */
static rt_status grow_list(kv_scratch *scratch, int64_t n_cells) {
    if (n_cells <= scratch->free_room) return RT_OK;
    int64_t *list = realloc(scratch->free_cells, (size_t)n_cells * sizeof *list);
    if (!list) return rt_fail(RT_ENOMEM, "kvstore: no memory to list %" PRId64 " cells", n_cells);
    scratch->free_cells = list;
    scratch->free_room = n_cells;
    return RT_OK;
}

rt_status kv_scratch_reserve(kv_scratch *scratch, int64_t n_cells) {
    rt_assert(n_cells >= 0);
    const int64_t n_max = scratch->host.n + scratch->bytes_max / scratch->cell_bytes;
    const int64_t n_left = rt_max64(n_max - scratch->n_reserved, 0);
    char need[RT_SIZE_TEXT], left[RT_SIZE_TEXT], max[RT_SIZE_TEXT];
    if (n_cells > n_left)
        return rt_fail(RT_ENOFIT,
                "kvstore: %s of disk are needed, %s of --kv-disk-space %s are left in %s%s",
                rt_format_bytes(
                        rt_min64(n_cells, INT64_MAX / scratch->cell_bytes) * scratch->cell_bytes,
                        need),
                rt_format_bytes(n_left * scratch->cell_bytes, left),
                rt_format_bytes(scratch->bytes_max, max), kv_file_path(scratch->files[0]),
                scratch->n_files > 1 ? " and other directories" : "");
    const int64_t n_on_disk = scratch->n_reserved + n_cells - scratch->host.n;
    RT_TRY(grow_list(scratch, n_on_disk));
    if (n_on_disk > scratch->n_grown) RT_TRY(grow_files(scratch, n_on_disk));
    scratch->n_reserved += n_cells;
    return RT_OK;
}

static int64_t n_in_use(const kv_scratch *scratch) {
    return scratch->n_used + scratch->host.n - scratch->n_free_host;
}

void kv_scratch_unreserve(kv_scratch *scratch, int64_t n_cells) {
    rt_assert(n_cells >= 0 && n_cells <= scratch->n_reserved - n_in_use(scratch));
    scratch->n_reserved -= n_cells;
}

/* ---- cells ----------------------------------------------------------------------------------- */

int64_t kv_scratch_take(kv_scratch *scratch) {
    rt_assert(n_in_use(scratch) < scratch->n_reserved);
    if (scratch->n_free_host > 0) return scratch->free_host[--scratch->n_free_host];
    const int64_t cell = kv_scratch_take_on_disk(scratch);
    rt_assert(cell >= 0);
    return cell;
}

int64_t kv_scratch_take_on_disk(kv_scratch *scratch) {
    if (scratch->n_used == scratch->n_grown) return -1;
    scratch->n_used++;
    if (scratch->n_free > 0) return scratch->host.n + scratch->free_cells[--scratch->n_free];
    return scratch->host.n + scratch->n_touched++;
}

void kv_scratch_give(kv_scratch *scratch, int64_t cell) {
    rt_assert(cell >= 0 && cell < scratch->host.n + scratch->n_touched);
    if (cell < scratch->host.n) {
        rt_assert(scratch->n_free_host < scratch->host.n);
        scratch->free_host[scratch->n_free_host++] = cell;
        scratch->n_host_given++;
        return;
    }
    rt_assert(scratch->n_used > 0 && scratch->n_free < scratch->free_room);
    scratch->n_used--;
    scratch->free_cells[scratch->n_free++] = cell - scratch->host.n;
}

bool kv_scratch_has_host(const kv_scratch *scratch) {
    return scratch->n_free_host > 0;
}

char *kv_scratch_rows(const kv_scratch *scratch, int64_t cell) {
    if (cell < 0 || cell >= scratch->host.n) return NULL;
    return scratch->host.memory + cell * scratch->host.bytes;
}

int64_t kv_scratch_take_copy(kv_scratch *scratch) {
    if (scratch->n_free_host == 0 || kv_scratch_reserve(scratch, 1) != RT_OK) return -1;
    return kv_scratch_take(scratch);
}

void kv_scratch_give_copy(kv_scratch *scratch, int64_t cell) {
    kv_scratch_give(scratch, cell);
    kv_scratch_unreserve(scratch, 1);
}

kv_file *kv_scratch_file(const kv_scratch *scratch, int64_t cell) {
    return scratch->files[(cell - scratch->host.n) % scratch->n_files];
}

int64_t kv_scratch_offset(const kv_scratch *scratch, int64_t cell) {
    return (cell - scratch->host.n) / scratch->n_files * scratch->cell_bytes;
}

int64_t kv_scratch_bytes_used(const kv_scratch *scratch) {
    return scratch->n_used * scratch->cell_bytes;
}

int64_t kv_scratch_bytes_reserved(const kv_scratch *scratch) {
    return rt_max64(scratch->n_reserved - scratch->host.n, scratch->n_used) * scratch->cell_bytes;
}

int64_t kv_scratch_host_given(const kv_scratch *scratch) {
    return scratch->n_host_given;
}

int64_t kv_scratch_host_bytes_used(const kv_scratch *scratch) {
    return (scratch->host.n - scratch->n_free_host) * scratch->host.bytes;
}

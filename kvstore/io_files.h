/* What the vault does to files besides moving bytes: names, sizes, locks; and transfers that are
 * waited for. Everything goes through the table of io_engine.h. Private to kvstore.
 *
 * Unless said otherwise: RT_EIO the call failed, RT_ENOFIT the disk is full; the text names the path. */
#ifndef KV_IO_FILES_H
#define KV_IO_FILES_H

#include "io.h"

RT_MUST_CHECK rt_status kv_file_truncate(kv_file *file, int64_t n_bytes);
RT_MUST_CHECK rt_status kv_file_stat(const kv_file *file, kv_io_stat *out);
/* Does not wait: *got says whether the lock is held now. */
RT_MUST_CHECK rt_status kv_file_lock(kv_file *file, kv_io_lock lock, bool *got);

RT_MUST_CHECK rt_status kv_path_rename(kv_io *io, const char *from, const char *to);
/* A path that is not there is no error. */
RT_MUST_CHECK rt_status kv_path_unlink(kv_io *io, const char *path);
/* Nor a directory that is. The new name is durable. */
RT_MUST_CHECK rt_status kv_path_make_dir(kv_io *io, const char *path);
RT_MUST_CHECK rt_status kv_path_sync_dir(kv_io *io, const char *path);
/* *exists is false, and *out empty, where there is none. Symbolic links are not followed. */
RT_MUST_CHECK rt_status kv_path_stat(kv_io *io, const char *path, kv_io_stat *out, bool *exists);
/* Mark as used now. Only an estimate hangs on it: failures do not matter. */
void kv_path_touch(kv_io *io, const char *path);
/* Names of a directory, in order; none where it does not exist. */
typedef struct kv_names {
    char **names;
    int64_t n_names;
    char *memory;
} kv_names;
RT_MUST_CHECK rt_status kv_path_list(kv_io *io, const char *path, kv_names *out);
void kv_names_free(kv_names *names);

/* Whole blocks from and to memory of any alignment, waited for. Owns the memory of operations that
 * were late, until they are answered. */
typedef struct kv_blocks kv_blocks;
RT_MUST_CHECK rt_status kv_blocks_create(kv_io *io, kv_blocks **out);
void kv_blocks_free(kv_blocks *blocks);
/* offset: a multiple of KV_IO_ALIGN. n_bytes: any; what a write adds to fill a block is zeros.
 * Errors: RT_EIO, also when a read passes the end; RT_ENOFIT; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_blocks_read(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, void *bytes);
RT_MUST_CHECK rt_status kv_blocks_write(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, const void *bytes);
/* Close a file, at once or as soon as late operations of kv_blocks on it are answered. */
void kv_blocks_close_file(kv_blocks *blocks, kv_file *file);

#endif

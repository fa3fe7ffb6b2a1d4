/* What the store does to files besides moving bytes: open, reserve, sync; sizes, locks, names.
 * Everything goes through the table of io_engine.h. Private to kvstore.
 *
 * Unless said otherwise: RT_EIO the call failed, RT_ENOFIT the disk is full; the text names the path. */
#ifndef KV_IO_FILES_H
#define KV_IO_FILES_H

#include "io.h"

/* open(2) with O_CLOEXEC and, where the file system has it, O_DIRECT; created as 0600.
 * Errors: RT_EIO, RT_ENOFIT; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_file_open(kv_io *io, const char *path, int flags, kv_file **out);
/* The same of several, side by side where the engine can; out[i] is NULL where it failed, to be opened alone then, which
 * says why. No flags that make a file. */
void kv_files_open(kv_io *io, const char *const *paths, int32_t n_paths, int flags, kv_file **out);
const char *kv_file_path(const kv_file *file);
/* Whether operations still go past the page cache. */
bool kv_file_is_direct(const kv_file *file);
/* Every operation on it is done, and not asked about again. With late ones in flight the descriptor
 * stays open until their answers come, so that they cannot reach another file. Accepts NULL. */
void kv_file_close(kv_file *file);
/* Take the blocks now. RT_ENOFIT: the disk is full, and the file is as it was; RT_EIO; RT_OK where the file system has no
 * such call. */
RT_MUST_CHECK rt_status kv_file_reserve(kv_file *file, int64_t n_bytes);
/* Give back what is behind the first n_bytes, where that can be done: the file is that size. */
void kv_file_unreserve(kv_file *file, int64_t n_bytes);
/* Once this fails the file is dead: what was written may be gone, and asking again would be told
 * that all is well. Every later operation on it fails. RT_EIO. */
RT_MUST_CHECK rt_status kv_file_sync(kv_file *file);

/* The same of several, side by side where the engine can; all are tried, and the first that failed is told of.
 * RT_EIO, RT_ENOFIT, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_files_sync(kv_io *io, kv_file *const *files, int32_t n_files);
/* ftruncate(2), fstat(2). Errors: RT_EIO */
RT_MUST_CHECK rt_status kv_file_truncate(kv_file *file, int64_t n_bytes);
RT_MUST_CHECK rt_status kv_file_stat(const kv_file *file, kv_io_stat *out);
/* Does not wait: *got says whether the lock is held now. */
RT_MUST_CHECK rt_status kv_file_lock(kv_file *file, kv_io_lock lock, bool *got);
/* Asks again for so many seconds. */
RT_MUST_CHECK rt_status kv_file_lock_within(
        kv_file *file, kv_io_lock lock, double seconds, bool *got);

/* The names below are the directory's: durable once it is synced. Errors: RT_EIO; RT_ENOFIT, the disk is full. */
RT_MUST_CHECK rt_status kv_path_rename(kv_io *io, const char *from, const char *to);
/* A path that is not there is no error. */
RT_MUST_CHECK rt_status kv_path_unlink(kv_io *io, const char *path);
/* Nor a directory that is. The new name is durable. */
RT_MUST_CHECK rt_status kv_path_make_dir(kv_io *io, const char *path);
/* Several, in order; what they are in is synced once. RT_ENOMEM, too. */
RT_MUST_CHECK rt_status kv_paths_make_dirs(kv_io *io, const char *const *paths, int32_t n_paths);
RT_MUST_CHECK rt_status kv_path_sync_dir(kv_io *io, const char *path);
RT_MUST_CHECK rt_status kv_paths_sync_dirs(kv_io *io, const char *const *paths, int32_t n_paths);
/* *exists is false, and *out empty, where there is none. Symbolic links are not followed. */
RT_MUST_CHECK rt_status kv_path_stat(kv_io *io, const char *path, kv_io_stat *out, bool *exists);
/* The same of several, side by side where the engine can. RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_paths_stat(
        kv_io *io, const char *const *paths, int32_t n_paths, kv_io_stat *out, bool *exist);
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
/* The same of several, side by side where the engine can; each to be freed, also after a failure. */
RT_MUST_CHECK rt_status kv_paths_list(
        kv_io *io, const char *const *paths, int32_t n_paths, kv_names *out);

#endif

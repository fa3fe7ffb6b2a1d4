/* Whole blocks of files from and to memory of any alignment, waited for unless they are queued; of reads several are on
 * their way at a time. A kv_blocks owns the memory of operations that were late, until they are answered. Private to
 * kvstore. */
#ifndef KV_IO_BLOCKS_H
#define KV_IO_BLOCKS_H

#include "io_files.h"

typedef struct kv_blocks kv_blocks;
/* `io` is borrowed. RT_ENOMEM */
RT_MUST_CHECK rt_status kv_blocks_create(kv_io *io, kv_blocks **out);
/* Late operations have 2 s left to be answered; memory of those that are not is never given back. Accepts NULL. */
void kv_blocks_free(kv_blocks *blocks);
/* offset: a multiple of KV_IO_ALIGN. n_bytes: any; what a write adds to fill a block is zeros.
 * Errors: RT_EIO, also when a read passes the end; RT_ENOFIT; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_blocks_read(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, void *bytes);
/* The same bytes in pieces: reads are ahead of what has been taken, some MiB. The file must stay open until the reader is
 * closed, and no more be taken than was said. After a failure there is no going on. close accepts NULL.
 * Errors: as kv_blocks_read, or RT_ENOMEM from open */
typedef struct kv_reader kv_reader;
RT_MUST_CHECK rt_status kv_reader_open(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, kv_reader **out);
/* Ask for the first of it, which the first take would else do. */
RT_MUST_CHECK rt_status kv_reader_start(kv_reader *reader);
RT_MUST_CHECK rt_status kv_reader_take(kv_reader *reader, void *bytes, int64_t n_bytes);
void kv_reader_close(kv_reader *reader);
RT_MUST_CHECK rt_status kv_blocks_write(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, const void *bytes);
/* The same without waiting: several are on their way at a time, from copies of the bytes. settle waits for all of them
 * and returns the first failure's status (the error text is the last one's); only then the files may be synced or
 * closed. */
void kv_blocks_queue(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, const void *bytes);
RT_MUST_CHECK rt_status kv_blocks_settle(kv_blocks *blocks);
/* Close a file, at once or as soon as late operations of kv_blocks on it are answered. */
void kv_blocks_close_file(kv_blocks *blocks, kv_file *file);

#endif

/* Books for those who have an I/O door already: the vault, tests. Private to kvstore. */
#ifndef KV_BOOKS_H
#define KV_BOOKS_H

#include "io.h"
#include "kvstore.h"

/* As kv_books_open, over the caller's I/O, which outlives the books. */
RT_MUST_CHECK rt_status kv_books_open_on(
        kv_io *io, const char *const *dirs, int32_t n_dirs, kv_books **out);

#endif

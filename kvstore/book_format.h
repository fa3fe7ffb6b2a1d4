/* A book's manifest: a small text, between bytes and numbers. No I/O here. Private to kvstore. */
#ifndef KV_BOOK_FORMAT_H
#define KV_BOOK_FORMAT_H

#include "chain.h"
#include "kvstore.h"

enum { KV_BOOK_BYTES_MAX = 8 << 20, KV_BOOK_NOTE_MAX = 64 << 10 };

/* name, fingerprint, n_tokens, created_s, note, chains -> text; free(). RT_EUSAGE: the name, or the
 * note. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_book_format(const kv_book *book, char **text, int64_t *n_bytes);
/* The way back; what a manifest does not say is left empty. `text` ends in a NUL that is not counted.
 * RT_ECORRUPT names line and reason. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_book_parse(const char *text, int64_t n_bytes, kv_book *out);

#endif

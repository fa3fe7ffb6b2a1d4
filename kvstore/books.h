/* Books for those who have an I/O door already: the vault, tests; and what books.c and books_verify.c
 * share. Private to kvstore. */
#ifndef KV_BOOKS_H
#define KV_BOOKS_H

#include <string.h>

#include "io.h"
#include "kvstore.h"
#include "vault_inside.h"

struct kv_books {
    kv_io *own_io; /* NULL: the caller's */
    kv_dirs dirs;
    kv_listing seen; /* by the survey, in the order of paths; empty without one */
    bool has_seen;
    int64_t first_ahead;           /* in `seen`: of those whose manifests have been read, */
    int32_t n_ahead;               /* which are so many, some of them books; */
    char *ahead[KV_TEXTS_AT_ONCE]; /* NULL: none, or not read */
    int64_t ahead_bytes[KV_TEXTS_AT_ONCE];
    kv_hash model; /* of `model_text`, the fingerprint that was read last; NULL: none */
    char *model_text;
};

/* As kv_books_open, over the caller's I/O, which outlives the books. */
RT_MUST_CHECK rt_status kv_books_open_on(
        kv_io *io, const char *const *dirs, int32_t n_dirs, kv_books **out);

/* The shards of a book, each once, as the part of their files' names: from lines "shard=2-3of4 ..." of its
 * note, where ranks keep some heads each; a book without any has whole files, whose part is "". */
typedef struct kv_shard_reader {
    const char *whole; /* both: the note */
    const char *note;
    bool has_any;
    bool is_over;
} kv_shard_reader;
/* False: there is no further one. */
bool kv_shard_next(kv_shard_reader *reader, char shard[KV_SHARD_BYTES]);

/* The next directory from `dir` on that has a shard of a segment of a book; -1: none. Ranks that hold the
 * same heads have a copy each. */
int32_t kv_books_locate(kv_books *books, const kv_book *book, int32_t segment, const char *shard,
        int32_t dir, kv_path *path, kv_io_stat *st);

/* Whether an open segment is the one that the book has at place i. RT_ECORRUPT: it is another's, or too short. */
RT_MUST_CHECK rt_status kv_book_check_place(
        const kv_book *book, int32_t i, const kv_segment *segment);

static inline kv_hash kv_hash_of(const uint8_t bytes[32]) {
    kv_hash hash;
    memcpy(hash.bytes, bytes, sizeof hash.bytes);
    return hash;
}

#endif

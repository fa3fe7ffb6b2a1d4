/* Checkpoints in a directory of their own, to change and to identify. */
#ifndef HELP_IDENTITY_H
#define HELP_IDENTITY_H

#include "runtime/identity.h"

/* A new directory that is the cache's home, too, from now on. */
const char *identity_begin_test(void);
/* Remove it; the program's exit code. */
int identity_end_test(void);

void identity_expect(bool is_true, const char *what);
void identity_require(rt_status status, const char *what);

/* "ROOT/format..." in one of 32 buffers, in turn. */
const char *identity_path(const char *format, ...) RT_PRINTF(1, 2);

/* A random model of two layers in ROOT/name, in shards of that many bytes (0: one file). */
void identity_write_model(const char *name, int64_t vocab, int64_t shard_bytes);

/* The identity of ROOT/name for KV in bf16; *bytes_read, where not NULL, is what it took. */
glm_identity identity_of(const char *name, int64_t *bytes_read);

bool identity_is_equal(const glm_identity *a, const glm_identity *b);

/* sh -c, which must succeed. */
void identity_shell(const char *format, ...) RT_PRINTF(1, 2);

/* Invert one byte, counted from the end (1: the last), and set the time of last write back. */
void identity_flip(const char *path, int64_t from_end);

/* Sleep until no file of ROOT/name is too young to be remembered. */
void identity_settle(const char *name);

#endif

/* Checkpoint directories of a few KiB, for tests that damage them. */
#ifndef HELP_CHECKPOINT_H
#define HELP_CHECKPOINT_H

#include "help_tokenizer.h"
#include "runtime/checkpoint.h"

typedef enum ckh_kind {
    CKH_NATIVE, /* one file, native names, QKV bias; no tokenizer: a vocabulary of 12 */
    CKH_HF,     /* one file, Hugging Face names, bias, post-norms; tokenizer.model */
    CKH_SHARDS, /* as CKH_HF, tied, in several files with an index; tokenizer.json */
    CKH_N_KINDS
} ckh_kind;

/* Random weights of one or two layers. */
const char *ckh_make(ckh_kind kind);

/* dir/name as a path, for free(). */
char *ckh_path(const char *dir, const char *name);

/* The whole of dir/name, for free(); writing it, -1 for a NUL-terminated text. */
char *ckh_read(const char *dir, const char *name, int64_t *n_bytes);
void ckh_write(const char *dir, const char *name, const void *bytes, int64_t n_bytes);

/* dir/name with the first `from` made `to`; it must be there. */
void ckh_edit(const char *dir, const char *name, const char *from, const char *to);

/* Open and close: what the status is. */
rt_status ckh_open(const char *dir);

/* Open, read every row of every tensor and the fingerprint; load the tokenizer where there is one;
 * both. */
rt_status ckh_load_tensors(const char *dir);
rt_status ckh_load_tokenizer(const char *dir);
rt_status ckh_load(const char *dir);

#endif

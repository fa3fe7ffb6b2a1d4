/* Whole runs of an engine, each in a process of its own, so that its peak of memory is its own: what
 * bench_overflow and bench_book share. */
#ifndef HELP_RUNS_H
#define HELP_RUNS_H

#include "help_measure.h"
#include "runtime/runtime.h"

enum { RUNS_VOCAB = 272 }; /* of both models */

/* A directory for a model, files without names and books; removed when the process exits. `kind`: the
 * embedded "needle" model, or "random" weights (hidden 256, 4 layers, 8 query heads over 2).
 *
 *   parent  where it is made */
const char *runs_directory(const char *parent, const char *kind);

/* The same at `path`, where it stays; true if it was there already. */
bool runs_kept_directory(const char *path, const char *kind);

/* Token ids of made-up English prose. For free(). */
int32_t *runs_text(int64_t n_tokens);

/* CPU seconds of this process, user and system. */
double runs_cpu_seconds(void);

/* Mixed into *hash, so that a run can be told from another by its bits. */
void runs_hash_logits(const glm_session *session, uint64_t *hash);

/* `work` in a child, which fills `result`; ends the program when it fails. */
typedef void runs_work(const void *context, void *result);
void runs_in_child(runs_work *work, const void *context, void *result, size_t n_bytes);

/* Sorted in place. */
double runs_median(double *values, int n);

/* argv[*i]'s value, a number of 1 or more; *i moves on to it. Ends the program with `usage`. */
const char *runs_value(int argc, char **argv, int *i, const char *usage);
int64_t runs_count(int argc, char **argv, int *i, const char *usage);

#endif

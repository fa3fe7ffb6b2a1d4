/* What the ranks of test_runtime_faults_of_ranks do, each in a process of its own.
 *
 * Rank 0 opens an engine, prefills 4,300 tokens of a text, decodes, keeps a book, closes; or does that with a cache
 * that overflows to disk, and keeps nothing. The others serve it. The environment says more:
 *
 *   GLM_TEST_DIR, _MODEL, _RANKS   where KV and logits go; the model; how many there are
 *   GLM_TEST_LOG                   each adds "E RANK STATUS SECONDS" when it knows that the group is over
 *   GLM_TEST_FAULT                 a fault of help_faults_ranks.h, or none
 *   GLM_TEST_SPILLS                set: the cache overflows */
#ifndef HELP_FAULTY_RANKS_H
#define HELP_FAULTY_RANKS_H

/* All return the process's exit code. fd: of par_local_join; NULL: a launcher started this rank. */
int help_faulty_rank(const char *fd);
int help_faulty_zero(void);
/* Either, as the launcher's environment says. */
int help_faulty_member(void);

#endif

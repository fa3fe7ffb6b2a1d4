/* Runs of a group of ranks with a fault: started, watched to the last process, and what came of them.
 *
 * The program is started again as "zero", "member" or "rank FD", and must then call help_faulty_ranks.h. It is the reaper
 * of orphans (PR_SET_CHILD_SUBREAPER): it sees every process end. A rank's line "E" in the log says when it had noticed. */
#ifndef HELP_FAULT_RUNS_H
#define HELP_FAULT_RUNS_H

#include <inttypes.h>

#include "help_faults_ranks.h"

/* What runs have in common. */
typedef struct help_fault_setup {
    const char *model; /* directory */
    const char *
            base; /* directory: of a run without a fault of N ranks, cleanN, of others what they are called */
    par_transport transport;
    bool spills; /* the cache overflows to disk */
} help_fault_setup;

typedef struct help_fault_outcome {
    int exit_code; /* of rank 0; 128 + signal */
    bool has_happened;
    char step[64];     /* in which the fault was */
    double detected_s; /* until the last of the other ranks knew */
    double gone_s;     /* until the last process was gone */
    int n_noticed;
    bool is_right; /* it ended well, with the logits of a run without a fault */
    bool has_hung;
    int64_t reused; /* tokens that were on disk */
    int operations;
    char text[512]; /* of rank 0's error */
} help_fault_outcome;

/* In a directory below base. */
help_fault_outcome help_fault_run(
        const help_fault_setup *setup, const char *name, int n_ranks, const help_fault *fault);
/* A run without a fault, which must end well: how many operations it has. */
int help_fault_count(const help_fault_setup *setup, int n_ranks);
/* Whether the last run there has the logits of a run without a fault of `like` ranks: to the bit, or, where `bound` is
 * above 0, with at most that relative error. */
bool help_fault_is_right(const help_fault_setup *setup, const char *name, int like, double bound);

/* A shell command, printf's way, that must succeed. */
void help_fault_shell(const char *format, ...) RT_PRINTF(1, 2);

#endif

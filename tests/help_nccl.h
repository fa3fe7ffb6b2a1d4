/* A group of devices over the stand-in NCCL (standin_nccl.h): one rank of four, whose control group is
 * played by the test. */
#ifndef HELP_NCCL_H
#define HELP_NCCL_H

#include "parallel/parallel.h"
#include "standin_nccl.h"

enum { HELP_NCCL_RANKS = 4, HELP_NCCL_RANK = 0 };

typedef struct help_nccl {
    standin_nccl *nccl;
    par_comm control;      /* this rank's end of it; the others say what it says */
    _Atomic int is_over;   /* the control group has ended, by somebody else's fault */
    _Atomic int n_aborted; /* abort() calls it got */
    char why[512];         /* of the first */
    int n_closed;
    int n_told;
    int other_differs; /* another rank has another library */
    double leave_s;    /* of the options; 0: as where there are none */
} help_nccl;

/* Everything as at the start. False where the stand-in was not built. */
bool help_nccl_begin(help_nccl *help);
rt_status help_nccl_open(help_nccl *help, double timeout_s, par_comm **out);
/* Every operation once; the first failure. */
rt_status help_nccl_use(par_comm *comm);

#endif

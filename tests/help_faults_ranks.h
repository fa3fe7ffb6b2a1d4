/* Faults of ranks: one rank does something wrong at its n-th operation of the group.
 *
 * The function pointers of a comm are wrapped; nothing in the program knows of it. */
#ifndef HELP_FAULTS_RANKS_H
#define HELP_FAULTS_RANKS_H

#include "parallel/parallel.h"

typedef enum help_fault_kind {
    HELP_FAULT_NONE,
    HELP_FAULT_KILL,  /* SIGKILL */
    HELP_FAULT_STOP,  /* SIGSTOP */
    HELP_FAULT_EXIT0, /* exit(0), exit(1), without a word */
    HELP_FAULT_EXIT1,
    HELP_FAULT_SLOW,      /* a hundred times slower from here on, for a while */
    HELP_FAULT_CORRUPT,   /* bytes on their way to others change */
    HELP_FAULT_DUPLICATE, /* what was sent is sent again */
    HELP_FAULT_FULL,      /* files cannot grow past 64 KiB */
    HELP_N_FAULTS
} help_fault_kind;

const char *help_fault_name(help_fault_kind kind);

typedef struct help_fault {
    help_fault_kind kind;
    int rank;
    int at; /* operation, from 1 */
} help_fault;

/* "kind rank at", as in an environment variable. False: it is none. */
bool help_fault_parse(const char *text, help_fault *out);

/* Wrap the comm if the fault is of its rank. When it happens a line "F <monotonic seconds>
 * <operation's step>" is appended to the file `log`, and when the group has made `at` operations without
 * one, nothing. One comm a process. */
void help_fault_install(par_comm *comm, const help_fault *fault, const char *log);

/* Operations of the group so far, of a wrapped comm. */
int help_fault_operations(void);

#endif

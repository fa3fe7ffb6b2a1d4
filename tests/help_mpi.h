/* Programs run as ranks by the MPI launcher in PATH, or as torchrun does. */
#ifndef HELP_MPI_H
#define HELP_MPI_H

#include <stdbool.h>

/* Whether there is a launcher, and a plug-in for it beside this program. `why` (256 bytes) says why
 * not. */
bool help_mpi_is_there(char *why);

/* Run this program again as n_ranks ranks with one argument. The launcher's exit status; 128 + signal
 * where one ended it. Its output goes to ours. */
int help_mpi_run(int n_ranks, const char *argument);
/* The same in place of this process; returns where there is no launcher. */
void help_mpi_exec(int n_ranks, const char *argument);

/* A TCP port of the loopback, which nobody is given by chance until the next call; -1: none. */
int help_free_port(void);

#endif

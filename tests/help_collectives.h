/* Every collective of a group, whatever carries it: gives what one process computes from all ranks'
 * operands, sums in ascending order of ranks, bit for bit; and who waits to be told something sleeps.
 *
 * Each rank makes everybody's operands from the rank's number, of magnitudes so unlike that any other
 * order of a sum gives other bits, at sizes on both sides of every limit in exchange.c. */
#ifndef HELP_COLLECTIVES_H
#define HELP_COLLECTIVES_H

#include "parallel/parallel.h"

/* Called by every rank of a new group; ends with a barrier. How many checks failed; they are printed. */
int help_collectives_check(par_comm *comm);

#endif

/* The life of a store that overflows, in one scripted run over a disk in memory that fails. */
#ifndef HELP_KV_LIFE_H
#define HELP_KV_LIFE_H

#include "help_kv_io.h"

/* Sequences park; overflow, some; are pinned. */
enum { KVH_LIFE_BUDGETS = 3 };

typedef struct kvh_life {
    int64_t n_events; /* of the fault's kind, in the script */
    int64_t n_failed; /* calls that returned an error */
} kvh_life;

/* Create, append, read alone and together, fork, cut, give up a span, free. After an error what is lost
 * is cut off and the step is tried again; with a fault for ever the script ends after a few. Then
 * the disk works: all sequences are read and grown, and nothing is left over. Whatever a walk shows is
 * compared: wrong tokens stop the test, as does a step that never works. */
kvh_life kvh_play_life(kvh_fault fault, int64_t at, bool for_ever, int budget);

#endif

/* Other programs, run on hostile input: one at a time, for so long, with so much memory and output. */
#ifndef RT_CHILD_H
#define RT_CHILD_H

#include <stdatomic.h>

#include "status.h"

/* The file to work on is descriptor RT_CHILD_FD there: RT_CHILD_FILE as an argument names it. */
enum { RT_CHILD_FD = 3 };
#define RT_CHILD_FILE "/dev/fd/3"

typedef struct rt_child_limits {
    double seconds;       /* from start to end */
    int64_t memory_bytes; /* address space of each process */
    int64_t output_bytes;
    const atomic_bool *stop; /* NULL: none; once it is set, the program is killed */
} rt_child_limits;

/* Run a program and take what it writes to standard output, plus a NUL that is not counted, for free().
 *
 *   argv    NULL-terminated; argv[0] is looked for in PATH
 *   fd      open for reading, and not moved; -1: none
 *   limits  numbers above zero
 *
 * It sees that descriptor, an empty standard input, the root directory and next to no environment.
 * It, and what it started, is dead when this returns, or when this process dies.
 *
 * Errors: RT_EUNSUPPORTED  there is no such program
 *         RT_EUSAGE        more output than that
 *         RT_EIO           it failed, was killed, or took too long: its own words are in the message
 *         RT_EINTERRUPTED  limits->stop, or a signal asks this process to end: its handler has run; RT_ENOMEM */
RT_MUST_CHECK rt_status rt_child_run(const char *const *argv, int fd, const rt_child_limits *limits,
        char **out, int64_t *n_bytes);

#endif

/* What must be so, or the test ends. */
#ifndef HELP_CHECK_H
#define HELP_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/status.h"

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            (void)fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, \
                    #condition, rt_error_text());                                             \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

/* The status of a call. */
static inline void help_require(rt_status status, const char *what) {
    if (status == RT_OK) return;
    printf("FAIL %s: %s\n", what, rt_error_text());
    exit(1);
}

#endif

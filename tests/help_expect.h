/* For tests that go on after a failure: what is expected is counted and named, what is required ends the
 * program. main() returns n_failed > 0. */
#ifndef HELP_EXPECT_H
#define HELP_EXPECT_H

#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/status.h"

static int n_failed;

static inline void expect(bool is_true, const char *what, const char *detail) {
    if (is_true) return;
    printf("FAIL %s: %s (last error: %s)\n", what, detail, rt_error_text());
    n_failed++;
}

static inline void require(rt_status status, const char *what) {
    if (status == RT_OK) return;
    printf("FAIL %s: %s\n", what, rt_error_text());
    exit(1);
}

#endif

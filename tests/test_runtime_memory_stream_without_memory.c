/* A text written to memory through a stream is whole, or its close says that there was no memory for it.
 *
 * Method: a text of many small writes is made once to count the allocations, then once with each of them refused: the
 * stream's own, its buffer, which it can do without, and those by which the text grows. (glibc's open_memstream then
 * drops some lines in the middle, and its fclose returns 0.) */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "help_check.h"
#include "help_faults.h"
#include "runtime/base/memstream.h"

enum { N_LINES = 5000 };

/* False: there was no memory for the text, and none of it is left. */
static bool write_lines(int64_t fail_at) {
    char *text = NULL;
    size_t n_bytes = 0;
    faults_begin(fail_at, NULL);
    FILE *stream = rt_memstream_open(&text, &n_bytes);
    for (int i = 0; stream && i < N_LINES; i++) (void)fprintf(stream, "line %05d\n", i);
    const bool is_whole = rt_memstream_close(stream, &text);
    faults_end();
    if (!is_whole) {
        CHECK(!text);
        return false;
    }
    CHECK(n_bytes == N_LINES * strlen("line 00000\n") && text[n_bytes] == '\0');
    for (int i = 0; i < N_LINES; i++) {
        char want[32];
        const size_t n = (size_t)snprintf(want, sizeof want, "line %05d\n", i);
        CHECK(memcmp(text + (size_t)i * n, want, n) == 0);
    }
    free(text);
    return true;
}

int main(void) {
    CHECK(write_lines(FAULTS_NEVER));
    const int64_t n = atomic_load(&faults.n_allocations);
    int64_t n_failed = 0;
    for (int64_t i = 0; i < n; i++) n_failed += !write_lines(i);
    (void)printf("%" PRId64 " allocations, %" PRId64 " of them needed\n", n, n_failed);
    CHECK(n_failed > 3 && n_failed >= n - 1);
    return 0;
}

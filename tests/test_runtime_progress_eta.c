/* What a progress line expects is from the work that was done in its time: not from what an earlier run did.
 *
 * Method: lines into a file, of a bar that is said to have begun ten seconds ago. The linker puts __wrap_rt_now before
 * the clock, which stands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/cli_progress.h"

static const char path_template[] = "/tmp/glm1m-test-XXXXXX";

double __wrap_rt_now(void);

double __wrap_rt_now(void) {
    return 1000.0;
}

/* The line of `done` of 1000 tokens and a tenth of that in work; from a bar whose first `before` were there. */
static void line_of(int64_t before, int64_t done, char text[256]) {
    static const glm_cli cli;
    char path[sizeof path_template];
    memcpy(path, path_template, sizeof path);
    const int file = mkstemp(path);
    const int screen = dup(STDERR_FILENO);
    if (file < 0 || screen < 0 || dup2(file, STDERR_FILENO) < 0) exit(1);
    glm_progress bar;
    glm_progress_begin(&bar, &cli, "prefill", "tokens");
    glm_progress_start_at(&bar, before, (double)before / 10.0);
    bar.started_s = rt_now() - 10.0;
    bar.last_drawn_s = bar.started_s;
    glm_progress_update(&bar, done, 1000, (double)done / 10.0, 100.0);
    (void)fflush(stderr);
    (void)dup2(screen, STDERR_FILENO);
    (void)close(screen);
    const ssize_t n = pread(file, text, 255, 0);
    text[n > 0 ? n : 0] = '\0';
    (void)close(file);
    (void)unlink(path);
}

static void expect(int64_t before, int64_t done, const char *want) {
    char text[256];
    line_of(before, done, text);
    if (strstr(text, want)) return;
    printf("FAIL from %d to %d of 1000: \"%s\", wanted \"%s\"\n", (int)before, (int)done, text,
            want);
    exit(1);
}

int main(void) {
    expect(0, 500, " 50.0%  500/1k tokens  50/s  ETA 10.0 s\n");
    expect(800, 900, " 90.0%  900/1k tokens  10/s  ETA 10.0 s\n");
    expect(900, 900, " 90.0%  900/1k tokens\n");
    return 0;
}

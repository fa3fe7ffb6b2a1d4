/* Preloaded into what a test runs: the wall clock is SET_CLOCK_S seconds ahead of the kernel's for whoever reads it. A
 * program that waits until a time of that clock waits so much longer, as where somebody sets it back meanwhile. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long ahead_s;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("SET_CLOCK_S");
    if (text) ahead_s = strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    int (*next)(clockid_t, struct timespec *) = NULL;
    void *symbol = dlsym(RTLD_NEXT, "clock_gettime");
    memcpy(&next, &symbol, sizeof next);
    const int result = next(clock, out);
    if (result == 0 && clock == CLOCK_REALTIME) out->tv_sec += ahead_s;
    return result;
}

time_t time(time_t *out) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

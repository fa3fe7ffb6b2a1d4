#include "help_said.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *said;

void help_listen(void) {
    said = tmpfile();
    if (!said || dup2(fileno(said), STDERR_FILENO) < 0) exit(1);
}

int64_t help_said(const char *words, int64_t *gpu_bytes) {
    char line[512];
    int64_t n = 0;
    rewind(said);
    while (fgets(line, sizeof line, said)) {
        const char *number = strstr(line, "gpu_bytes=");
        if (!strstr(line, words)) continue;
        n++;
        if (gpu_bytes) *gpu_bytes = number ? atoll(number + strlen("gpu_bytes=")) : -1;
    }
    (void)fseek(said, 0, SEEK_END);
    return n;
}

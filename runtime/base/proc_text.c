#include "proc_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool rt_proc_read(const char *path, char text[RT_PROC_TEXT_BYTES]) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t n = 0;
    ssize_t got = 1;
    while (got > 0 && n < RT_PROC_TEXT_BYTES - 1) {
        do got = read(fd, text + n, RT_PROC_TEXT_BYTES - 1 - n);
        while (got < 0 && errno == EINTR);
        if (got > 0) n += (size_t)got;
    }
    (void)close(fd);
    text[n] = '\0';
    return n > 0;
}

char *rt_proc_line(char **text) {
    char *line = *text;
    if (*line == '\0') return NULL;
    char *end = strchrnul(line, '\n');
    *text = *end ? end + 1 : end;
    *end = '\0';
    return line;
}

#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

enum { ERROR_TEXT_BYTES = 2048 };

static _Thread_local char error_text[ERROR_TEXT_BYTES];

/* Texts quote names from files: what would move a terminal's cursor is written as \xNN. */
static void set_error_text(const char *text) {
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    while (*text && n + 9 < sizeof error_text) {
        const int n_control = rt_control_bytes(text, 2); /* a NUL is there */
        for (int i = 0; i < n_control; i++, text++) {
            error_text[n++] = '\\';
            error_text[n++] = 'x';
            error_text[n++] = digits[*text >> 4 & 15];
            error_text[n++] = digits[*text & 15];
        }
        if (n_control == 0) error_text[n++] = *text++;
    }
    error_text[n] = '\0';
}

rt_status rt_fail(rt_status status, const char *format, ...) {
    /* Formatted aside first: an argument may be the previous error text. */
    char text[ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    set_error_text(text);
    return status;
}

rt_status rt_fail_errno(rt_status status, const char *format, ...) {
    const int saved_errno = errno;
    char text[ERROR_TEXT_BYTES];
    char reason[128];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *why = strerror_r(saved_errno, reason, sizeof reason);
    char whole[ERROR_TEXT_BYTES];
    (void)snprintf(
            whole, sizeof whole, "%.*s: %s", (int)(sizeof whole - sizeof reason - 3), text, why);
    set_error_text(whole);
    return status;
}

const char *rt_error_text(void) {
    return error_text;
}

const char *rt_status_name(rt_status status) {
    switch (status) {
    case RT_OK:
        return "ok";
    case RT_EUSAGE:
        return "usage";
    case RT_ENOMEM:
        return "memory";
    case RT_EIO:
        return "io";
    case RT_ENOFIT:
        return "no-fit";
    case RT_EMODEL:
        return "model";
    case RT_ECORRUPT:
        return "corrupt";
    case RT_EPEER:
        return "peer";
    case RT_ENUMERIC:
        return "numeric";
    case RT_EINTERRUPTED:
        return "interrupted";
    case RT_EUNSUPPORTED:
        return "unsupported";
    case RT_EDEVICE:
        return "device";
    }
    return "unknown";
}

_Noreturn void rt_assert_failed(const char *file, int line, const char *condition) {
    (void)fprintf(stderr, "glm1m: bug: %s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

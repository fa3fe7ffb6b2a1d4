#include "size.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *rt_format_bytes(int64_t bytes, char text[RT_SIZE_TEXT]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < RT_KIB) {
        (void)snprintf(text, RT_SIZE_TEXT, "%" PRId64 " B", bytes);
        return text;
    }
    double value = (double)bytes / 1024.0;
    int unit = 0;
    while (value >= 1024.0 && unit < 4) {
        value /= 1024.0;
        unit++;
    }
    (void)snprintf(text, RT_SIZE_TEXT, value < 100.0 ? "%.2f %s" : "%.1f %s", value, units[unit]);
    return text;
}

const char *rt_format_seconds(double seconds, char text[RT_SIZE_TEXT]) {
    if (!(seconds < 1e9)) {
        (void)snprintf(text, RT_SIZE_TEXT, "unknown");
    } else if (seconds < 59.95) {
        (void)snprintf(text, RT_SIZE_TEXT, "%.1f s", seconds);
    } else if (seconds < 3600.0) {
        const int64_t whole = (int64_t)llround(seconds);
        (void)snprintf(
                text, RT_SIZE_TEXT, "%" PRId64 " min %02" PRId64 " s", whole / 60, whole % 60);
    } else {
        const int64_t minutes = (int64_t)llround(seconds / 60.0);
        (void)snprintf(
                text, RT_SIZE_TEXT, "%" PRId64 " h %02" PRId64 " min", minutes / 60, minutes % 60);
    }
    return text;
}

const char *rt_format_tokens(int64_t n_tokens, char text[RT_SIZE_TEXT]) {
    if (n_tokens > 0 && n_tokens % RT_MIB == 0)
        (void)snprintf(text, RT_SIZE_TEXT, "%" PRId64 "M", n_tokens / RT_MIB);
    else if (n_tokens > 0 && n_tokens % RT_KIB == 0)
        (void)snprintf(text, RT_SIZE_TEXT, "%" PRId64 "K", n_tokens / RT_KIB);
    else if (n_tokens > 0 && n_tokens % 1000 == 0)
        (void)snprintf(text, RT_SIZE_TEXT, "%" PRId64 "k", n_tokens / 1000);
    else
        (void)snprintf(text, RT_SIZE_TEXT, "%" PRId64, n_tokens);
    return text;
}

/* The multiplier of a size suffix, 0 when it is none. Accepts an optional trailing B or iB for
 * bytes. */
static int64_t suffix_factor(const char *suffix, bool is_bytes) {
    static const char letters[] = "kmgt";
    if (suffix[0] == '\0') return 1;
    if (is_bytes && strcmp(suffix, "B") == 0) return 1;

    const char lower = (char)(suffix[0] | 0x20);
    const char *place = strchr(letters, lower);
    if (!place) return 0;
    const char *rest = suffix + 1;
    const bool plain = rest[0] == '\0';
    if (!plain && !(is_bytes && (strcmp(rest, "B") == 0 || strcmp(rest, "iB") == 0))) return 0;

    const int64_t base = !is_bytes && suffix[0] == lower ? 1000 : 1024;
    int64_t factor = base;
    for (int64_t i = 0; i < place - letters; i++) factor *= base;
    return factor;
}

rt_status rt_parse_size(const char *text, bool is_bytes, int64_t *out) {
    const char *what =
            is_bytes ? "a size such as 512M or 12G" : "a whole number such as 4096, 128k or 1M";
    if (text[0] < '0' || text[0] > '9') return rt_fail(RT_EUSAGE, "\"%s\" is not %s", text, what);

    char *end = NULL;
    const long double value = strtold(text, &end);
    const int64_t factor = suffix_factor(end, is_bytes);
    if (factor == 0) return rt_fail(RT_EUSAGE, "\"%s\" is not %s", text, what);

    const long double scaled = value * (long double)factor;
    if (!(scaled <= 9.2e18L)) return rt_fail(RT_EUSAGE, "\"%s\" is too large", text);
    /* 8.1k is 8100, though no binary fraction is 8.1. */
    const long double whole = roundl(scaled);
    if (fabsl(scaled - whole) > scaled * LDBL_EPSILON)
        return rt_fail(
                RT_EUSAGE, "\"%s\" is not a whole number%s", text, is_bytes ? " of bytes" : "");
    *out = (int64_t)whole;
    return RT_OK;
}

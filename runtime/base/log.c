#include "log.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* Those of info and debug lines, which GLM_LOG may pick (tests/cli_environment.sh compares). */
static const char *const module_names[] = {"cli", "engine", "http", "identity", "kvstore", "main",
        "needle", "prefill", "ranks", "serve", "weights"};
enum { N_MODULES = sizeof module_names / sizeof module_names[0] };

static rt_log_level max_level = RT_LOG_WARN;
static char modules[256]; /* ",engine,kvstore," or empty for all */

static char speaker[34]; /* "rank 1 " */
static bool tells_time;

void rt_log_name(const char *who) {
    (void)snprintf(speaker, sizeof speaker, "%.31s ", who);
}

/* systemd says which file is its journal's, which notes when each line came; others inherit that, and write elsewhere. */
static bool is_journal(int fd) {
    const char *journal = getenv("JOURNAL_STREAM");
    struct stat file;
    char name[64];
    if (!journal || fstat(fd, &file) != 0) return false;
    (void)snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)file.st_dev, (uintmax_t)file.st_ino);
    return strcmp(journal, name) == 0;
}

void rt_log_tell_time(void) {
    tells_time = !is_journal(STDERR_FILENO);
}

const char *rt_log_time(char text[RT_LOG_TIME_BYTES]) {
    struct timespec now;
    struct tm parts;
    text[0] = '\0';
    if (!tells_time || clock_gettime(CLOCK_REALTIME, &now) != 0 || !gmtime_r(&now.tv_sec, &parts))
        return text;
    const size_t n = strftime(text, RT_LOG_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + n, RT_LOG_TIME_BYTES - n, ".%03dZ ", (int)(now.tv_nsec / 1000000));
    return text;
}

rt_status rt_log_init(void) {
    const char *setting = getenv("GLM_LOG");
    if (!setting || !*setting) return RT_OK;

    const size_t level_length = strcspn(setting, ",");
    for (int level = RT_LOG_ERROR; level <= RT_LOG_DEBUG; level++) {
        const char *name = level_names[level];
        if (strlen(name) != level_length || strncmp(setting, name, level_length) != 0) continue;
        max_level = (rt_log_level)level;
        if (setting[level_length] == ',')
            (void)snprintf(modules, sizeof modules, "%s,", setting + level_length);
        return RT_OK;
    }
    return rt_fail(RT_EUSAGE,
            "GLM_LOG=%s: the first word must be error, warn, info or debug; modules may follow, as "
            "in debug,kvstore",
            setting);
}

static bool is_module(const char *name, size_t length) {
    for (int i = 0; i < N_MODULES; i++)
        if (strlen(module_names[i]) == length && strncmp(name, module_names[i], length) == 0)
            return true;
    return false;
}

static void tell_unknown(const char *name, size_t length) {
    char known[256] = "";
    size_t n = 0;
    for (int i = 0; i < N_MODULES; i++)
        n += (size_t)snprintf(
                known + n, sizeof known - n, "%s%s", i == 0 ? "" : ", ", module_names[i]);
    rt_log(RT_LOG_WARN, "log", "GLM_LOG names \"%.*s\", and no module is called so; there are %s",
            (int)length, name, known);
}

void rt_log_tell_unknown(void) {
    for (const char *name = modules; *name;) {
        const size_t length = strcspn(++name, ",");
        if (length > 0 && !is_module(name, length)) tell_unknown(name, length);
        name += length;
    }
}

bool rt_log_enabled(rt_log_level level, const char *module) {
    if (level > max_level) return false;
    if (!modules[0] || level <= RT_LOG_WARN) return true;
    char needle[64];
    (void)snprintf(needle, sizeof needle, ",%s,", module);
    return strstr(modules, needle) != NULL;
}

void rt_log(rt_log_level level, const char *module, const char *format, ...) {
    if (!rt_log_enabled(level, module)) return;
    char line[1024];
    char stamp[RT_LOG_TIME_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    (void)fprintf(stderr, "%s%s %s%s: %s\n", rt_log_time(stamp), level_names[level], speaker,
            module, line);
}

double rt_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

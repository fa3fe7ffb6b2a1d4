#include "cgroup.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc_text.h"
#include "size.h"

enum { PATH_BYTES = 512 };

const rt_cgroup_place rt_cgroup_own = {"/proc/self/cgroup", "/sys/fs/cgroup"};

/* A single number in a file; `absent` when the file is missing or says "max". */
static int64_t read_number(const char *path, int64_t absent) {
    char text[RT_PROC_TEXT_BYTES];
    if (!rt_proc_read(path, text)) return absent;
    char *end = NULL;
    const long long value = strtoll(text, &end, 10);
    return end == text ? absent : (int64_t)value;
}

/* Is `word` one of the names in "cpu,cpuacct"? "cpuset" is not "cpu". */
static bool has_name(const char *names, const char *word) {
    const size_t n = strlen(word);
    for (const char *at = names; at; at = strchr(at, ',')) {
        if (*at == ',') at++;
        if (strncmp(at, word, n) == 0 && (at[n] == ',' || at[n] == '\0')) return true;
    }
    return false;
}

/* Our own group's directory for a controller: v2 has one hierarchy ("0::/path"), v1 one each
 * ("5:memory:/path"). Inside a container the path may not exist below the mount; the mount's root
 * is then our own group. */
static bool own_directory(
        rt_cgroup_place place, const char *controller, char path[PATH_BYTES], bool *is_v2) {
    char text[RT_PROC_TEXT_BYTES];
    char unified[PATH_BYTES];
    (void)snprintf(unified, sizeof unified, "%s/cgroup.controllers", place.mount);
    if (!rt_proc_read(place.membership, text)) return false;
    char *rest = text;
    char *line;
    bool found = false;
    while (!found && (line = rt_proc_line(&rest))) {
        char *names = strchr(line, ':');
        char *where = names ? strchr(names + 1, ':') : NULL;
        if (!where) continue;
        *where++ = '\0';
        names++;
        *is_v2 = names[0] == '\0';
        if (*is_v2 && access(unified, R_OK) == 0) {
            (void)snprintf(path, PATH_BYTES, "%s%s", place.mount, where);
            found = true;
        } else if (!*is_v2 && has_name(names, controller)) {
            (void)snprintf(path, PATH_BYTES, "%s/%s%s", place.mount, controller, where);
            found = true;
        }
    }
    if (found && access(path, R_OK) != 0)
        (void)snprintf(path, PATH_BYTES, "%s%s%s", place.mount, *is_v2 ? "" : "/",
                *is_v2 ? "" : controller);
    return found;
}

/* Go one directory up, stopping at the mount. */
static bool parent_directory(rt_cgroup_place place, char path[PATH_BYTES]) {
    char *slash = strrchr(path, '/');
    if (!slash || strlen(path) <= strlen(place.mount)) return false;
    *slash = '\0';
    return true;
}

static double quota_of(rt_cgroup_place place) {
    char path[PATH_BYTES];
    bool is_v2 = false;
    if (!own_directory(place, "cpu", path, &is_v2)) return 1e9;

    double cpus = 1e9;
    do {
        char file[PATH_BYTES + 32];
        char text[RT_PROC_TEXT_BYTES];
        double quota = 0.0;
        double period = 0.0;
        if (is_v2) {
            (void)snprintf(file, sizeof file, "%s/cpu.max", path);
            if (!rt_proc_read(file, text) || sscanf(text, "%lf %lf", &quota, &period) != 2)
                continue;
        } else {
            (void)snprintf(file, sizeof file, "%s/cpu.cfs_quota_us", path);
            quota = (double)read_number(file, -1);
            (void)snprintf(file, sizeof file, "%s/cpu.cfs_period_us", path);
            period = (double)read_number(file, -1);
        }
        if (quota > 0.0 && period > 0.0 && quota / period < cpus) cpus = quota / period;
    } while (parent_directory(place, path));
    return cpus;
}

int rt_cgroup_cores(rt_cgroup_place place, int cores) {
    const double quota = quota_of(place);
    if (quota < (double)cores) cores = (int)quota + (quota > (double)(int)quota);
    return cores < 1 ? 1 : cores;
}

/* What the kernel gives back where room is needed: pages of files, which a group is charged with once it has read them. */
static int64_t cached_bytes(const char *directory, bool is_v2) {
    char file[PATH_BYTES + 32];
    char text[RT_PROC_TEXT_BYTES];
    (void)snprintf(file, sizeof file, "%s/memory.stat", directory);
    if (!rt_proc_read(file, text)) return 0;
    int64_t active = 0;
    int64_t inactive = 0;
    char *rest = text;
    for (char *line = rt_proc_line(&rest); line; line = rt_proc_line(&rest)) {
        (void)sscanf(line, is_v2 ? "active_file %" SCNd64 : "total_active_file %" SCNd64, &active);
        (void)sscanf(
                line, is_v2 ? "inactive_file %" SCNd64 : "total_inactive_file %" SCNd64, &inactive);
    }
    return rt_max64(active, 0) + rt_max64(inactive, 0);
}

/* v1 writes "no limit" as a number near 2^63. Above v2's memory.high (systemd's MemoryHigh) nothing is killed, but all of
 * the group is slowed down until it hardly moves: who plans stays below. */
static int64_t limit_of(const char *directory, bool is_v2) {
    char file[PATH_BYTES + 32];
    (void)snprintf(
            file, sizeof file, "%s/%s", directory, is_v2 ? "memory.max" : "memory.limit_in_bytes");
    int64_t limit = read_number(file, INT64_MAX);
    if (is_v2) {
        (void)snprintf(file, sizeof file, "%s/memory.high", directory);
        const int64_t high = read_number(file, INT64_MAX);
        if (high > 0) limit = rt_min64(limit, high);
    }
    return limit > 0 && limit <= INT64_MAX / 2 ? limit : INT64_MAX;
}

void rt_cgroup_memory(rt_cgroup_place place, int64_t *limit_bytes, int64_t *left_bytes) {
    *limit_bytes = INT64_MAX;
    *left_bytes = INT64_MAX;
    char path[PATH_BYTES];
    bool is_v2 = false;
    if (!own_directory(place, "memory", path, &is_v2)) return;
    do {
        char file[PATH_BYTES + 32];
        const int64_t limit = limit_of(path, is_v2);
        if (limit == INT64_MAX) continue;
        (void)snprintf(file, sizeof file, "%s/%s", path,
                is_v2 ? "memory.current" : "memory.usage_in_bytes");
        const int64_t used = rt_max64(read_number(file, 0) - cached_bytes(path, is_v2), 0);
        *limit_bytes = rt_min64(*limit_bytes, limit);
        *left_bytes = rt_min64(*left_bytes, rt_max64(limit - used, 0));
    } while (parent_directory(place, path));
}

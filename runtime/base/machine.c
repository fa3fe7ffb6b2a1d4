#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "size.h"

enum { PATH_BYTES = 512, TEXT_BYTES = 4096 };

/* The beginning of a file of /proc or /sys; false when it cannot be read or is empty. Nothing is
 * allocated: how much memory there is must be known when there is none. */
static bool read_text(const char *path, char text[TEXT_BYTES]) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t n = 0;
    ssize_t got = 1;
    while (got > 0 && n < TEXT_BYTES - 1) {
        do got = read(fd, text + n, TEXT_BYTES - 1 - n);
        while (got < 0 && errno == EINTR);
        if (got > 0) n += (size_t)got;
    }
    (void)close(fd);
    text[n] = '\0';
    return n > 0;
}

/* The next line of a text, made a string of its own; NULL behind the last. */
static char *next_line(char **text) {
    char *line = *text;
    if (*line == '\0') return NULL;
    char *end = strchrnul(line, '\n');
    *text = *end ? end + 1 : end;
    *end = '\0';
    return line;
}

/* A single number in a file; `absent` when the file is missing or says "max". */
static int64_t read_number(const char *path, int64_t absent) {
    char text[TEXT_BYTES];
    if (!read_text(path, text)) return absent;
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
static bool cgroup_directory(const char *controller, char path[PATH_BYTES], bool *is_v2) {
    char text[TEXT_BYTES];
    if (!read_text("/proc/self/cgroup", text)) return false;
    char *rest = text;
    char *line;
    bool found = false;
    while (!found && (line = next_line(&rest))) {
        char *names = strchr(line, ':');
        char *where = names ? strchr(names + 1, ':') : NULL;
        if (!where) continue;
        *where++ = '\0';
        names++;
        *is_v2 = names[0] == '\0';
        if (*is_v2 && access("/sys/fs/cgroup/cgroup.controllers", R_OK) == 0) {
            (void)snprintf(path, PATH_BYTES, "/sys/fs/cgroup%s", where);
            found = true;
        } else if (!*is_v2 && has_name(names, controller)) {
            (void)snprintf(path, PATH_BYTES, "/sys/fs/cgroup/%s%s", controller, where);
            found = true;
        }
    }
    if (found && access(path, R_OK) != 0)
        (void)snprintf(path, PATH_BYTES, "%s%s", "/sys/fs/cgroup", *is_v2 ? "" : "/memory");
    return found;
}

/* Go one directory up, stopping at the mount. */
static bool parent_directory(char path[PATH_BYTES]) {
    char *slash = strrchr(path, '/');
    if (!slash || strlen(path) <= strlen("/sys/fs/cgroup")) return false;
    *slash = '\0';
    return true;
}

static double cgroup_cpus(void) {
    char path[PATH_BYTES];
    bool is_v2 = false;
    if (!cgroup_directory("cpu", path, &is_v2)) return 1e9;

    double cpus = 1e9;
    do {
        char file[PATH_BYTES + 32];
        char text[TEXT_BYTES];
        double quota = 0.0;
        double period = 0.0;
        if (is_v2) {
            (void)snprintf(file, sizeof file, "%s/cpu.max", path);
            if (!read_text(file, text) || sscanf(text, "%lf %lf", &quota, &period) != 2) continue;
        } else {
            (void)snprintf(file, sizeof file, "%s/cpu.cfs_quota_us", path);
            quota = (double)read_number(file, -1);
            (void)snprintf(file, sizeof file, "%s/cpu.cfs_period_us", path);
            period = (double)read_number(file, -1);
        }
        if (quota > 0.0 && period > 0.0 && quota / period < cpus) cpus = quota / period;
    } while (parent_directory(path));
    return cpus;
}

int rt_machine_cores(void) {
    int cores = 1;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
    const double quota = cgroup_cpus();
    if (quota < (double)cores) cores = (int)quota + (quota > (double)(int)quota);
    return cores < 1 ? 1 : cores;
}

/* The tightest limit on the way up, and what is left below it. */
static void cgroup_memory(int64_t *limit_bytes, int64_t *left_bytes) {
    *limit_bytes = INT64_MAX;
    *left_bytes = INT64_MAX;
    char path[PATH_BYTES];
    bool is_v2 = false;
    if (!cgroup_directory("memory", path, &is_v2)) return;
    do {
        char file[PATH_BYTES + 32];
        (void)snprintf(
                file, sizeof file, "%s/%s", path, is_v2 ? "memory.max" : "memory.limit_in_bytes");
        const int64_t limit = read_number(file, INT64_MAX);
        /* v1 writes "no limit" as a number near 2^63. */
        if (limit <= 0 || limit > INT64_MAX / 2) continue;
        (void)snprintf(file, sizeof file, "%s/%s", path,
                is_v2 ? "memory.current" : "memory.usage_in_bytes");
        const int64_t used = read_number(file, 0);
        *limit_bytes = rt_min64(*limit_bytes, limit);
        *left_bytes = rt_min64(*left_bytes, rt_max64(limit - used, 0));
    } while (parent_directory(path));
}

rt_status rt_machine_memory_read(rt_machine_memory *out) {
    char text[TEXT_BYTES];
    if (!read_text("/proc/meminfo", text))
        return rt_fail_errno(RT_EIO, "machine: cannot read /proc/meminfo");
    int64_t total_kib = 0;
    int64_t available_kib = 0;
    char *rest = text;
    for (char *line = next_line(&rest); line; line = next_line(&rest)) {
        (void)sscanf(line, "MemTotal: %" SCNd64, &total_kib);
        (void)sscanf(line, "MemAvailable: %" SCNd64, &available_kib);
    }
    if (total_kib <= 0) return rt_fail(RT_EIO, "machine: /proc/meminfo has no MemTotal");

    int64_t left = 0;
    cgroup_memory(&out->cgroup_bytes, &left);
    out->total_bytes = total_kib * RT_KIB;
    out->available_bytes = rt_min64(available_kib * RT_KIB, left);
    return RT_OK;
}

int64_t rt_machine_peak_rss(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (int64_t)usage.ru_maxrss * RT_KIB;
}

rt_isa rt_machine_isa(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 =
            __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (has_avx2 && has_avx512) return RT_ISA_AVX512;
    if (has_avx2) return RT_ISA_AVX2;
#endif
    return RT_ISA_PORTABLE;
}

bool rt_machine_has_amx(void) {
#if defined(__x86_64__)
    /* Leaf 7, EDX: bit 22 is AMX-BF16, bit 24 AMX-TILE. */
    const unsigned wanted = 1u << 22 | 1u << 24;
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & wanted) == wanted;
#else
    return false;
#endif
}

const char *rt_isa_name(rt_isa isa) {
    return isa == RT_ISA_AVX512 ? "avx512" : isa == RT_ISA_AVX2 ? "avx2" : "portable";
}

const char *rt_machine_cpu_name(char text[128]) {
    (void)snprintf(text, 128, "unknown CPU");
    char facts[TEXT_BYTES];
    if (!read_text("/proc/cpuinfo", facts)) return text;
    char *rest = facts;
    for (char *line = next_line(&rest); line; line = next_line(&rest)) {
        if (strncmp(line, "model name", 10) != 0) continue;
        const char *value = strchr(line, ':');
        if (value && value[1] == ' ') (void)snprintf(text, 128, "%s", value + 2);
        break;
    }
    return text;
}

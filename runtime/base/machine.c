#include "machine.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "cgroup.h"
#include "proc_text.h"
#include "size.h"
#include "slurm.h"

enum { TEXT_BYTES = RT_PROC_TEXT_BYTES };

void rt_machine_core_mask(rt_core_mask *out) {
    cpu_set_t set;
    memset(out, 0, sizeof *out);
    if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_ZERO(&set);
    for (size_t i = 0; i < 8 * sizeof out->words; i++)
        if (CPU_ISSET(i, &set)) out->words[i / 64] |= UINT64_C(1) << (i % 64);
}

int rt_machine_cores_of(const rt_core_mask *mask) {
    int cores = 0;
    for (size_t i = 0; i < sizeof mask->words / sizeof mask->words[0]; i++)
        cores += __builtin_popcountll(mask->words[i]);
    return rt_cgroup_cores(rt_cgroup_own, cores);
}

int rt_machine_cores(void) {
    rt_core_mask mask;
    rt_machine_core_mask(&mask);
    return rt_slurm_cores(rt_machine_cores_of(&mask), 1);
}

/* A limit of this process, and what counts towards it by that name in /proc/self/status. */
static void count_own_limit(
        rt_machine_memory *out, int resource, const char *name, const char *used) {
    struct rlimit limit;
    char text[TEXT_BYTES];
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur > INT64_MAX / 2) return;
    int64_t used_kib = 0;
    char *rest = text;
    if (!rt_proc_read("/proc/self/status", text)) return;
    for (char *line = rt_proc_line(&rest); line; line = rt_proc_line(&rest))
        if (strncmp(line, used, strlen(used)) == 0)
            (void)sscanf(line + strlen(used), "%" SCNd64, &used_kib);
    const int64_t left = rt_max64((int64_t)limit.rlim_cur - used_kib * RT_KIB, 0);
    if (left >= out->own_bytes) return;
    out->own_bytes = left;
    out->own_name = name;
}

int64_t rt_machine_stack_bytes(void) {
    pthread_attr_t attributes;
    size_t n_bytes = 0;
    if (pthread_attr_init(&attributes) != 0) return 0;
    (void)pthread_attr_getstacksize(&attributes, &n_bytes);
    (void)pthread_attr_destroy(&attributes);
    return (int64_t)n_bytes;
}

rt_status rt_machine_memory_read(rt_machine_memory *out) {
    char text[TEXT_BYTES];
    if (!rt_proc_read("/proc/meminfo", text))
        return rt_fail_errno(RT_EIO, "machine: cannot read /proc/meminfo");
    int64_t total_kib = 0;
    int64_t available_kib = 0;
    char *rest = text;
    for (char *line = rt_proc_line(&rest); line; line = rt_proc_line(&rest)) {
        (void)sscanf(line, "MemTotal: %" SCNd64, &total_kib);
        (void)sscanf(line, "MemAvailable: %" SCNd64, &available_kib);
    }
    if (total_kib <= 0) return rt_fail(RT_EIO, "machine: /proc/meminfo has no MemTotal");

    int64_t left = 0;
    rt_cgroup_memory(rt_cgroup_own, &out->cgroup_bytes, &left);
    out->total_bytes = total_kib * RT_KIB;
    out->available_bytes = rt_min64(available_kib * RT_KIB, left);
    out->own_bytes = INT64_MAX;
    out->own_name = NULL;
    count_own_limit(out, RLIMIT_AS, "ulimit -v", "VmSize:");
    count_own_limit(out, RLIMIT_DATA, "ulimit -d", "VmData:");
    return RT_OK;
}

int64_t rt_machine_peak_rss(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (int64_t)usage.ru_maxrss * RT_KIB;
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

bool rt_machine_may_use_amx(void) {
#if defined(__x86_64__)
    /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return rt_machine_has_amx() && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

static rt_isa best_isa(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 =
            __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    const bool has_amx = __builtin_cpu_supports("avx512vbmi") && rt_machine_may_use_amx();
    if (has_avx2 && has_avx512) return has_amx ? RT_ISA_AMX : RT_ISA_AVX512;
    if (has_avx2) return RT_ISA_AVX2;
#endif
    return RT_ISA_PORTABLE;
}

/* Asked for every page; to look costs microseconds on a virtual machine. */
rt_isa rt_machine_isa(void) {
    enum { UNKNOWN = -1 };
    static _Atomic int known = UNKNOWN;
    if (known == UNKNOWN) known = (int)best_isa();
    return (rt_isa)known;
}

const char *rt_isa_name(rt_isa isa) {
    static const char *const names[] = {"portable", "avx2", "avx512", "amx"};
    return names[isa];
}

const char *rt_machine_cpu_name(char text[128]) {
    (void)snprintf(text, 128, "unknown CPU");
    char facts[TEXT_BYTES];
    if (!rt_proc_read("/proc/cpuinfo", facts)) return text;
    char *rest = facts;
    for (char *line = rt_proc_line(&rest); line; line = rt_proc_line(&rest)) {
        if (strncmp(line, "model name", 10) != 0) continue;
        const char *value = strchr(line, ':');
        if (value && value[1] == ' ') (void)snprintf(text, 128, "%s", value + 2);
        break;
    }
    return text;
}

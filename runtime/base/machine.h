/* What this machine grants us: cores, memory, instruction sets. Limits of cgroups (v1 and v2), of CPU
 * affinity and of this process (ulimit) count; a container's limit is the machine. */
#ifndef RT_MACHINE_H
#define RT_MACHINE_H

#include "status.h"

/* Threads worth starting: the affinity mask, cut to the cgroup's CPU quota rounded up, and to slurm.h's; >= 1. */
int rt_machine_cores(void);
/* The mask itself, a bit a core; and how many cores a mask, several processes' together, is worth: >= 1. */
typedef struct rt_core_mask {
    uint64_t words[16];
} rt_core_mask;
void rt_machine_core_mask(rt_core_mask *out);
int rt_machine_cores_of(const rt_core_mask *mask);

typedef struct rt_machine_memory {
    int64_t total_bytes;     /* MemTotal */
    int64_t available_bytes; /* MemAvailable, cut to what the cgroups leave */
    int64_t cgroup_bytes;    /* the tightest cgroup limit; INT64_MAX when there is none */
    int64_t own_bytes; /* what ulimit -v or -d, the tighter, leaves this process; INT64_MAX: neither is set */
    const char *own_name; /* which: "ulimit -v"; NULL: neither */
} rt_machine_memory;

/* RT_EIO when /proc/meminfo cannot be read. */
RT_MUST_CHECK rt_status rt_machine_memory_read(rt_machine_memory *out);

/* Of ulimit's bytes a thread of ours takes so much for its stack, used or not. */
int64_t rt_machine_stack_bytes(void);

/* This process's largest resident size so far, bytes (getrusage). */
int64_t rt_machine_peak_rss(void);

/* Instruction sets with kernels of their own, in rising order. AMX: AVX-512 with VBMI, which all that have
 * AMX have, and tiles that multiply bf16 matrices. */
typedef enum rt_isa { RT_ISA_PORTABLE, RT_ISA_AVX2, RT_ISA_AVX512, RT_ISA_AMX } rt_isa;

/* The best this CPU and operating system offer. */
rt_isa rt_machine_isa(void);
const char *rt_isa_name(rt_isa isa);

/* Intel AMX. */
bool rt_machine_has_amx(void);
/* And the operating system lets this process use them: Linux from 5.16 on does when asked, for good. */
bool rt_machine_may_use_amx(void);

/* "AMD EPYC 7B13", from /proc/cpuinfo; "unknown CPU" where it is absent. Writes into `text`. */
const char *rt_machine_cpu_name(char text[128]);

#endif

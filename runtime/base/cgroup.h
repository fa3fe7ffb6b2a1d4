/* What the control groups that we are in leave us, versions 1 and 2. The tightest limit from our own group up to
 * the mount counts. */
#ifndef RT_CGROUP_H
#define RT_CGROUP_H

#include <stdint.h>

/* Where the kernel shows them. Tests have trees of their own. */
typedef struct rt_cgroup_place {
    const char *membership; /* a file as /proc/self/cgroup */
    const char *mount;      /* a directory as /sys/fs/cgroup */
} rt_cgroup_place;

extern const rt_cgroup_place rt_cgroup_own;

/* `cores` cut to the CPU quota, rounded up; >= 1. */
int rt_cgroup_cores(rt_cgroup_place place, int cores);

/* Bytes: the tightest limit, and the least that is left below one, files' pages in memory not counted, which make room;
 * both INT64_MAX where there is none. */
void rt_cgroup_memory(rt_cgroup_place place, int64_t *limit_bytes, int64_t *left_bytes);

#endif

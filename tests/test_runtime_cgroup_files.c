/* Limits of cgroups are read from where the kernel shows them, versions 1 and 2: the tightest on the way up.
 *
 * Method: trees of files as both versions have them, made below a directory of our own, and read by the functions
 * that read the kernel's; test_runtime_cgroup_limits_count asks the kernel, where one may make groups. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/cgroup.h"
#include "runtime/base/size.h"

enum { CORES = 64, PATH = 256 };

/* A path ("/" at its end: a directory) below the tree, and what is in it. */
typedef struct entry {
    const char *path;
    const char *text;
} entry;

typedef struct tree {
    const char *what;
    const char *membership;
    entry entries[12];
    int cores; /* of 64 */
    int64_t limit;
    int64_t left;
} tree;

static const tree trees[] = {
        {"v2, our own group the tightest", "0::/a/b\n",
                {{"cgroup.controllers", "cpu memory\n"}, {"a/", 0}, {"a/b/", 0},
                        {"a/cpu.max", "800000 100000\n"}, {"a/b/cpu.max", "150000 100000\n"},
                        {"a/memory.max", "4294967296\n"}, {"a/memory.current", "1073741824\n"},
                        {"a/b/memory.max", "2147483648\n"}, {"a/b/memory.current", "268435456\n"}},
                2, 2 * RT_GIB, 2 * RT_GIB - 256 * RT_MIB},
        {"v2, a group above is tighter, and fuller", "0::/a/b\n",
                {{"cgroup.controllers", "cpu memory\n"}, {"a/", 0}, {"a/b/", 0},
                        {"a/cpu.max", "300000 100000\n"}, {"a/b/cpu.max", "max 100000\n"},
                        {"a/memory.max", "4294967296\n"}, {"a/memory.current", "4194304000\n"},
                        {"a/b/memory.max", "max\n"}, {"a/b/memory.current", "1\n"}},
                3, 4 * RT_GIB, 4 * RT_GIB - 4000 * RT_MIB},
        {"v2, of files that were read most could go", "0::/a\n",
                {{"cgroup.controllers", "cpu memory\n"}, {"a/", 0},
                        {"a/memory.max", "4294967296\n"}, {"a/memory.current", "4294963200\n"},
                        {"a/memory.stat", "anon 1073741824\nfile 3221225472\nfile_mapped 4096\n"
                                          "inactive_file 2147483648\nactive_file 1073741824\n"}},
                CORES, 4 * RT_GIB, 3 * RT_GIB + 4096},
        {"v2, it is slowed down before it is full", "0::/a\n",
                {{"cgroup.controllers", "cpu memory\n"}, {"a/", 0},
                        {"a/memory.max", "4294967296\n"}, {"a/memory.high", "3221225472\n"},
                        {"a/memory.current", "1073741824\n"}},
                CORES, 3 * RT_GIB, 2 * RT_GIB},
        {"v2, it is slowed down, and never full", "0::/a/b\n",
                {{"cgroup.controllers", "cpu memory\n"}, {"a/", 0}, {"a/b/", 0},
                        {"a/memory.max", "max\n"}, {"a/memory.high", "3221225472\n"},
                        {"a/memory.current", "1073741824\n"}, {"a/b/memory.max", "max\n"},
                        {"a/b/memory.high", "max\n"}, {"a/b/memory.current", "4096\n"}},
                CORES, 3 * RT_GIB, 2 * RT_GIB},
        {"v1, of files that were read most could go, of a group with groups", "6:memory:/m\n",
                {{"memory/", 0}, {"memory/m/", 0},
                        {"memory/m/memory.limit_in_bytes", "4294967296\n"},
                        {"memory/m/memory.usage_in_bytes", "4294967296\n"},
                        {"memory/m/memory.stat", "inactive_file 0\nactive_file 4096\n"
                                                 "total_inactive_file 1073741824\n"
                                                 "total_active_file 2147483648\n"}},
                CORES, 4 * RT_GIB, 3 * RT_GIB},
        {"v2, the mount is our group, as in a container", "0::/not/below/the/mount\n",
                {{"cgroup.controllers", "cpu memory\n"}, {"cpu.max", "50000 100000\n"},
                        {"memory.max", "1073741824\n"}, {"memory.current", "2147483648\n"}},
                1, RT_GIB, 0},
        {"v2, no limit", "0::/\n",
                {{"cgroup.controllers", "cpu memory\n"}, {"cpu.max", "max 100000\n"},
                        {"memory.max", "max\n"}},
                CORES, INT64_MAX, INT64_MAX},
        {"v2, files that hold nothing", "0::/a\n",
                {{"cgroup.controllers", "cpu memory\n"}, {"a/", 0}, {"a/cpu.max", ""},
                        {"a/memory.max", ""}},
                CORES, INT64_MAX, INT64_MAX},
        {"v1, cpuset is not cpu", "7:cpuset:/a\n6:memory:/m\n3:cpu,cpuacct:/c/d\n0::/a\n",
                {{"cpuset/", 0}, {"cpuset/a/", 0}, {"memory/", 0}, {"memory/m/", 0}, {"cpu/", 0},
                        {"cpu/c/", 0}, {"cpu/c/d/", 0}, {"cpu/c/cpu.cfs_quota_us", "250000\n"},
                        {"cpu/c/cpu.cfs_period_us", "100000\n"},
                        {"cpu/c/d/cpu.cfs_quota_us", "-1\n"},
                        {"memory/m/memory.limit_in_bytes", "536870912\n"},
                        {"memory/m/memory.usage_in_bytes", "268435456\n"}},
                3, 512 * RT_MIB, 256 * RT_MIB},
        {"v1, no limit is a number near 2^63", "6:memory:/\n3:cpu:/\n",
                {{"memory/", 0}, {"cpu/", 0}, {"cpu/cpu.cfs_quota_us", "-1\n"},
                        {"cpu/cpu.cfs_period_us", "100000\n"},
                        {"memory/memory.limit_in_bytes", "9223372036854771712\n"},
                        {"memory/memory.usage_in_bytes", "268435456\n"}},
                CORES, INT64_MAX, INT64_MAX},
        {"v1, the mounts are our groups, as in a container",
                "6:memory:/docker/x\n3:cpu:/docker/x\n",
                {{"memory/", 0}, {"cpu/", 0}, {"cpu/cpu.cfs_quota_us", "200000\n"},
                        {"cpu/cpu.cfs_period_us", "100000\n"},
                        {"memory/memory.limit_in_bytes", "1073741824\n"},
                        {"memory/memory.usage_in_bytes", "0\n"}},
                2, RT_GIB, RT_GIB},
        {"no groups at all", "", {{0}}, CORES, INT64_MAX, INT64_MAX},
};

static char root[] = "/tmp/glm1m-cgroup-XXXXXX";

static bool write_file(const char *name, const char *text) {
    char path[PATH];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    if (!text) return mkdir(path, 0755) == 0;
    FILE *file = fopen(path, "w");
    if (!file) return false;
    const bool is_written = fputs(text, file) >= 0;
    return fclose(file) == 0 && is_written;
}

static void remove_file(const char *name) {
    char path[PATH];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    (void)remove(path);
}

static int n_entries(const tree *t) {
    int n = 0;
    while (n < (int)(sizeof t->entries / sizeof *t->entries) && t->entries[n].path) n++;
    return n;
}

static bool holds(const tree *t) {
    char membership[PATH];
    char mount[PATH];
    (void)snprintf(membership, sizeof membership, "%s/membership", root);
    (void)snprintf(mount, sizeof mount, "%s", root);
    const rt_cgroup_place place = {membership, mount};
    int64_t limit = 0;
    int64_t left = 0;
    const int cores = rt_cgroup_cores(place, CORES);
    rt_cgroup_memory(place, &limit, &left);
    if (cores == t->cores && limit == t->limit && left == t->left) return true;
    printf("FAIL: %s: %d cores, limit %" PRId64 ", left %" PRId64 "; expected %d, %" PRId64
           ", %" PRId64 "\n",
            t->what, cores, limit, left, t->cores, t->limit, t->left);
    return false;
}

static bool check(const tree *t) {
    bool is_made = write_file("membership", t->membership);
    for (int i = 0; i < n_entries(t); i++)
        is_made = write_file(t->entries[i].path, t->entries[i].text) && is_made;
    const bool is_right = is_made && holds(t);
    for (int i = n_entries(t) - 1; i >= 0; i--) remove_file(t->entries[i].path);
    remove_file("membership");
    if (!is_made) printf("FAIL: %s: the tree could not be made\n", t->what);
    return is_right;
}

int main(void) {
    if (!mkdtemp(root)) return 1;
    bool is_right = true;
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++)
        is_right = check(&trees[i]) && is_right;
    return rmdir(root) == 0 && is_right ? 0 : 1;
}

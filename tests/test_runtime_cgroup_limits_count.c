/* The limits of a cgroup are the machine: its memory bounds the plan, its CPU quota the threads.
 *
 * Method: in a child, inside a cgroup of our own with 1 GiB and one CPU, ask what the machine
 * grants. Needs root and writable v1 or v2 controllers; skipped elsewhere. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/machine.h"
#include "runtime/base/size.h"

static const char *const v1_memory = "/sys/fs/cgroup/memory";
static const char *const v1_cpu = "/sys/fs/cgroup/cpu";
static const char *const v2_root = "/sys/fs/cgroup";
static char group_name[32];

static bool write_to(const char *root, const char *name, const char *text) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s/%s", root, group_name, name);
    FILE *file = fopen(path, "w");
    if (!file) return false;
    const bool is_written = fputs(text, file) >= 0;
    return fclose(file) == 0 && is_written;
}

static bool make_group(const char *root) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", root, group_name);
    return mkdir(path, 0755) == 0 || errno == EEXIST;
}

static void remove_group(const char *root) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", root, group_name);
    (void)rmdir(path);
}

/* Put this process into a limited group; false where that cannot be done. */
static bool enter(void) {
    char pid[32];
    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (access("/sys/fs/cgroup/cgroup.controllers", R_OK) == 0)
        return make_group(v2_root) && write_to(v2_root, "memory.max", "1073741824") &&
               write_to(v2_root, "cpu.max", "100000 100000") &&
               write_to(v2_root, "cgroup.procs", pid);
    return make_group(v1_memory) && make_group(v1_cpu) &&
           write_to(v1_memory, "memory.limit_in_bytes", "1073741824") &&
           write_to(v1_cpu, "cpu.cfs_period_us", "100000") &&
           write_to(v1_cpu, "cpu.cfs_quota_us", "100000") &&
           write_to(v1_memory, "cgroup.procs", pid) && write_to(v1_cpu, "cgroup.procs", pid);
}

static int check(void) {
    rt_machine_memory memory;
    if (!enter()) return 77;
    if (rt_machine_memory_read(&memory) != RT_OK) return 1;
    printf("limit %" PRId64 ", available %" PRId64 ", cores %d\n", memory.cgroup_bytes,
            memory.available_bytes, rt_machine_cores());
    return memory.cgroup_bytes != RT_GIB || memory.available_bytes > RT_GIB ||
           rt_machine_cores() != 1;
}

int main(void) {
    (void)snprintf(group_name, sizeof group_name, "glm1m-test-%ld", (long)getpid());
    const pid_t child = fork();
    if (child == 0) {
        const int result = check();
        (void)fflush(stdout);
        _exit(result);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child) return 1;
    remove_group(v1_memory);
    remove_group(v1_cpu);
    remove_group(v2_root);
    const int result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (result == 77) printf("skipped: no cgroup could be made here\n");
    return result;
}

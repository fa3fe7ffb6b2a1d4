/* Each limit a machine can set: the same bytes by other means, or an error that names it.
 *
 * Method: child processes that take something away from themselves (io_uring in whole or in part by
 * seccomp, locked memory, descriptors, room for files to grow, O_DIRECT, disk space, writing at all)
 * and then do the scripted run or the one thing that must be refused. What takes a mount needs a
 * mount namespace; without one it says that it was not tried. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_kv_io.h"
#include "kvstore/kvstore.h"

enum { BLOCKS = 40, NOT_TRIED = 77, NOBODY = 65534 };

static char path[512];
static const char *dir;

static kv_io *create(kv_io_mode mode) {
    const kv_io_config config = {.mode = mode};
    kv_io *io = NULL;
    if (kv_io_create(&config, &io) == RT_OK) return io;
    (void)fprintf(stderr, "%s\n", rt_error_text());
    exit(1);
}

static kvh_outcome check_run(kv_io_mode mode, const char *description) {
    kv_io *io = create(mode);
    if (strncmp(kv_io_describe(io), description, strlen(description)) != 0)
        (void)fprintf(stderr, "%s, not %s\n", kv_io_describe(io), description);
    CHECK(strncmp(kv_io_describe(io), description, strlen(description)) == 0);
    const kvh_outcome o = kvh_script(io, path, BLOCKS, NULL);
    CHECK(o.n_io == 0 && o.n_nofit == 0 && o.stats.n_done == o.n_ok && o.n_ok > 3 * BLOCKS);
    CHECK(kv_io_close(io) == RT_OK);
    return o;
}

static void not_tried(const char *why) {
    (void)printf("not tried (%s): ", why);
    (void)fflush(stdout);
    _exit(NOT_TRIED);
}

/* ---- io_uring forbidden ---------------------------------------------------------------------- */

static void forbid(unsigned system_call, unsigned error) {
    struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, system_call, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) not_tried("no seccomp");
}

static void check_forbidden(unsigned system_call, unsigned error, const char *description) {
    const kv_io_config config = {.mode = KV_IO_URING};
    kv_io *io = NULL;
    if (kv_io_create(&config, &io) != RT_OK) not_tried("no io_uring to forbid");
    CHECK(kv_io_close(io) == RT_OK);
    forbid(system_call, error);
    CHECK(kv_io_create(&config, &io) == RT_EUNSUPPORTED);
    (void)check_run(KV_IO_AUTO, description);
    char text[KV_DISK_TEXT];
    kv_disk_describe_way(text);
    CHECK(strncmp(text, description, strlen(description)) == 0);
}

static void without_permission(void) {
    check_forbidden(SYS_io_uring_setup, EPERM,
            "pread, because kvstore: io_uring is not available: Operation not permitted");
}

static void without_system_call(void) {
    check_forbidden(SYS_io_uring_setup, ENOSYS,
            "pread, because kvstore: io_uring is not available: Function not implemented");
}

static void without_enter(void) {
    check_forbidden(SYS_io_uring_enter, EPERM,
            "pread, because kvstore: io_uring is there but may not be used: Operation not");
}

static void without_register(void) {
    check_forbidden(SYS_io_uring_register, EPERM, "pread, because kvstore: io_uring ");
}

/* ---- memory, descriptors --------------------------------------------------------------------- */

static void without_locked_memory(void) {
    const struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    CHECK(geteuid() != 0 || setuid(NOBODY) == 0); /* root may lock what it likes */
    CHECK(!check_run(KV_IO_AUTO, "").is_lent);
    char text[KV_DISK_TEXT];
    kv_disk_describe_way(text);
    CHECK(strstr(text, "locked memory is limited to 0 B") || strstr(text, "pread, because"));
}

static int lowest_free(void) {
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && close(fd) == 0);
    return fd;
}

/* n 0: no more than the system does. */
static void limit_descriptors(int n) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = n > 0 ? (rlim_t)n : limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void without_descriptors(void) {
    limit_descriptors(lowest_free());
    kv_io *io = create(KV_IO_AUTO);
    CHECK(strncmp(kv_io_describe(io), "pread, because", 14) == 0);
    kv_file *file = NULL;
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT, &file) == RT_EIO);
    CHECK(strstr(rt_error_text(), "/file: Too many open files"));
    CHECK(kv_io_close(io) == RT_OK);
    limit_descriptors(0); /* the leak check opens files */
}

/* The second file is refused, and the first goes on. */
static void with_one_descriptor(void) {
    kv_io *io = create(KV_IO_AUTO);
    limit_descriptors(lowest_free() + 1);
    kv_file *first = NULL, *second = NULL;
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT, &first) == RT_OK);
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT, &second) == RT_EIO);
    CHECK(strstr(rt_error_text(), "Too many open files"));
    kv_file_close(first);
    CHECK(kvh_script(io, path, BLOCKS, NULL).n_io == 0);
    CHECK(kv_io_close(io) == RT_OK);
    limit_descriptors(0);
}

/* Descriptors beyond the table of registered files. */
static void with_high_descriptors(void) {
    while (lowest_free() < 300) CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
    (void)check_run(KV_IO_AUTO, "");
}

/* ---- files that may not grow ----------------------------------------------------------------- */

static void without_room_in(kv_io_mode mode) {
    const struct rlimit some = {64 * 1024, 64 * 1024};
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &some) == 0);
    kv_io *io = create(mode);
    kv_file *file = NULL;
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT | O_TRUNC, &file) == RT_OK);
    CHECK(kv_file_reserve(file, 128 * 1024) == RT_ENOFIT);
    kv_io_op op = {.file = file,
            .is_write = true,
            .urgency = KV_IO_BEHIND,
            .bytes = aligned_alloc(KV_IO_ALIGN, 8192),
            .n_bytes = 8192,
            .offset = 128 * 1024};
    CHECK(op.bytes);
    memset(op.bytes, 7, 8192);
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_ENOFIT);
    CHECK(strstr(rt_error_text(), "8192 bytes at byte 131072: File too large"));
    op.offset = 0;
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_OK);
    op.is_write = false;
    op.offset = 4096; /* half of it is there */
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_EIO && strstr(rt_error_text(), "ends at byte 8192"));
    op.offset = 8192; /* nothing of it */
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_EIO && strstr(rt_error_text(), "ends at byte 8192"));
    free(op.bytes);
    kv_file_close(file);
    CHECK(kv_io_close(io) == RT_OK);
}

static void without_room(void) {
    without_room_in(KV_IO_AUTO);
}

static void without_room_pread(void) {
    without_room_in(KV_IO_PREAD);
}

/* The signal of a file too large must not reach the threads, where nobody ignores it. */
static void without_room_or_mercy(void) {
    const struct rlimit some = {64 * 1024, 64 * 1024};
    kv_io *io = create(KV_IO_PREAD);
    kv_file *file = NULL;
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT | O_TRUNC, &file) == RT_OK);
    CHECK(setrlimit(RLIMIT_FSIZE, &some) == 0);
    kv_io_op op = {.file = file,
            .is_write = true,
            .bytes = aligned_alloc(KV_IO_ALIGN, 4096),
            .n_bytes = 4096,
            .offset = 128 * 1024};
    memset(op.bytes, 7, 4096);
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_ENOFIT);
    free(op.bytes);
    kv_file_close(file);
    CHECK(kv_io_close(io) == RT_OK);
}

/* ---- file systems of our own ----------------------------------------------------------------- */

/* A mount on `dir` that nobody else sees and that goes with the process. */
static void mount_here(const char *type, unsigned long flags, const char *options) {
    const bool is_root = geteuid() == 0;
    if (unshare(CLONE_NEWNS | (is_root ? 0 : CLONE_NEWUSER)) != 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("none", dir, type, flags, options) != 0)
        not_tried(strerror(errno));
}

static void check_described(const char *description) {
    char text[KV_DISK_TEXT], inside[600], again[KV_DISK_TEXT];
    kv_disk_describe(dir, text);
    if (!strstr(text, description)) (void)fprintf(stderr, "%s\n", text);
    CHECK(strstr(text, " free, ") && strstr(text, description));
    (void)snprintf(inside, sizeof inside, "%s/not/there", dir);
    kv_disk_describe(inside, again);
    CHECK(strstr(again, description));
}

static void without_o_direct(void) {
    mount_here("ramfs", 0, NULL);
    check_described("ramfs (memory), no O_DIRECT, so through the page cache");
    CHECK(!check_run(KV_IO_AUTO, "").is_direct);
    CHECK(!check_run(KV_IO_PREAD, "").is_direct);
    /* The first attempt, with O_DIRECT, leaves the file there; of others' files it keeps away. */
    kv_io *io = create(KV_IO_AUTO);
    kv_file *file = NULL;
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT | O_EXCL, &file) == RT_EIO);
    CHECK(strstr(rt_error_text(), "File exists"));
    CHECK(unlink(path) == 0);
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT | O_EXCL, &file) == RT_OK);
    kv_file_close(file);
    CHECK(kv_io_close(io) == RT_OK);
}

static void without_writing(void) {
    mount_here("tmpfs", MS_RDONLY, NULL);
    check_described("tmpfs (memory), not to be written: ");
    kv_io *io = create(KV_IO_AUTO);
    kv_file *file = NULL;
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT, &file) == RT_EIO);
    CHECK(strstr(rt_error_text(), "/file: Read-only file system"));
    CHECK(kv_io_close(io) == RT_OK);
}

/* Write 64 KiB after 64 KiB until the disk is full; what was written stays, and room made is used. */
static void fill_up(kv_io_mode mode) {
    enum { STEP = 64 * 1024, STEPS_MAX = 256 };
    kv_io *io = create(mode);
    kv_file *file = NULL;
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT | O_TRUNC, &file) == RT_OK);
    CHECK(kv_file_reserve(file, (int64_t)STEP * STEPS_MAX) == RT_ENOFIT);
    CHECK(truncate(path, 0) == 0);
    kv_io_op op = {.file = file, .bytes = aligned_alloc(KV_IO_ALIGN, STEP), .n_bytes = STEP};
    CHECK(op.bytes);
    int n = 0;
    rt_status status = RT_OK;
    for (; n < STEPS_MAX; n++) {
        memset(op.bytes, n + 1, STEP);
        op.is_write = true;
        op.offset = (int64_t)n * STEP;
        kv_io_start(io, &op);
        status = kv_io_wait(io, &op);
        if (status != RT_OK) break;
    }
    CHECK(status == RT_ENOFIT && n > 1 && strstr(rt_error_text(), "No space left on device"));
    op.is_write = false;
    for (int i = 0; i < n; i++) {
        op.offset = (int64_t)i * STEP;
        kv_io_start(io, &op);
        CHECK(kv_io_wait(io, &op) == RT_OK);
        for (int b = 0; b < STEP; b++) CHECK(((uint8_t *)op.bytes)[b] == (uint8_t)(i + 1));
    }
    free(op.bytes);
    kv_file_close(file);
    CHECK(unlink(path) == 0);
    CHECK(kvh_script(io, path, BLOCKS, NULL).n_nofit == 0);
    CHECK(kv_io_close(io) == RT_OK);
    CHECK(unlink(path) == 0);
}

static void with_full_memory_disk(void) {
    mount_here("tmpfs", 0, "size=2m");
    check_described("2.00 MiB free, tmpfs (memory), ");
    fill_up(KV_IO_AUTO);
    fill_up(KV_IO_PREAD);
}

/* A disk image with a file system, where there are the tools and the rights. */
static void with_full_disk(void) {
    char command[1024];
    if (geteuid() != 0) not_tried("not root");
    mount_here("tmpfs", 0, "size=16m");
    (void)snprintf(command, sizeof command,
            "cd %s && truncate -s 8M image && mkfs.ext4 -q -O ^has_journal image && mkdir disk && "
            "mount -o loop image disk",
            dir);
    if (system(command) != 0) not_tried("no loop device, or no mkfs.ext4");
    (void)snprintf(path, sizeof path, "%s/disk/file", dir);
    fill_up(KV_IO_AUTO);
    fill_up(KV_IO_PREAD);
}

/* ---- children -------------------------------------------------------------------------------- */

static void check_child(const char *name, void (*work)(void)) {
    (void)unlink(path);
    (void)fflush(stdout);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        work();
        exit(0);
    }
    int how = 0;
    CHECK(waitpid(child, &how, 0) == child);
    const int code = WIFEXITED(how) ? WEXITSTATUS(how) : -1;
    (void)printf("%s\n", name);
    if (code == 0 || code == NOT_TRIED) return;
    (void)fprintf(stderr, "%s: status %d\n", name, how);
    exit(1);
}

int main(void) {
    dir = kvh_make_dir();
    CHECK(chmod(dir, 0777) == 0); /* for nobody */
    (void)snprintf(path, sizeof path, "%s/file", dir);
    check_child("io_uring forbidden (EPERM)", without_permission);
    check_child("io_uring unknown (ENOSYS)", without_system_call);
    check_child("io_uring without io_uring_enter", without_enter);
    check_child("io_uring without io_uring_register", without_register);
    check_child("no locked memory", without_locked_memory);
    check_child("no descriptors", without_descriptors);
    check_child("one descriptor", with_one_descriptor);
    check_child("descriptors beyond 300", with_high_descriptors);
    check_child("files of 64 KiB, best engine", without_room);
    check_child("files of 64 KiB, pread", without_room_pread);
    check_child("files of 64 KiB, SIGXFSZ not ignored", without_room_or_mercy);
    check_child("no O_DIRECT", without_o_direct);
    check_child("read-only", without_writing);
    check_child("full tmpfs", with_full_memory_disk);
    check_child("full ext4", with_full_disk);
    (void)unlink(path);
    kvh_remove_dir();
    return 0;
}

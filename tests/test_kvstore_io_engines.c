/* Both engines move the same bytes, on a real file, with and without faults in front of them.
 *
 * Method: the scripted run through io_uring (where the kernel grants it) and through pread, then
 * with random faults from a seed; and each limit a machine can set: io_uring forbidden by seccomp
 * (EPERM, ENOSYS), no locked memory, no room for files to grow. Each in a child process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_kv_io.h"

enum { BLOCKS = 40, FAULTY_RUNS = 60 };

static char path[512];

static void remove_file(void) {
    (void)unlink(path);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void check_clean(kv_io_mode mode, const char *description) {
    const kv_io_config config = {.mode = mode};
    kv_io *io = NULL;
    CHECK(kv_io_create(&config, &io) == RT_OK);
    if (description) CHECK(strncmp(kv_io_describe(io), description, strlen(description)) == 0);
    const kvh_outcome o = kvh_script(io, path, BLOCKS, NULL);
    CHECK(o.n_io == 0 && o.n_nofit == 0 && o.n_ok > 3 * BLOCKS);
    CHECK(o.stats.n_done == o.n_ok && o.stats.n_strays == 0 && o.stats.n_late == 0);
    CHECK(o.stats.bytes_read > 0 && o.stats.bytes_written > 0);
    CHECK(kv_io_close(io) == RT_OK);
}

static void check_faulty(bool is_uring) {
    uint64_t random = 1;
    for (int i = 0; i < FAULTY_RUNS; i++) {
        const kvh_fault fault = (kvh_fault)(1 + kvh_random(&random) % (KVH_COMPLETE_EBADR - 1));
        const int64_t at = (int64_t)(kvh_random(&random) % BLOCKS);
        const bool for_ever = i % 4 == 0;
        const kv_io_config config = {.timeout_s = kvh_is_silent(fault, for_ever) ? 0.05 : 30};
        kv_io_engine engine;
        kvh_faults *faults = NULL;
        kv_io *io = NULL;
        CHECK((is_uring ? kv_io_uring_create(KV_IO_DEPTH_MAX, &engine)
                        : kv_io_pread_create(KV_IO_DEPTH_MAX, &engine)) == RT_OK);
        engine = kvh_inject(engine, fault, at, for_ever, &faults);
        CHECK(kv_io_create_on(engine, &config, &io) == RT_OK);
        const kvh_outcome o = kvh_script(io, path, BLOCKS, faults);
        if (!for_ever && kvh_is_harmless_once(fault)) CHECK(o.n_io == 0 && o.n_nofit == 0);
        CHECK(kv_io_close(io) == RT_OK);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void forbid_io_uring(unsigned error) {
    struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(0); /* nested sandbox */
}

static void check_forbidden(unsigned error) {
    forbid_io_uring(error);
    const kv_io_config config = {.mode = KV_IO_URING};
    kv_io *io = NULL;
    CHECK(kv_io_create(&config, &io) == RT_EUNSUPPORTED);
    check_clean(KV_IO_AUTO, "pread, because kvstore: io_uring is not available");
}

static void without_permission(void) {
    check_forbidden(EPERM);
}

static void without_system_call(void) {
    check_forbidden(ENOSYS);
}

static void without_locked_memory(void) {
    const struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    check_clean(KV_IO_AUTO, NULL);
}

static void without_room_in(kv_io_mode mode) {
    const struct rlimit some = {64 * 1024, 64 * 1024};
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &some) == 0);
    const kv_io_config config = {.mode = mode};
    kv_io *io = NULL;
    kv_file *file = NULL;
    CHECK(kv_io_create(&config, &io) == RT_OK);
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT | O_TRUNC, &file) == RT_OK);
    CHECK(kv_file_reserve(file, 128 * 1024) == RT_ENOFIT);
    kv_io_op op = {.file = file,
            .is_write = true,
            .urgency = KV_IO_BEHIND,
            .bytes = aligned_alloc(KV_IO_ALIGN, 8192),
            .n_bytes = 8192,
            .offset = 128 * 1024};
    CHECK(op.bytes);
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

static void check_child(const char *name, void (*work)(void)) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        work();
        exit(0);
    }
    int how = 0;
    CHECK(waitpid(child, &how, 0) == child);
    if (WIFEXITED(how) && WEXITSTATUS(how) == 0) return;
    (void)fprintf(stderr, "%s: status %d\n", name, how);
    exit(1);
}

int main(void) {
    (void)snprintf(path, sizeof path, "%s/file", kvh_make_dir());
    (void)atexit(remove_file);
    kv_io_engine engine;
    const bool has_uring = kv_io_uring_create(1, &engine) == RT_OK;
    if (has_uring)
        engine.table->free(engine.self);
    else
        (void)printf("no io_uring here: %s\n", rt_error_text());

    check_clean(KV_IO_PREAD, "pread");
    check_clean(KV_IO_AUTO, has_uring ? "io_uring" : "pread, because");
    check_faulty(false);
    if (has_uring) check_faulty(true);
    check_child("io_uring forbidden (EPERM)", without_permission);
    check_child("io_uring unknown (ENOSYS)", without_system_call);
    check_child("no locked memory", without_locked_memory);
    check_child("no room, best engine", without_room);
    check_child("no room, pread", without_room_pread);
    remove_file();
    kvh_remove_dir();
    return 0;
}

/* Bugs of the caller stop the program: a closed file with work left, and another process's disk I/O.
 *
 * Method: each misuse in a child process, which must not survive; the same without it must. */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_kv_codec.h"
#include "help_kv_io.h"

static kv_io *io;
static kv_file *file;
static kv_io_op op;
static bool is_misused;

static void begin(void) {
    const kv_io_config config = {0};
    CHECK(kv_io_create_on(kvh_ramdisk(), &config, &io) == RT_OK);
    CHECK(kv_file_open(io, "in memory", O_RDWR | O_CREAT, &file) == RT_OK);
    op = (kv_io_op){.file = file, .bytes = aligned_alloc(KV_IO_ALIGN, 4096), .n_bytes = 4096};
    CHECK(op.bytes);
}

static void end(void) {
    kv_file_close(file);
    CHECK(kv_io_close(io) == RT_OK);
    free(op.bytes);
}

static void close_with_work(void) {
    begin();
    kv_io_start(io, &op);
    if (!is_misused) CHECK(kv_io_wait(io, &op) == RT_OK);
    end();
}

static void close_io_with_files(void) {
    begin();
    if (is_misused) (void)!kv_io_close(io);
    end();
}

static void odd_bytes(void) {
    begin();
    if (is_misused) op.offset = 512;
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_OK);
    end();
}

/* A child's descriptors and rings are its parent's: what it reads there the parent misses. */
static void wait_in_a_child(void) {
    begin();
    kv_io_start(io, &op);
    if (is_misused) {
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            (void)!kv_io_wait(io, &op);
            _exit(0);
        }
        int how = 0;
        CHECK(waitpid(child, &how, 0) == child);
        if (WIFSIGNALED(how)) _exit(1);
    }
    CHECK(kv_io_wait(io, &op) == RT_OK);
    end();
}

static void check_stops(const char *name, void (*work)(void)) {
    is_misused = false;
    CHECK(kvh_survives(work));
    is_misused = true;
    if (!kvh_survives(work)) return;
    (void)fprintf(stderr, "%s: was carried on with\n", name);
    exit(1);
}

int main(void) {
    check_stops("a file closed with work left", close_with_work);
    check_stops("I/O closed with files open", close_io_with_files);
    check_stops("an offset that is no multiple of 4096", odd_bytes);
    check_stops("waiting in a child", wait_in_a_child);
    return 0;
}

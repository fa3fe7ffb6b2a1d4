/* A disk that gives little at a time, or interrupts, changes nothing; one that fails at any read
 * makes a clear error, and nothing leaks.
 *
 * Method: load everything of small checkpoints while every read gives one byte, while every second
 * read is interrupted, and with EIO or the end of the file at each read in turn. */
#include "help_checkpoint.h"
#include "help_faults.h"

#include <inttypes.h>

static int64_t failing_read;

static int one_byte(int fd, int64_t i, size_t *n_bytes) {
    (void)fd;
    (void)i;
    *n_bytes = 1;
    return 0;
}

static int interrupted(int fd, int64_t i, size_t *n_bytes) {
    (void)fd;
    (void)n_bytes;
    return i % 2 == 0 ? EINTR : 0;
}

static int fails(int fd, int64_t i, size_t *n_bytes) {
    (void)fd;
    (void)n_bytes;
    return i == failing_read ? EIO : 0;
}

static int ends(int fd, int64_t i, size_t *n_bytes) {
    (void)fd;
    if (i == failing_read) *n_bytes = 0;
    return 0;
}

static rt_status load_with(const char *dir, faults_on_read *on_read) {
    faults_begin(FAULTS_NEVER, on_read);
    const rt_status status = ckh_load(dir);
    faults_end();
    return status;
}

int main(void) {
    int64_t n = 0;
    for (int kind = 0; kind < CKH_N_KINDS; kind++) {
        const char *dir = ckh_make((ckh_kind)kind);
        CHECK(load_with(dir, one_byte) == RT_OK);
        CHECK(atomic_load(&faults.n_reads) > 1000);
        CHECK(load_with(dir, interrupted) == RT_OK);
        CHECK(load_with(dir, NULL) == RT_OK);
        const int64_t n_reads = atomic_load(&faults.n_reads);
        for (failing_read = 0; failing_read < n_reads; failing_read++) {
            CHECK(load_with(dir, fails) == RT_EIO);
            CHECK(strstr(rt_error_text(), "Input/output error") && strstr(rt_error_text(), dir));
            CHECK(load_with(dir, ends) == RT_EIO);
            CHECK(strstr(rt_error_text(), " ends at byte ") && strstr(rt_error_text(), dir));
            n += 2;
        }
    }
    (void)printf("%" PRId64 " failures of a disk\n", n);
    return 0;
}

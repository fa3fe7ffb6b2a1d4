/* Both engines move the same bytes, on a real file, with and without faults in front of them.
 *
 * Method: the scripted run through io_uring (where the kernel grants it) and through pread, half of its
 * memory lent; then with random faults from a seed; then memory of more than one registered slice, made
 * of one small file mapped many times. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "help_kv_io.h"
#include "runtime/base/size.h"

enum { BLOCKS = 40, FAULTY_RUNS = 40 };

static char path[512];

static void remove_file(void) {
    (void)unlink(path);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void check_clean(kv_io_mode mode, const char *description) {
    const kv_io_config config = {.mode = mode};
    kv_io *io = NULL;
    CHECK(kv_io_create(&config, &io) == RT_OK);
    CHECK(strncmp(kv_io_describe(io), description, strlen(description)) == 0);
    const kvh_outcome o = kvh_script(io, path, BLOCKS, NULL);
    CHECK(o.n_io == 0 && o.n_nofit == 0 && o.n_ok > 3 * BLOCKS);
    CHECK(o.stats.n_done == o.n_ok && o.stats.n_strays == 0 && o.stats.n_late == 0);
    CHECK(o.stats.bytes_read > 0 && o.stats.bytes_written > 0);
    CHECK(kv_io_close(io) == RT_OK);
}

static void check_faulty(bool is_uring) {
    uint64_t random = 1;
    for (int i = 0; i < FAULTY_RUNS; i++) {
        const kvh_fault fault = (kvh_fault)(1 + random_next(&random) % (KVH_COMPLETE_EBADR - 1));
        const int64_t at = (int64_t)(random_next(&random) % BLOCKS);
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

/* ---- slices ---------------------------------------------------------------------------------- */

enum { WINDOW = 2 << 20 };

static const int64_t lent_bytes = RT_GIB + 2 * (int64_t)WINDOW;

/* Address space for lent_bytes, every 2 MiB of it the same 2 MiB of memory. */
static char *map_often(void) {
    const int fd = memfd_create("window", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, WINDOW) == 0);
    char *base = mmap(NULL, (size_t)lent_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    for (int64_t at = 0; at < lent_bytes; at += WINDOW)
        CHECK(mmap(base + at, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
                base + at);
    (void)close(fd);
    return base;
}

/* Write 8 KiB from lent memory at `at`, read them back into the same place. */
static void check_place(kv_io *io, kv_file *file, char *base, int64_t at) {
    kv_io_op op = {.file = file,
            .is_write = true,
            .bytes = base + at,
            .n_bytes = 8192,
            .offset = at % (1 << 20)};
    for (int i = 0; i < 8192; i++) base[at + i] = (char)(at / 4096 + i * 7);
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_OK);
    memset(base + at, 0xee, 8192);
    op.is_write = false;
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_OK);
    for (int i = 0; i < 8192; i++) CHECK(base[at + i] == (char)(at / 4096 + i * 7));
}

static void check_slices(kv_io_mode mode) {
    const kv_io_config config = {.mode = mode};
    kv_io *io = NULL;
    kv_file *file = NULL;
    char *base = map_often();
    CHECK(kv_io_create(&config, &io) == RT_OK);
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT | O_TRUNC, &file) == RT_OK);
    const bool is_lent = kv_io_lend(io, base, lent_bytes);
    if (!is_lent) (void)printf("no memory may be locked here: slices are as if not lent\n");
    CHECK(!kv_io_lend(io, base, lent_bytes)); /* once */
    check_place(io, file, base, 0);
    check_place(io, file, base, RT_GIB - 8192);
    check_place(io, file, base, RT_GIB - 4096); /* in both slices: as if not lent */
    check_place(io, file, base, RT_GIB);
    check_place(io, file, base, lent_bytes - 8192);
    kv_file_close(file);
    CHECK(kv_io_close(io) == RT_OK);
    CHECK(munmap(base, (size_t)lent_bytes) == 0);
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
    check_slices(KV_IO_AUTO);
    remove_file();
    kvh_remove_dir();
    return 0;
}

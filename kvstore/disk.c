/* What a drive and this machine's way to it offer, in words: for doctor and reports. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "io_files.h"
#include "kvstore.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

/* ---- the way ---------------------------------------------------------------------------------- */

/* Memory lent for a moment: as much as a few runs on their way take. */
static bool can_lend(kv_io *io) {
    static const int64_t n_bytes = 16 * RT_MIB;
    void *memory = NULL;
    if (rt_mem_alloc(n_bytes, "a trial", &memory) != RT_OK) return false;
    const bool is_lent = kv_io_lend(io, memory, n_bytes);
    rt_mem_free(memory, n_bytes);
    return is_lent;
}

static void describe_lock_limit(char *text, size_t text_bytes) {
    struct rlimit limit = {0};
    char size[RT_SIZE_TEXT];
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    (void)snprintf(text, text_bytes, "%s",
            limit.rlim_cur == RLIM_INFINITY ? "unlimited"
                                            : rt_format_bytes((int64_t)limit.rlim_cur, size));
}

void kv_disk_describe_way(char text[KV_DISK_TEXT]) {
    const kv_io_config config = {.mode = KV_IO_AUTO};
    kv_io *io = NULL;
    if (kv_io_create(&config, &io) != RT_OK) {
        (void)snprintf(text, KV_DISK_TEXT, "none: %s", rt_error_text());
        return;
    }
    const bool is_uring = strcmp(kv_io_describe(io), "io_uring") == 0;
    char limit[RT_SIZE_TEXT];
    describe_lock_limit(limit, sizeof limit);
    if (!is_uring)
        (void)snprintf(text, KV_DISK_TEXT, "%s", kv_io_describe(io));
    else if (can_lend(io))
        (void)snprintf(text, KV_DISK_TEXT, "io_uring, with registered memory");
    else
        (void)snprintf(text, KV_DISK_TEXT,
                "io_uring, without registered memory (locked memory is limited to %s)", limit);
    (void)!kv_io_close(io); /* nothing was started */
}

/* ---- the drive -------------------------------------------------------------------------------- */

static const char *name_of(const struct statfs *info) {
    static const struct {
        uint32_t magic;
        const char *name;
    } known[] = {{0xef53, "ext2/3/4"}, {0x58465342, "xfs"}, {0x9123683e, "btrfs"},
            {0xf2f52010, "f2fs"}, {0x2fc12fc1, "zfs"}, {0x01021994, "tmpfs (memory)"},
            {0x858458f6, "ramfs (memory)"}, {0x794c7630, "overlay"}, {0x6969, "nfs"},
            {0xff534d42, "cifs"}, {0xfe534d42, "smb2"}, {0x65735546, "fuse"}, {0x01021997, "9p"},
            {0x00c36400, "ceph"}, {0x0bd00bd0, "lustre"}, {0x47504653, "gpfs"},
            {0xca451a4e, "bcachefs"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].magic == (uint32_t)info->f_type) return known[i].name;
    return "an unknown file system";
}

/* The nearest directory that exists, `dir` itself if it does. */
static bool find_existing(const char *dir, char place[KV_DISK_TEXT], struct statfs *info) {
    (void)snprintf(place, KV_DISK_TEXT, "%s", *dir ? dir : ".");
    while (statfs(place, info) != 0) {
        char *slash = strrchr(place, '/');
        if (errno != ENOENT || strcmp(place, ".") == 0 || strcmp(place, "/") == 0) return false;
        if (!slash)
            (void)snprintf(place, KV_DISK_TEXT, ".");
        else
            slash[slash == place] = '\0';
    }
    return true;
}

/* What the kernel says O_DIRECT wants of offsets and sizes; 0 where it does not say. */
static int64_t direct_step(int fd) {
#ifdef STATX_DIOALIGN
    struct statx info;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 && info.stx_mask & STATX_DIOALIGN)
        return info.stx_dio_offset_align;
#else
    (void)fd;
#endif
    return 0;
}

/* One block, through the layer, into a file without a name: not only what open(2) promises. */
static rt_status try_block(kv_io *io, const char *place, bool *is_direct) {
    kv_file *file = NULL;
    kv_io_op op = {.is_write = true, .n_bytes = KV_IO_ALIGN};
    RT_TRY(kv_file_open(io, place, O_RDWR | O_TMPFILE, &file));
    rt_status status = rt_mem_alloc(RT_MIB * 4, "a trial", &op.bytes);
    if (status == RT_OK) {
        op.file = file;
        kv_io_start(io, &op);
        status = kv_io_wait(io, &op);
        rt_mem_free(op.bytes, RT_MIB * 4);
    }
    *is_direct = kv_file_is_direct(file);
    kv_file_close(file);
    return status;
}

static void describe_direct(const char *place, char text[KV_DISK_TEXT]) {
    const kv_io_config config = {.mode = KV_IO_PREAD};
    kv_io *io = NULL;
    bool is_direct = false;
    rt_status status = kv_io_create(&config, &io);
    if (status == RT_OK) status = try_block(io, place, &is_direct);
    if (io) (void)!kv_io_close(io);
    if (status != RT_OK) {
        (void)snprintf(text, KV_DISK_TEXT, "not to be written: %.160s", rt_error_text());
        return;
    }
    const int fd = open(place, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    const int64_t step = fd >= 0 ? direct_step(fd) : 0;
    if (fd >= 0) (void)close(fd);
    if (!is_direct)
        (void)snprintf(text, KV_DISK_TEXT, "no O_DIRECT, so through the page cache");
    else if (step > 0)
        (void)snprintf(text, KV_DISK_TEXT, "O_DIRECT in steps of %" PRId64 " bytes", step);
    else
        (void)snprintf(text, KV_DISK_TEXT, "O_DIRECT");
}

void kv_disk_describe(const char *dir, char text[KV_DISK_TEXT]) {
    char place[KV_DISK_TEXT];
    char direct[KV_DISK_TEXT];
    char size[RT_SIZE_TEXT];
    struct statfs info;
    if (!find_existing(dir, place, &info)) {
        (void)snprintf(text, KV_DISK_TEXT, "cannot be examined: %s", strerror(errno));
        return;
    }
    describe_direct(place, direct);
    const int64_t free_bytes = (int64_t)info.f_bavail * (int64_t)info.f_frsize;
    (void)snprintf(text, KV_DISK_TEXT, "%s free, %s, %.180s", rt_format_bytes(free_bytes, size),
            name_of(&info), direct);
}

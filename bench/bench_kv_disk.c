/* The disk path beside fio: runs of 1 and 2 MiB through kvstore's I/O, on one file, by each way there is.
 *
 *   bench_kv_disk [--dir DIR] [--quick]      DIR: where the file goes, default .
 *
 * Ways: io_uring with registered memory, io_uring without, and threads with pread, each past the page
 * cache (O_DIRECT); the first and the last also through it, dropped before every pass. fio, where it
 * is installed, does the same with O_DIRECT, turn and turn about with ours, so that both see the same
 * disk: with its buffers on huge pages as ours are, by which shares are counted, and on small ones. A
 * pass moves the whole file, in order or shuffled; writes overwrite, and end with fdatasync.
 *
 * GB are 10^9 bytes; best and median of PASSES. CPU is what this process and its workers took in the
 * median pass, user and system; write-back of the page cache happens elsewhere and is not in it. What
 * was written is read back and compared by every way first. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kvstore/io_files.h"
#include "runtime/base/log.h"
#include "runtime/base/machine.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum {
    PASSES = 5,
    DEPTH_MAX = 16,
    AHEAD = 2,
    OPS_MAX = AHEAD * DEPTH_MAX,
    N_METHODS = 7,
    FILE_MIB = 1024,
    BLOCKS_MAX = FILE_MIB
};

static const int64_t memory_bytes = OPS_MAX * 2 * RT_MIB;

typedef struct method {
    const char *name;
    const char *cache;
    kv_io_mode mode;
    bool is_lent;
    bool is_fio;
    bool has_huge_pages; /* ours always have */
} method;

enum { FIO, FIO_SMALL, FIXED, PLAIN, THREADS, FIXED_CACHED, THREADS_CACHED };

static const method methods[N_METHODS] = {
        [FIO] = {"fio io_uring", "direct", KV_IO_AUTO, .is_fio = true, .has_huge_pages = true},
        [FIO_SMALL] = {"fio io_uring 4 KiB pages", "direct", KV_IO_AUTO, .is_fio = true},
        [FIXED] = {"io_uring fixed", "direct", KV_IO_URING, .is_lent = true},
        [PLAIN] = {"io_uring plain", "direct", KV_IO_URING},
        [THREADS] = {"pread threads", "direct", KV_IO_PREAD},
        [FIXED_CACHED] = {"io_uring fixed", "buffered", KV_IO_URING, .is_lent = true},
        [THREADS_CACHED] = {"pread threads", "buffered", KV_IO_PREAD}};

typedef struct load {
    bool is_write;
    bool is_random;
    int64_t block_bytes;
    int32_t depth;
} load;

/* Of one pass. */
typedef struct cost {
    double seconds;
    double cpu_s;
} cost;

static char file_path[512];

static void remove_file(void) {
    (void)unlink(file_path);
}

typedef struct bench {
    int64_t file_bytes;
    int n_passes;
    char *memory;
    bool has_method[N_METHODS];
} bench;

static void must(rt_status status) {
    if (status == RT_OK) return;
    (void)fprintf(stderr, "bench_kv_disk: %s\n", rt_error_text());
    exit(1);
}

/* ---- an engine that goes through the page cache ---------------------------------------------- */

static kv_io_table through_cache;
static int (*open_any)(void *self, const char *path, int flags);

static int open_cached(void *self, const char *path, int flags) {
    return flags & O_DIRECT ? -EINVAL : open_any(self, path, flags);
}

static bool is_buffered(const method *m) {
    return strcmp(m->cache, "buffered") == 0;
}

static rt_status create(const method *m, int32_t depth, kv_io **out) {
    kv_io_engine engine;
    RT_TRY(m->mode == KV_IO_PREAD ? kv_io_pread_create(KV_IO_DEPTH_MAX, &engine)
                                  : kv_io_uring_create(KV_IO_DEPTH_MAX, &engine));
    if (is_buffered(m)) {
        through_cache = *engine.table;
        open_any = through_cache.open;
        through_cache.open = open_cached;
        engine.table = &through_cache;
    }
    const kv_io_config config = {.depth = {depth, 1, depth}};
    return kv_io_create_on(engine, &config, out);
}

/* ---- one pass -------------------------------------------------------------------------------- */

static double cpu_seconds(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Which block comes i-th: all of them once, shuffled by a seed of its own for each pass. */
static void order_blocks(bool is_random, int32_t *order, int32_t n) {
    static uint64_t random = 1;
    for (int32_t i = 0; i < n; i++) order[i] = i;
    for (int32_t i = n - 1; i > 0 && is_random; i--) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        const int32_t j = (int32_t)((random >> 33) % (uint64_t)(i + 1));
        const int32_t block = order[i];
        order[i] = order[j];
        order[j] = block;
    }
}

static void check_block(const kv_io_op *op) {
    const uint64_t *words = op->bytes;
    for (int64_t i = 0; i < op->n_bytes / 8; i += 64)
        if (words[i] != (uint64_t)(op->offset + 8 * i) * 0x9e3779b97f4a7c15u)
            must(rt_fail(RT_ECORRUPT, "wrong bytes at %" PRId64, op->offset + 8 * i));
}

static void fill_block(const kv_io_op *op) {
    uint64_t *words = op->bytes;
    for (int64_t i = 0; i < op->n_bytes / 8; i++)
        words[i] = (uint64_t)(op->offset + 8 * i) * 0x9e3779b97f4a7c15u;
}

/* The whole file; `is_checked`: bytes are made, or compared. */
static void move_all(const bench *b, const load *l, kv_io *io, kv_file *file, bool is_checked) {
    kv_io_op ops[OPS_MAX];
    int32_t order[BLOCKS_MAX];
    const int64_t n = b->file_bytes / l->block_bytes;
    order_blocks(l->is_random, order, (int32_t)n);
    const int64_t n_ahead = rt_min64(n, (int64_t)AHEAD * l->depth);
    for (int64_t i = 0; i < n + n_ahead; i++) {
        kv_io_op *op = &ops[i % n_ahead];
        if (i >= n_ahead) {
            must(kv_io_wait(io, op));
            if (is_checked && !l->is_write) check_block(op);
        }
        if (i >= n) continue;
        *op = (kv_io_op){.file = file,
                .is_write = l->is_write,
                .urgency = l->is_write ? KV_IO_BEHIND : KV_IO_NOW,
                .bytes = b->memory + i % n_ahead * l->block_bytes,
                .n_bytes = l->block_bytes,
                .offset = order[i] * l->block_bytes};
        if (is_checked && l->is_write) fill_block(op);
        kv_io_start(io, op);
    }
    if (l->is_write) must(kv_file_sync(file));
}

static void drop_cache(void) {
    const int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        must(rt_fail_errno(RT_EIO, "cannot drop the page cache of %s", file_path));
    (void)close(fd);
}

static cost run_pass(const bench *b, const method *m, const load *l, bool is_checked) {
    kv_io *io = NULL;
    kv_file *file = NULL;
    must(create(m, l->depth, &io));
    must(kv_file_open(io, file_path, O_RDWR, &file));
    if (kv_file_is_direct(file) == is_buffered(m))
        must(rt_fail(RT_EUNSUPPORTED, "%s has no O_DIRECT here", file_path));
    if (m->is_lent && !kv_io_lend(io, b->memory, memory_bytes))
        must(rt_fail(RT_EUNSUPPORTED, "memory cannot be registered (RLIMIT_MEMLOCK)"));
    drop_cache();
    const double cpu = cpu_seconds();
    const double start = rt_now();
    move_all(b, l, io, file, is_checked);
    const cost c = {.seconds = rt_now() - start, .cpu_s = cpu_seconds() - cpu};
    kv_file_close(file);
    must(kv_io_close(io));
    return c;
}

/* ---- fio ------------------------------------------------------------------------------------- */

static bool has_fio(void) {
    return system("fio --version >/dev/null 2>&1") == 0;
}

static double number(json_t *object, const char *name) {
    return json_number_value(json_object_get(object, name));
}

/* fio's own figures of one pass over our file. */
static cost run_fio(const bench *b, const method *m, const load *l) {
    char command[1024];
    (void)snprintf(command, sizeof command,
            "%s fio --name=pass --filename='%s' --size=%" PRId64 " --rw=%s%s --bs=%" PRId64
            " --iodepth=%" PRId32 " --ioengine=io_uring --direct=1 --fixedbufs=1 --registerfiles=1 "
            "--mem_align=2097152 --scramble_buffers=0 --end_fsync=1 --overwrite=1 "
            "--output-format=json 2>/dev/null",
            m->has_huge_pages ? "GLIBC_TUNABLES=glibc.malloc.hugetlb=1" : "", file_path,
            b->file_bytes, l->is_random ? "rand" : "", l->is_write ? "write" : "read",
            l->block_bytes, l->depth);
    drop_cache();
    FILE *pipe = popen(command, "r");
    json_t *root = pipe ? json_loadf(pipe, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    if (pipe) (void)pclose(pipe);
    json_t *job = json_array_get(json_object_get(root, "jobs"), 0);
    json_t *way = json_object_get(job, l->is_write ? "write" : "read");
    const double runtime_s = number(way, "runtime") * 1e-3;
    const double wall_s = number(job, "job_runtime") * 1e-3;
    const cost c = {.seconds = runtime_s,
            .cpu_s = (number(job, "usr_cpu") + number(job, "sys_cpu")) * 1e-2 * wall_s};
    if (runtime_s <= 0 || number(way, "io_bytes") < (double)b->file_bytes)
        must(rt_fail(RT_EIO, "fio failed: %s", command));
    json_decref(root);
    return c;
}

/* ---- the table ------------------------------------------------------------------------------- */

static int compare_costs(const void *a, const void *b) {
    const double x = ((const cost *)a)->seconds, y = ((const cost *)b)->seconds;
    return (x > y) - (x < y);
}

/* The methods in turn, n_passes times; returns the median passes. */
static void measure(const bench *b, const load *l, cost *median) {
    cost costs[N_METHODS][PASSES];
    for (int pass = 0; pass < b->n_passes; pass++)
        for (int i = 0; i < N_METHODS; i++)
            if (b->has_method[i])
                costs[i][pass] = methods[i].is_fio ? run_fio(b, &methods[i], l)
                                                   : run_pass(b, &methods[i], l, false);
    const double gb = (double)b->file_bytes * 1e-9;
    for (int i = 0; i < N_METHODS; i++) {
        if (!b->has_method[i]) continue;
        qsort(costs[i], (size_t)b->n_passes, sizeof **costs, compare_costs);
        median[i] = costs[i][b->n_passes / 2];
        (void)printf("%s,%s,%s,%s,%" PRId64 ",%" PRId32 ",%.3f,%.3f,%.1f,", methods[i].name,
                methods[i].cache, l->is_write ? "write" : "read",
                l->is_random ? "random" : "sequential", l->block_bytes / RT_MIB, l->depth,
                gb / costs[i][0].seconds, gb / median[i].seconds, median[i].cpu_s * 1e3 / gb);
        if (b->has_method[FIO])
            (void)printf("%.2f\n", median[FIO].seconds / median[i].seconds);
        else
            (void)printf("no fio\n");
    }
    (void)fflush(stdout);
}

static void measure_all(const bench *b, bool is_quick) {
    static const int32_t depths[] = {8, 1, 16};
    double cpu_s[N_METHODS] = {0};
    for (int kind = 0; kind < 4; kind++)
        for (int64_t mib = 1; mib <= 2; mib++)
            for (int d = 0; d < (is_quick ? 1 : 3); d++) {
                cost median[N_METHODS] = {{0}};
                const load l = {.is_write = kind >= 2,
                        .is_random = kind % 2,
                        .block_bytes = mib * RT_MIB,
                        .depth = depths[d]};
                measure(b, &l, median);
                for (int i = 0; i < N_METHODS && !l.is_write; i++) cpu_s[i] += median[i].cpu_s;
            }
    if (!b->has_method[FIXED]) return;
    (void)printf("# reads, all of the above: io_uring fixed direct takes %.2f of the CPU of pread "
                 "threads direct, %.2f of pread buffered, %.2f of io_uring buffered\n",
            cpu_s[FIXED] / cpu_s[THREADS], cpu_s[FIXED] / cpu_s[THREADS_CACHED],
            cpu_s[FIXED] / cpu_s[FIXED_CACHED]);
}

/* Every way writes what every other way reads. */
static void check_all(bench *b) {
    for (int i = 0; i < N_METHODS; i++) {
        kv_io *io = NULL;
        if (methods[i].is_fio) {
            b->has_method[i] = has_fio();
            if (!b->has_method[i])
                (void)printf("# fio is not installed: nothing to compare with\n");
            continue;
        }
        const rt_status status = create(&methods[i], 8, &io);
        if (status != RT_OK) (void)printf("# %s: %s\n", methods[i].name, rt_error_text());
        b->has_method[i] = status == RT_OK;
        if (!b->has_method[i]) continue;
        must(kv_io_close(io));
        load l = {.is_write = true, .block_bytes = RT_MIB, .depth = 8};
        (void)run_pass(b, &methods[i], &l, true);
        l.is_write = false;
        for (int j = FIXED; j <= i; j++)
            if (b->has_method[j]) (void)run_pass(b, &methods[j], &l, true);
    }
}

static void make_file(const bench *b) {
    const int fd = open(file_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, b->file_bytes) != 0)
        must(rt_fail_errno(
                RT_EIO, "cannot make %s of %" PRId64 " bytes", file_path, b->file_bytes));
    (void)close(fd);
    (void)atexit(remove_file);
}

int main(int argc, char **argv) {
    const char *dir = ".";
    bool is_quick = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            is_quick = true;
        else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            dir = argv[++i];
        else
            must(rt_fail(RT_EUSAGE, "usage: bench_kv_disk [--dir DIR] [--quick]"));
    }
    bench b = {
            .file_bytes = (is_quick ? 64 : FILE_MIB) * RT_MIB, .n_passes = is_quick ? 1 : PASSES};
    void *memory = NULL;
    char cpu[128];
    (void)snprintf(file_path, sizeof file_path, "%s/bench_kv_disk.%ld", dir, (long)getpid());
    must(rt_mem_alloc(memory_bytes, "the benchmark", &memory));
    b.memory = memory;
    make_file(&b);
    (void)printf("# %s; a file of %" PRId64 " MiB, %d passes\n", rt_machine_cpu_name(cpu),
            b.file_bytes / RT_MIB, b.n_passes);
    check_all(&b);
    (void)printf("way,cache,direction,order,block_mib,depth,best_gb_per_s,median_gb_per_s,"
                 "cpu_ms_per_gb,share_of_fio\n");
    measure_all(&b, is_quick);
    rt_mem_free(memory, memory_bytes);
    return 0;
}

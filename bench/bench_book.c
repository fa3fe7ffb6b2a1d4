/* What reopening a book costs, beside what the disk can do and what prefill took.
 *
 *   bench_book [--tokens N] [--model needle|random] [--repeats N] [--threads N]
 *              [--packing auto|dense|plain] [--dir DIR | --kept DIR] [--quick]
 *
 * DIR: where the book goes, default "."; a kept one stays, and is opened again by a later run with the same
 * options, so that the prefill needs no quiet machine. Its times are then of the run that made it.
 *
 * Method: one process prefills N tokens of made-up prose and keeps them as a book. Then, in turns and
 * each in a process of its own, its segment files are read from end to end past the page cache through
 * kvstore's I/O (1 MiB, 8 deep) and through fio where it is installed, and the book is opened: its ids,
 * all of its pages read, verified and in memory, and the last token computed, whose logits must be
 * those of the prefill. The page cache is dropped before each, and memory the size of the plan touched
 * and freed, so that a hypervisor has it at hand. Engine and model are open already when
 * time starts, in prefill and here.
 *
 *   ratio        time until all is resident / (bytes read / the better rate of the two)
 *                Where the CPU needs longer for what the disk brings, also to its time over the threads.
 *   first_token  time until the last token's logits / prefill's time
 *   cpu          user and system, of the restoring process, for every 10^9 bytes read and restored
 *
 * KV of the needle or a random model; neither compresses as that of the 9B does. */
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_runs.h"
#include "kvstore/io_files.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "runtime/engine.h"

enum { REPEATS_MAX = 32, FILES_MAX = 1024, BLOCK = 1 << 20, DEPTH = 8 };

static const char usage[] = "bench_book [--tokens N] [--model needle|random] [--repeats N] "
                            "[--threads N] [--packing auto|dense|plain] "
                            "[--dir DIR | --kept DIR] [--quick]";
static const char book_name[] = "bench";

typedef struct request {
    const char *dir;
    const int32_t *ids;
    int64_t n_tokens;
    int32_t threads;
    const char *packing;
} request;

/* ---- segment files --------------------------------------------------------------------------- */

static char *files[FILES_MAX];
static int64_t file_bytes[FILES_MAX];
static int n_files;

static int note_file(const char *path, const struct stat *stat, int kind, struct FTW *place) {
    (void)place;
    const size_t length = strlen(path);
    if (kind != FTW_F || length < 4 || strcmp(path + length - 4, ".kvs") != 0) return 0;
    if (n_files == FILES_MAX) return -1;
    file_bytes[n_files] = stat->st_size;
    files[n_files++] = strdup(path);
    return 0;
}

static int64_t list_files(const char *dir) {
    int64_t bytes = 0;
    if (nftw(dir, note_file, 16, FTW_PHYS) != 0 || n_files == 0)
        bench_must(rt_fail(RT_EIO, "no segments below %s", dir));
    for (int i = 0; i < n_files; i++) bytes += file_bytes[i];
    return bytes;
}

static void drop_cache(void) {
    for (int i = 0; i < n_files; i++) {
        const int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            bench_must(rt_fail_errno(RT_EIO, "cannot drop the page cache of %s", files[i]));
        (void)close(fd);
    }
}

/* ---- what the disk can do -------------------------------------------------------------------- */

typedef struct pass {
    double seconds;
    double cpu_s;
} pass;

static void read_file(kv_io *io, kv_file *file, int64_t n_bytes, char *memory) {
    kv_io_op ops[2 * DEPTH];
    const int64_t n = rt_div_up(n_bytes, BLOCK);
    for (int64_t i = 0; i < n + 2 * DEPTH; i++) {
        kv_io_op *op = &ops[i % (2 * DEPTH)];
        if (i >= 2 * DEPTH && i - 2 * DEPTH < n) bench_must(kv_io_wait(io, op));
        if (i >= n) continue;
        *op = (kv_io_op){.file = file,
                .urgency = KV_IO_NOW,
                .bytes = memory + i % (2 * DEPTH) * BLOCK,
                .n_bytes = rt_min64(BLOCK, n_bytes - i * BLOCK),
                .offset = i * BLOCK};
        kv_io_start(io, op);
    }
}

static void read_all(const void *context, void *result) {
    (void)context;
    pass *out = result;
    kv_io *io = NULL;
    kv_file *opened[FILES_MAX];
    void *memory = NULL;
    const kv_io_config config = {.depth = {DEPTH, 1, 1}};
    bench_must(kv_io_create(&config, &io));
    bench_must(rt_mem_alloc(2 * DEPTH * BLOCK, "the benchmark", &memory));
    memset(memory, 1, (size_t)(2 * DEPTH * BLOCK));
    (void)kv_io_lend(io, memory, 2 * DEPTH * BLOCK);
    for (int i = 0; i < n_files; i++) {
        bench_must(kv_file_open(io, files[i], O_RDONLY, &opened[i]));
        if (!kv_file_is_direct(opened[i]))
            bench_must(rt_fail(RT_EUNSUPPORTED, "%s has no O_DIRECT", files[i]));
    }
    const double cpu_s = runs_cpu_seconds();
    const double start = rt_now();
    for (int i = 0; i < n_files; i++) read_file(io, opened[i], file_bytes[i], memory);
    *out = (pass){.seconds = rt_now() - start, .cpu_s = runs_cpu_seconds() - cpu_s};
    for (int i = 0; i < n_files; i++) kv_file_close(opened[i]);
    bench_must(kv_io_close(io));
}

static bool has_fio(void) {
    return system("fio --version >/dev/null 2>&1") == 0;
}

/* One job a file, one after the other; its own figures, added up. */
static double run_fio(void) {
    double seconds = 0.0;
    for (int i = 0; i < n_files; i++) {
        char command[1200];
        (void)snprintf(command, sizeof command,
                "GLIBC_TUNABLES=glibc.malloc.hugetlb=1 fio --name=pass --filename='%s' --rw=read "
                "--bs=1M --iodepth=%d --ioengine=io_uring --direct=1 --fixedbufs=1 "
                "--registerfiles=1 --mem_align=2097152 --readonly --output-format=json 2>/dev/null",
                files[i], DEPTH);
        FILE *pipe = popen(command, "r");
        json_t *root = pipe ? json_loadf(pipe, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
        if (pipe) (void)pclose(pipe);
        json_t *job = json_array_get(json_object_get(root, "jobs"), 0);
        json_t *way = json_object_get(job, "read");
        const double bytes = json_number_value(json_object_get(way, "io_bytes"));
        const double rate = json_number_value(json_object_get(way, "bw_bytes"));
        if (rate <= 0.0 || bytes <= 0.0) bench_must(rt_fail(RT_EIO, "fio failed: %s", command));
        seconds += bytes / rate;
        json_decref(root);
    }
    return seconds;
}

/* ---- the book -------------------------------------------------------------------------------- */

typedef struct outcome {
    int64_t plan_bytes;
    int64_t peak_bytes;
    int64_t raw_bytes;
    int64_t bytes_read;
    int32_t threads;
    double ids_s;      /* making: prefill; opening: the book's ids */
    double resident_s; /* from the start on; making: until it is kept */
    double token_s;    /* from the start on, the last token's logits */
    double cpu_s;      /* until resident */
    double stall_s;
    uint64_t hash;
} outcome;

static void open_engine(const request *r, glm_engine **engine, glm_session **session) {
    const glm_options options = {.device = "cpu",
            .model_dir = r->dir,
            .max_len = r->n_tokens,
            .persists = true,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = &r->dir,
            .kv_packing = r->packing,
            .threads = r->threads};
    bench_must(glm_engine_open(&options, engine));
    bench_must(glm_session_create(*engine, r->n_tokens, session));
}

static void close_engine(glm_engine *engine, glm_session *session, outcome *o) {
    o->plan_bytes = glm_engine_plan(engine)->total_bytes;
    o->threads = glm_engine_plan(engine)->threads;
    o->peak_bytes = rt_machine_peak_rss();
    glm_session_free(session);
    glm_engine_close(engine);
}

static void make_book(const void *context, void *result) {
    const request *r = context;
    outcome *o = result;
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    open_engine(r, &engine, &session);
    const double start = rt_now();
    const double cpu_s = runs_cpu_seconds();
    bench_must(glm_prefill(session, r->ids, r->n_tokens));
    o->token_s = rt_now() - start;
    o->cpu_s = runs_cpu_seconds() - cpu_s;
    runs_hash_logits(session, &o->hash);
    bench_must(glm_session_keep(session, book_name, "source=made-up prose\n"));
    o->resident_s = rt_now() - start;
    close_engine(engine, session, o);
}

/* Made now, or by the run that the directory is from. */
static void make_or_load(const request *r, bool is_there, outcome *made) {
    char path[600];
    (void)snprintf(path, sizeof path, "%s/made", r->dir);
    FILE *file = is_there ? fopen(path, "rb") : NULL;
    if (is_there && (!file || fread(made, sizeof *made, 1, file) != 1))
        bench_must(rt_fail(RT_EUSAGE, "%s is there, but no book was made in it", r->dir));
    if (!is_there) {
        runs_in_child(make_book, r, made, sizeof *made);
        file = fopen(path, "wb");
        if (!file || fwrite(made, sizeof *made, 1, file) != 1)
            bench_must(rt_fail_errno(RT_EIO, "cannot write %s", path));
    }
    (void)fclose(file);
}

static void open_book(const void *context, void *result) {
    const request *r = context;
    outcome *o = result;
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse = {0};
    int32_t *ids = NULL;
    int64_t n_ids = 0;
    open_engine(r, &engine, &session);
    const double cpu_s = runs_cpu_seconds();
    const double start = rt_now();
    bench_must(glm_book_ids(engine, book_name, &ids, &n_ids));
    o->ids_s = rt_now() - start;
    bench_must(glm_session_restore(session, ids, n_ids, &reuse));
    o->resident_s = rt_now() - start;
    o->cpu_s = runs_cpu_seconds() - cpu_s;
    if (n_ids != r->n_tokens || reuse.n_tokens != n_ids - 1)
        bench_must(
                rt_fail(RT_EIO, "%" PRId64 " tokens came back: %s", reuse.n_tokens, reuse.reason));
    const kv_stats stats = kv_store_stats(engine->store);
    o->bytes_read = stats.bytes_read;
    o->raw_bytes = stats.raw_bytes_read;
    o->stall_s = stats.stall_s;
    bench_must(glm_prefill(session, ids + n_ids - 1, 1));
    o->token_s = rt_now() - start;
    runs_hash_logits(session, &o->hash);
    free(ids);
    close_engine(engine, session, o);
}

/* A hypervisor takes back memory that lies idle: what it costs to get it again, seconds a GB, is not the
 * book's. */
static void warm_memory(const void *context, void *result) {
    const int64_t *n_bytes = context;
    void *memory = NULL;
    bench_must(rt_mem_alloc(*n_bytes, "memory to warm", &memory));
    memset(memory, 1, (size_t)*n_bytes);
    *(char *)result = 1;
}

/* ---- the report ------------------------------------------------------------------------------ */

typedef struct times {
    double ours[REPEATS_MAX];
    double fio[REPEATS_MAX];
    double resident[REPEATS_MAX];
    double token[REPEATS_MAX];
    double ids[REPEATS_MAX];
    double cpu[REPEATS_MAX];
    double stall[REPEATS_MAX];
    double ratio[REPEATS_MAX]; /* within a turn */
} times;

static void run_all(const request *r, int n_repeats, const outcome *made, int64_t bytes,
        bool with_fio, times *t, outcome *o) {
    char is_warm = 0;
    for (int i = 0; i < n_repeats; i++) {
        pass p = {0};
        drop_cache();
        runs_in_child(read_all, r, &p, sizeof p);
        t->ours[i] = p.seconds;
        drop_cache();
        runs_in_child(warm_memory, &made->plan_bytes, &is_warm, sizeof is_warm);
        *o = (outcome){0};
        runs_in_child(open_book, r, o, sizeof *o);
        if (o->hash != made->hash) bench_must(rt_fail(RT_ENUMERIC, "the book gives other logits"));
        t->resident[i] = o->resident_s;
        t->token[i] = o->token_s;
        t->ids[i] = o->ids_s;
        t->cpu[i] = o->cpu_s;
        t->stall[i] = o->stall_s;
        drop_cache();
        t->fio[i] = with_fio ? run_fio() : p.seconds;
        const double ideal_s = (double)o->bytes_read / (double)bytes *
                               (t->fio[i] < p.seconds ? t->fio[i] : p.seconds);
        t->ratio[i] = o->resident_s / ideal_s;
    }
}

static void report(
        int n, int64_t bytes, bool with_fio, const outcome *made, const outcome *o, times *t) {
    const double gb = 1e-9 * (double)bytes;
    const double read_gb = 1e-9 * (double)o->bytes_read;
    const double raw_gb = 1e-9 * (double)o->raw_bytes;
    const double median_s = runs_median(t->resident, n); /* sorted from here on: [0] is the best */
    const double ours_s = runs_median(t->ours, n);
    const double fio_s = runs_median(t->fio, n);
    const double ids_s = runs_median(t->ids, n);
    const double cpu_s = runs_median(t->cpu, n);
    const double stall_s = runs_median(t->stall, n);
    const double token_s = runs_median(t->token, n);
    const double ratio = runs_median(t->ratio, n);
    const double best_s = t->ours[0] < t->fio[0] ? t->ours[0] : t->fio[0];
    const double disk_s = best_s * read_gb / gb;
    const double threads_s = t->cpu[0] / o->threads;
    const double mib = 1.0 / (double)RT_MIB;
    (void)printf("what,best,median,unit\n");
    (void)printf("segments,%.4f,,GB\nread to restore,%.4f,,GB\nrestored,%.4f,,GB\n", gb, read_gb,
            raw_gb);
    (void)printf("compression,%.3f,,\n", raw_gb / read_gb);
    (void)printf("disk through kvstore,%.3f,%.3f,GB/s\n", gb / t->ours[0], gb / ours_s);
    if (with_fio) (void)printf("disk through fio,%.3f,%.3f,GB/s\n", gb / t->fio[0], gb / fio_s);
    (void)printf("ids of the book,%.4f,%.4f,s\n", t->ids[0], ids_s);
    (void)printf("all resident and verified,%.4f,%.4f,s\n", t->resident[0], median_s);
    (void)printf("of it waiting for the disk,%.4f,%.4f,s\n", t->stall[0], stall_s);
    (void)printf("ratio to the disk's own time,%.3f,%.3f,of bests and median of turns\n",
            t->resident[0] / disk_s, ratio);
    (void)printf("ratio to the longer of disk and cpu / %" PRId32 " threads,%.3f,,of bests\n",
            o->threads, t->resident[0] / (disk_s > threads_s ? disk_s : threads_s));
    (void)printf("rate of what is restored,%.3f,%.3f,GB/s\n", raw_gb / t->resident[0],
            raw_gb / median_s);
    (void)printf("cpu a GB read,%.0f,%.0f,ms\n", 1e3 * t->cpu[0] / read_gb, 1e3 * cpu_s / read_gb);
    (void)printf(
            "cpu a GB restored,%.0f,%.0f,ms\n", 1e3 * t->cpu[0] / raw_gb, 1e3 * cpu_s / raw_gb);
    (void)printf("prefill,%.3f,,s\nprefill cpu,%.3f,,s\nprefill until the book is kept,%.3f,,s\n",
            made->token_s, made->cpu_s, made->resident_s);
    (void)printf("first token,%.4f,%.4f,s\n", t->token[0], token_s);
    (void)printf("first token of prefill,%.5f,%.5f,\n", t->token[0] / made->token_s,
            token_s / made->token_s);
    (void)printf("peak,%.1f,,MiB\nplan,%.1f,,MiB\n", (double)o->peak_bytes * mib,
            (double)o->plan_bytes * mib);
}

int main(int argc, char **argv) {
    static times t;
    const char *model = "needle";
    const char *dir = ".";
    const char *kept = NULL;
    int n_repeats = 9;
    char cpu[128];
    request r = {.n_tokens = 16384};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--tokens") == 0)
            r.n_tokens = runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--model") == 0)
            model = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--repeats") == 0)
            n_repeats = (int)rt_min64(runs_count(argc, argv, &i, usage), REPEATS_MAX);
        else if (strcmp(argv[i], "--threads") == 0)
            r.threads = (int32_t)runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--packing") == 0)
            r.packing = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--kept") == 0)
            kept = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--dir") == 0)
            dir = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--quick") == 0)
            r.n_tokens = 8192, n_repeats = 1;
        else
            bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
    }
    const bool is_there = kept && runs_kept_directory(kept, model);
    r.dir = kept ? kept : runs_directory(dir, model);
    r.ids = runs_text(r.n_tokens);
    outcome made = {0};
    outcome opened = {0};
    make_or_load(&r, is_there, &made);
    const int64_t bytes = list_files(r.dir);
    const bool with_fio = has_fio();
    (void)printf("# %s, %d cores, %s; %s model, %" PRId64 " tokens in %d segments; %d turns\n",
            rt_machine_cpu_name(cpu), rt_machine_cores(), rt_isa_name(rt_machine_isa()), model,
            r.n_tokens, n_files, n_repeats);
    run_all(&r, n_repeats, &made, bytes, with_fio, &t, &opened);
    report(n_repeats, bytes, with_fio, &made, &opened, &t);
    return 0;
}

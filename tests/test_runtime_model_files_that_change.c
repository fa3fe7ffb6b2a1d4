/* A model's file that is cut, grown, written, replaced or removed while it is read is an error of
 * that file, at whichever read it happens; never a SIGBUS, never half of one file and half of
 * another.
 *
 * Method: load everything of two small checkpoints, and just before each read of each file change
 * that file in each of the ways. Modification times are set back first, so that writing shows
 * however coarse the file system's clock is. */
#include "help_checkpoint.h"
#include "help_faults.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>

typedef enum change { CUT, GROWN, WRITTEN, REPLACED, REMOVED, N_CHANGES } change;
static const char *const change_names[] = {"cut", "grown", "written", "replaced", "removed"};

static char victim[PATH_MAX]; /* the file to change, */
static int64_t victim_read;   /* before this read of it, */
static change victim_change;  /* like this */
static int64_t n_victim_reads;

static void change_victim(void) {
    char beside[PATH_MAX + 8];
    struct stat info;
    const int fd = open(victim, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &info) == 0);
    (void)snprintf(beside, sizeof beside, "%s.new", victim);
    switch (victim_change) {
    case CUT:
        CHECK(ftruncate(fd, info.st_size / 2) == 0);
        break;
    case GROWN:
        CHECK(ftruncate(fd, info.st_size + 4096) == 0);
        break;
    case WRITTEN:
        CHECK(pwrite(fd, "x", 1, info.st_size - 1) == 1);
        break;
    case REPLACED:
        CHECK(close(open(beside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) == 0);
        CHECK(rename(beside, victim) == 0);
        break;
    case REMOVED:
        CHECK(unlink(victim) == 0);
        break;
    case N_CHANGES:
        break;
    }
    CHECK(close(fd) == 0);
}

static int before_read(int fd, int64_t i, size_t *n_bytes) {
    char link[64];
    char path[PATH_MAX];
    (void)i;
    (void)n_bytes;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    if (n != (ssize_t)strlen(victim) || memcmp(path, victim, (size_t)n) != 0) return 0;
    if (n_victim_reads++ == victim_read) change_victim();
    return 0;
}

static void restore(const char *dir, const char *name, const char *bytes, int64_t n_bytes) {
    const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    (void)unlink(victim);
    ckh_write(dir, name, bytes, n_bytes);
    CHECK(utimensat(AT_FDCWD, victim, long_ago, 0) == 0);
}

static rt_status load_with(const char *dir, int64_t read, change how) {
    victim_read = read;
    victim_change = how;
    n_victim_reads = 0;
    faults_begin(FAULTS_NEVER, before_read);
    const rt_status status = ckh_load(dir);
    faults_end();
    return status;
}

static void require_refusal(const char *name, int64_t read, change how, rt_status status) {
    /* In the tensors' file, which is read piece by piece, the byte is said, too. */
    const bool is_tensors = strstr(name, ".safetensors") && !strstr(name, ".json");
    const char *code = is_tensors ? ": IO_CHANGED at byte " : ": IO_CHANGED: ";
    if (status == RT_EMODEL && strstr(rt_error_text(), code) && strstr(rt_error_text(), name))
        return;
    (void)printf("FAIL %s %s before read %" PRId64 ": %s, %s\n", name, change_names[how], read,
            rt_status_name(status), status == RT_OK ? "loaded" : rt_error_text());
    exit(1);
}

static int64_t try_file(const char *dir, const char *name) {
    int64_t n_bytes = 0;
    char *bytes = ckh_read(dir, name, &n_bytes);
    char *path = ckh_path(dir, name);
    CHECK(realpath(path, victim));
    free(path);
    restore(dir, name, bytes, n_bytes);
    CHECK(load_with(dir, -1, CUT) == RT_OK);
    const int64_t n_reads = n_victim_reads;
    CHECK(n_reads > 0);
    for (int64_t read = 0; read < n_reads; read++)
        for (int how = 0; how < N_CHANGES; how++) {
            restore(dir, name, bytes, n_bytes);
            require_refusal(name, read, (change)how, load_with(dir, read, (change)how));
        }
    restore(dir, name, bytes, n_bytes);
    free(bytes);
    return n_reads * N_CHANGES;
}

int main(void) {
    static const struct {
        ckh_kind kind;
        const char *name;
    } files[] = {
            {CKH_HF, "config.json"},
            {CKH_HF, "generation_config.json"},
            {CKH_HF, "model.safetensors"},
            {CKH_HF, "tokenizer.model"},
            {CKH_HF, "tokenizer_config.json"},
            {CKH_SHARDS, "model.safetensors.index.json"},
            {CKH_SHARDS, "model-00001-of-00002.safetensors"},
            {CKH_SHARDS, "tokenizer.json"},
    };
    const char *dirs[CKH_N_KINDS];
    for (int kind = 0; kind < CKH_N_KINDS; kind++) dirs[kind] = ckh_make((ckh_kind)kind);
    int64_t n = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        n += try_file(dirs[files[i].kind], files[i].name);
    (void)printf("%" PRId64 " changes, all noticed\n", n);
    return 0;
}

/* A checkpoint cut anywhere is refused, and so is one with any other value in any byte before its
 * data, unless it still means the same: never a crash, never another model.
 *
 * Method: three small checkpoints and every good file of the safetensors cases are cut at every
 * length. Each byte of the first checkpoint's length and header takes each other value: what the
 * header's reader accepts must lay the same tensors at the same places; where a name has changed,
 * the checkpoint with it is refused. A header is read from a block of just its size, so that a
 * sanitizer sees a read beyond it. */
#include "help_checkpoint.h"
#include "help_safetensors.h"

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

static const char file_name[] = "model.safetensors";

/* What memory can show is tried in full; what takes a file at a time, and everything under TSan, for
 * which one thread holds no surprise, is thinned out. */
#if defined(__SANITIZE_THREAD__)
enum { VALUE_STEP = 101, NAME_STEP = 64, NATIVE_STEP = 61, CUT_STEP = 211, MEMORY_STEP = 31 };
#elif defined(__SANITIZE_ADDRESS__)
enum { VALUE_STEP = 1, NAME_STEP = 64, NATIVE_STEP = 5, CUT_STEP = 17, MEMORY_STEP = 1 };
#else
enum { VALUE_STEP = 1, NAME_STEP = 8, NATIVE_STEP = 1, CUT_STEP = 3, MEMORY_STEP = 1 };
#endif

/* From a copy of its own; NULL where refused, which must be as a bad model. */
static glm_safetensors *open_copy(const void *bytes, int64_t n_bytes, void **copy) {
    glm_safetensors *file = NULL;
    *copy = malloc((size_t)n_bytes + (n_bytes == 0));
    CHECK(*copy);
    if (n_bytes > 0) memcpy(*copy, bytes, (size_t)n_bytes);
    const rt_status status = glm_st_open_bytes("copy", *copy, n_bytes, &file);
    CHECK(status == RT_OK || status == RT_EMODEL);
    CHECK(status == RT_OK || strstr(rt_error_text(), " at byte "));
    return file;
}

/* ---- cuts ------------------------------------------------------------------------------------ */

static int64_t cut_memory(const void *bytes, int64_t n_bytes) {
    for (int64_t n = 0; n < n_bytes; n += MEMORY_STEP) {
        void *copy = NULL;
        CHECK(!open_copy(bytes, n, &copy));
        free(copy);
    }
    return n_bytes / MEMORY_STEP;
}

/* The same through the directory, from the end to the front. */
static int64_t cut_disk(const char *dir, int64_t n_bytes, int64_t step) {
    char *path = ckh_path(dir, file_name);
    for (int64_t n = n_bytes - 1; n >= 0; n -= step) {
        CHECK(truncate(path, n) == 0);
        CHECK(ckh_open(dir) == RT_EMODEL);
    }
    free(path);
    return n_bytes / step;
}

static int64_t cut_good_cases(void) {
    int64_t n_cuts = 0;
    int n_files = 0;
    for (int64_t i = 0; i < sth_n_cases(); i++) {
        sth_case one;
        sth_make_case(i, true, &one);
        if (!one.code) {
            n_cuts += cut_memory(one.file.bytes, one.file.n);
            n_files++;
        }
        free(one.file.bytes);
    }
    CHECK(n_files >= 12);
    return n_cuts;
}

/* ---- other values ---------------------------------------------------------------------------- */

typedef enum meaning { SAME, OTHER_NAMES, OTHER } meaning;

/* Tensor by tensor in the order of the data. */
static int by_offset(const void *a, const void *b) {
    const glm_st_tensor *x = a;
    const glm_st_tensor *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static meaning compare(const glm_st_header *good, glm_st_header *header) {
    meaning result = SAME;
    if (header->n_tensors != good->n_tensors || header->data_at != good->data_at) return OTHER;
    qsort(header->tensors, (size_t)header->n_tensors, sizeof *header->tensors, by_offset);
    for (int32_t i = 0; i < good->n_tensors; i++) {
        const glm_st_tensor *x = &good->tensors[i];
        const glm_st_tensor *y = &header->tensors[i];
        if (x->dtype != y->dtype || x->rank != y->rank || x->offset != y->offset ||
                x->n_bytes != y->n_bytes ||
                memcmp(x->shape, y->shape, (size_t)x->rank * sizeof *x->shape) != 0)
            return OTHER;
        if (strcmp(x->name, y->name) != 0) result = OTHER_NAMES;
    }
    return result;
}

typedef struct sweep {
    const char *dir;
    int fd; /* of its model.safetensors */
    uint8_t *bytes;
    int64_t n_bytes;
    glm_safetensors *good; /* tensors in the order of the data */
    int64_t n_refused, n_same, n_renamed;
} sweep;

/* One byte changed, in memory and, where only a name has changed by that, on disk. */
static void try_value(sweep *at, int64_t place, uint8_t value) {
    void *copy = NULL;
    const uint8_t kept = at->bytes[place];
    at->bytes[place] = value;
    glm_safetensors *file = open_copy(at->bytes, at->n_bytes, &copy);
    const meaning result = file ? compare(&at->good->header, &file->header) : SAME;
    CHECK(result != OTHER);
    if (!file) at->n_refused++;
    if (file && result == SAME) at->n_same++;
    if (result == OTHER_NAMES && at->n_renamed++ % NAME_STEP == 0) {
        CHECK(pwrite(at->fd, &value, 1, place) == 1);
        CHECK(ckh_open(at->dir) == RT_EMODEL);
        CHECK(strstr(rt_error_text(), "MODEL_MISSING_TENSOR"));
        CHECK(pwrite(at->fd, &kept, 1, place) == 1);
    }
    glm_st_close(file);
    free(copy);
    at->bytes[place] = kept;
}

static void sweep_header(const char *dir) {
    sweep at = {.dir = dir};
    char *path = ckh_path(dir, file_name);
    void *copy = NULL;
    at.bytes = (uint8_t *)ckh_read(dir, file_name, &at.n_bytes);
    at.fd = open(path, O_RDWR | O_CLOEXEC);
    at.good = open_copy(at.bytes, at.n_bytes, &copy);
    CHECK(at.fd >= 0 && at.good && ckh_open(dir) == RT_OK);
    glm_st_header *header = &at.good->header;
    qsort(header->tensors, (size_t)header->n_tensors, sizeof *header->tensors, by_offset);
    for (int64_t place = 0; place < header->data_at; place++)
        for (int value = (int)(place % VALUE_STEP); value < 256; value += VALUE_STEP)
            if (at.bytes[place] != value) try_value(&at, place, (uint8_t)value);
    CHECK(ckh_open(dir) == RT_OK);
    (void)printf("%" PRId64 " bytes of header: %" PRId64 " changes refused, %" PRId64
                 " in a name, %" PRId64 " without meaning\n",
            header->data_at, at.n_refused, at.n_renamed, at.n_same);
    CHECK(at.n_refused > 0 && at.n_renamed > 0);
    CHECK(close(at.fd) == 0);
    glm_st_close(at.good);
    free(copy);
    free(at.bytes);
    free(path);
}

int main(void) {
    int64_t n_cuts = cut_good_cases();
    for (int kind = CKH_NATIVE; kind <= CKH_HF; kind++) {
        const char *dir = ckh_make((ckh_kind)kind);
        int64_t n_bytes = 0;
        char *bytes = ckh_read(dir, file_name, &n_bytes);
        if (kind == CKH_NATIVE) n_cuts += cut_memory(bytes, n_bytes);
        if (kind == CKH_NATIVE) sweep_header(dir);
        n_cuts += cut_disk(dir, n_bytes, kind == CKH_NATIVE ? NATIVE_STEP : CUT_STEP);
        free(bytes);
    }
    (void)printf("%" PRId64 " cuts refused\n", n_cuts);
    return 0;
}

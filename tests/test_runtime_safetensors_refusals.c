/* Every bad safetensors file is refused with its own code, at its own byte, as a bad model; every
 * good one is read; and neither costs more memory or reading than its real size justifies.
 *
 * Method: the table of tests/help_safetensors_cases.c, each file once from memory (a block of just
 * its size, so that a sanitizer sees a read beyond it) and once from disk, with the bytes allocated
 * and read counted. */
#include "help_faults.h"
#include "help_safetensors.h"

#include <inttypes.h>
#include <string.h>

static char directory[] = "/tmp/glm1m-test-XXXXXX";
static char path[64];
static int n_failed;

static void report(const sth_case *one, const char *where, const char *what) {
    n_failed++;
    (void)printf("FAIL \"%s\" from %s: %s\n  wanted %s at byte %" PRId64 ", got: %s\n", one->name,
            where, what, one->code ? one->code : "a good file", one->at, rt_error_text());
}

static void judge(
        const sth_case *one, const char *where, rt_status status, const glm_safetensors *file) {
    if (!one->code) {
        if (status != RT_OK)
            report(one, where, "refused");
        else if (file->header.n_tensors != one->n_tensors)
            report(one, where, "not as many tensors");
        return;
    }
    if (status != RT_EMODEL) report(one, where, status == RT_OK ? "accepted" : "another status");
    if (status != RT_EMODEL) return;
    if (!sth_says(one->code, one->at)) report(one, where, "another code or byte");
    if (one->hint && !strstr(rt_error_text(), one->hint)) report(one, where, "no hint");
}

/* An entry of 50 bytes becomes a tensor of about 100 and may be moved twice; a member of metadata
 * of 25 bytes, about 250. The window that moves over a header is on the stack. */
static void judge_cost(const sth_case *one, const char *where) {
    const int64_t n_bytes = one->file.n;
    const int64_t allocated = atomic_load(&faults.bytes_allocated);
    const int64_t n_read = atomic_load(&faults.bytes_read);
    if (allocated > 16 * n_bytes + 8192) {
        report(one, where, "too much memory");
        (void)printf("  %" PRId64 " bytes for %" PRId64 "\n", allocated, n_bytes);
    }
    if (n_read > 2 * n_bytes + 64) {
        report(one, where, "too much reading");
        (void)printf("  %" PRId64 " bytes of %" PRId64 "\n", n_read, n_bytes);
    }
}

static void try_memory(const sth_case *one) {
    glm_safetensors *file = NULL;
    uint8_t *exact = malloc((size_t)one->file.n + (one->file.n == 0));
    CHECK(exact);
    if (one->file.n > 0) memcpy(exact, one->file.bytes, (size_t)one->file.n);
    faults_begin(FAULTS_NEVER, NULL);
    const rt_status status = glm_st_open_bytes("memory", exact, one->file.n, &file);
    faults_end();
    judge(one, "memory", status, file);
    judge_cost(one, "memory");
    glm_st_close(file);
    free(exact);
}

static void write_file(const sth_case *one) {
    FILE *out = fopen(path, "wb");
    CHECK(out);
    CHECK(one->file.n == 0 || fwrite(one->file.bytes, (size_t)one->file.n, 1, out) == 1);
    CHECK(fclose(out) == 0);
}

static void try_disk(const sth_case *one) {
    glm_safetensors *file = NULL;
    write_file(one);
    faults_begin(FAULTS_NEVER, NULL);
    const rt_status status = glm_st_open(path, &file);
    faults_end();
    judge(one, "disk", status, file);
    judge_cost(one, "disk");
    glm_st_close(file);
}

int main(void) {
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    CHECK(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/case.safetensors", directory);
    for (int64_t i = 0; i < sth_n_cases(); i++) {
        sth_case one;
        sth_make_case(i, is_fast, &one);
        try_memory(&one);
        try_disk(&one);
        free(one.file.bytes);
    }
    CHECK(unlink(path) == 0 && rmdir(directory) == 0);
    (void)printf("%" PRId64 " cases, %d failures\n", sth_n_cases(), n_failed);
    return n_failed > 0;
}

/* A long text that is read from one file is in memory once: neither beside the file's bytes nor beside a copy.
 *
 * Method: the process's peak of memory before and after a haystack, and a document of two files with headings, are read. Not
 * under AddressSanitizer, which keeps what was freed. */
#include <sys/resource.h>
#include <unistd.h>

#include "help_expect.h"
#include "runtime/document.h"
#include "runtime/haystack.h"

enum { TEXT_BYTES = 48 << 20 };

static int64_t peak_bytes(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

static void write_file(const char *path) {
    FILE *out = fopen(path, "we");
    if (!out) exit(1);
    for (int64_t i = 0; i < TEXT_BYTES / 32; i++) (void)fprintf(out, "%031d\n", (int)i);
    if (fclose(out) != 0) exit(1);
}

static void check_haystack(const char *path) {
    glm_haystack haystack;
    const int64_t before = peak_bytes();
    require(glm_haystack_load(&path, 1, 0, 0, &haystack), "haystack");
    expect(haystack.n_bytes == TEXT_BYTES, "all of it", path);
    expect(peak_bytes() - before < TEXT_BYTES + TEXT_BYTES / 4, "a haystack is there once", path);
    glm_haystack_free(&haystack);
}

static void check_document(const char *path) {
    const char *const twice[] = {path, path};
    glm_document document;
    const int64_t before = peak_bytes(); /* holds one text */
    require(glm_document_load(twice, 2, NULL, &document), "document");
    expect(document.n_bytes > 2 * (int64_t)TEXT_BYTES, "both", path);
    expect(peak_bytes() - before < TEXT_BYTES + TEXT_BYTES / 4, "two files are there once", path);
    glm_document_free(&document);
}

int main(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 77;
#endif
    char path[] = "/tmp/glm1m-once-XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0) return 1;
    (void)close(fd);
    write_file(path);
    check_haystack(path);
    check_document(path);
    (void)unlink(path);
    return n_failed > 0;
}

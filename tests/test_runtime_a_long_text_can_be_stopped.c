/* Whoever waits for a long text to be read is heard, and told how far it is, in each thing that is done to it, and between
 * any two questions lies little of it.
 *
 * Method: a file of some MiB goes the way of ask, from the disk to ids and a digest, with a watch that stops at the first
 * question, the second, and so on by larger steps; what it was told is written down. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_expect.h"
#include "help_needle.h"
#include "runtime/base/file.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/size.h"
#include "runtime/reading.h"
#include "runtime/sha256.h"

enum { TEXT_BYTES = 5 << 20, APART_MAX = 4 << 20, PHASES_MAX = 16 };

static int n_left; /* questions that are answered with no */

static int stops(void) {
    return n_left-- <= 0;
}

typedef struct log {
    const char *phases[PHASES_MAX];
    int n_phases;
    int64_t last;
    int64_t apart; /* the most bytes between two questions of one phase */
} log;

static void tell(void *context, const char *what, int64_t done, int64_t total) {
    log *l = context;
    if (l->n_phases == 0 || strcmp(l->phases[l->n_phases - 1], what) != 0) {
        if (l->n_phases < PHASES_MAX) l->phases[l->n_phases++] = what;
        l->last = 0;
    }
    expect(done >= l->last && done <= total, "it goes on", what);
    if (done - l->last > l->apart) l->apart = done - l->last;
    l->last = done;
}

static void write_file(const char *path) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&text, &n_bytes);
    for (int i = 0; ftell(out) < TEXT_BYTES; i++) (void)fprintf(out, "Line %d is caf\u00e9.\n", i);
    (void)fclose(out);
    require(rt_file_replace(path, text, (int64_t)n_bytes), "write");
    free(text);
}

static rt_status go_all_the_way(
        const char *path, glm_tokenizer *tokenizer, const glm_watch *watch) {
    const glm_document_limits limits = {.watch = watch};
    const glm_variant variant = {.name = "any"};
    uint8_t digest[GLM_SHA256_BYTES];
    glm_document document;
    glm_reading reading;
    glm_tokenizer_watch(tokenizer, watch);
    RT_TRY(glm_document_load(&path, 1, &limits, &document));
    RT_TRY(glm_reading_make(tokenizer, &variant, NULL, &document, &reading));
    const rt_status status =
            glm_sha256_of_text(reading.document.text, reading.document.n_bytes, watch, digest);
    glm_reading_free(&reading);
    return status;
}

/* Whole, as tokenize reads one, and as standard input: once a signal came, and not where nobody waits. */
static void check_interrupted(const char *path) {
    char *text = NULL;
    int64_t n_bytes = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    require(rt_file_read_stoppable(path, RT_GIB, &text, &n_bytes), "without a signal");
    free(text);
    atomic_store(&rt_interrupted_by, SIGINT);
    expect(rt_file_read_stoppable(path, RT_GIB, &text, &n_bytes) == RT_EINTERRUPTED, "a file", "");
    expect(rt_file_read_stream(fd, "it", RT_GIB, &text, &n_bytes) == RT_EINTERRUPTED, "input", "");
    require(rt_file_read(path, RT_GIB, &text, &n_bytes), "where nobody waits");
    free(text);
    atomic_store(&rt_interrupted_by, 0);
    (void)close(fd);
}

int main(void) {
    static const char *const wanted[] = {
            "read", "checked", "cut into passages", "folded", "numbered", "tokenized", "hashed"};
    enum { N_WANTED = sizeof wanted / sizeof *wanted };
    char path[] = "/tmp/glm1m-long-XXXXXX";
    log whole = {0};
    glm_watch watch = {.stops = stops, .tell = tell, .context = &whole};
    bool is_stopped_in[N_WANTED] = {0};
    glm_tokenizer *tokenizer = NULL;
    const int fd = mkstemp(path);
    expect(fd >= 0, "a file", path);
    write_file(path);
    require(glm_tokenizer_load(help_needle_model(), &tokenizer), "tokenizer");

    check_interrupted(path);
    n_left = 1 << 30;
    require(go_all_the_way(path, tokenizer, &watch), "undisturbed");
    const int n_questions = (1 << 30) - n_left;
    expect(whole.n_phases == N_WANTED, "every phase is told", "");
    for (int i = 0; i < N_WANTED && i < whole.n_phases; i++)
        expect(strcmp(whole.phases[i], wanted[i]) == 0, "the phases in their order",
                whole.phases[i]);
    expect(whole.apart > 0 && whole.apart <= APART_MAX, "questions come often", "");

    for (int n = 0; n < n_questions; n += n < 4 ? 1 : n / 4) {
        log l = {0};
        watch.context = &l;
        n_left = n;
        expect(go_all_the_way(path, tokenizer, &watch) == RT_EINTERRUPTED, "stopped", "");
        expect(n_left <= 0 && n_left >= -3, "at once", "");
        for (int i = 0; i < N_WANTED; i++)
            is_stopped_in[i] |= strstr(rt_error_text(), wanted[i]) != NULL;
    }
    int n_stopped = 0;
    for (int i = 0; i < N_WANTED; i++) n_stopped += is_stopped_in[i];
    expect(n_stopped >= 4, "in several phases", "");
    glm_tokenizer_free(tokenizer);
    (void)close(fd);
    (void)unlink(path);
    return n_failed > 0;
}

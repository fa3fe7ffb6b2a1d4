/* A book that one device wrote opens on the other: what the CPU reads of a GPU's keys and values gives logits within
 * the 2x rule, as what the GPU reads of the CPU's does; what a device reads of its own gives the same bits as before.
 * So with fp8, whose pages have other layouts and the same bytes on disk; and a prefill that is stopped goes on, after
 * some layers, with the rows of pages that are not full: to the same bits.
 *
 * Method: 300 random tokens, all but the last 40 in a book; the rest prefilled after it is restored, and a few
 * steps of decode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_model.h"
#include "standin/standin_cuda.h"

enum { N_BOOK = 260, N_IDS = 300, N_STEPS = 2, VOCAB = 272 };

static int n_failed;
static int32_t ids[N_IDS + N_STEPS];
static const char *dir;

static const char *kv_dtype;

static glm_engine *open_on(const char *device) {
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = device,
            .kv_dtype = kv_dtype,
            .max_len = N_IDS + N_STEPS};
    return help_engine_open_in(dir, options);
}

static void write_book(const char *device) {
    glm_engine *engine = open_on(device);
    help_engine_keep(engine, ids, N_BOOK, device);
    glm_engine_close(engine);
}

/* The last prefilled row, and one a step. */
static void read_book(const char *device, int64_t n_kept, float logits[1 + N_STEPS][VOCAB]) {
    glm_engine *engine = open_on(device);
    help_engine_go_on(engine, ids, N_IDS, n_kept, N_STEPS, logits[0]);
    glm_engine_close(engine);
}

static void check(const char *writer, const char *reader, const double *exact,
        const double *rounded, float logits[1 + N_STEPS][VOCAB]) {
    char what[64];
    dir = help_dir();
    write_book(writer);
    read_book(reader, kv_dtype ? N_BOOK / 128 * 128 : N_BOOK, logits); /* sealed pages are whole */
    (void)snprintf(what, sizeof what, "%s written on %s, read on %s", kv_dtype ? kv_dtype : "bf16",
            writer, reader);
    if (exact)
        n_failed += !help_model_is_near(what, logits[0], exact, rounded, (1 + N_STEPS) * VOCAB);
}

/* After the first layer of all of the text. */
static void stop_prefill(void) {
    glm_engine *engine = open_on("cuda");
    glm_session *session = NULL;
    glm_prefill_progress progress = {0};
    help_require(glm_session_create(engine, N_IDS, &session), "session");
    help_require(glm_prefill_begin(session, ids, N_IDS, NULL, 1), "begin");
    help_require(glm_prefill_step(session, &progress), "step");
    help_require(glm_prefill_suspend(session), "suspend");
    glm_session_free(session);
    glm_engine_close(engine);
}

static bool is_suspended(void) {
    char command[512];
    (void)snprintf(command, sizeof command, "test -n \"$(find '%s' -name '*.state')\"", dir);
    return system(command) == 0;
}

static void check_stop(void) {
    static float whole[1 + N_STEPS][VOCAB];
    static float stopped[1 + N_STEPS][VOCAB];
    dir = help_dir();
    read_book("cuda", 0, whole);
    dir = help_dir();
    stop_prefill();
    const bool was_suspended = is_suspended();
    read_book("cuda", 0, stopped);
    if (!was_suspended || is_suspended() || memcmp(whole, stopped, sizeof whole) != 0) {
        printf("FAIL: a stopped prefill did not go on, or to other logits\n");
        n_failed++;
    }
}

/* The CPU's error with its own book is that of rounding; a GPU's part in it may double that. */
static void check_fp8(const double *exact, double *rounded) {
    static float logits[1 + N_STEPS][VOCAB];
    kv_dtype = "fp8";
    check("cpu", "cpu", NULL, NULL, logits);
    for (int i = 0; i < (1 + N_STEPS) * VOCAB; i++)
        rounded[i] = (double)logits[i / VOCAB][i % VOCAB];
    check("cuda", "cpu", exact, rounded, logits);
    check("cpu", "cuda", exact, rounded, logits);
    check_stop();
}

int main(void) {
    static const int64_t wanted[] = {N_IDS - 1, N_IDS, N_IDS + 1};
    static float plain[1 + N_STEPS][VOCAB];
    static float logits[1 + N_STEPS][VOCAB];
    const char *model = help_model_for_gpu(false);
    help_engine_ids(ids, N_IDS + N_STEPS, 5);
    double *exact = help_model_logits(model, ids, N_IDS + N_STEPS, false, wanted, 3);
    double *rounded = help_model_logits(model, ids, N_IDS + N_STEPS, true, wanted, 3);
    check("cuda", "cpu", exact, rounded, logits);
    check("cpu", "cuda", exact, rounded, logits);
    check("cuda", "cuda", exact, rounded, logits);

    dir = help_dir();
    read_book("cuda", 0, plain);
    if (memcmp(plain, logits, sizeof plain) != 0) {
        printf("FAIL: another prefill than after reading the book back\n");
        n_failed++;
    }
    check_fp8(exact, rounded);
    free(exact);
    free(rounded);
    return n_failed ? 1 : 0;
}

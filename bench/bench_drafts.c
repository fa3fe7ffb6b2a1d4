/* What drafts are worth on a device, and what they cost where they are wrong: decode with drafts beside decode without, and
 * passes of several tokens beside one of one.
 *
 *   bench_drafts -m DIR [-n N] [--device cpu|cuda] [--kv-cache-dtype bf16|fp8] [--steps N]
 *
 * N tokens (131072) of a text that goes round are prefilled, then its next tokens taken, --steps (256) of them: one by one;
 * with drafts, all of which are right once that is seen; with every fourth token another, so that what is drafted is wrong;
 * and as passes of 2, 4, 8, 16 tokens, each of which is taken back. On a GPU the next token is drawn there, greedily, as an
 * answer's is, and not looked at. Any checkpoint does: what the model makes of the text costs nothing.
 *
 * Prints a line each: what, milliseconds a token (of passes, a pass), how many times as fast as one by one (of passes, as a
 * step). The second of two runs: in the first libraries set themselves up, and a graph is made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_measure.h"
#include "runtime/backend.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "runtime/draft.h"

enum { IDS = 256, ROUND = 1000 }; /* ids that any model has; tokens until the text begins again */

typedef struct job {
    glm_session *session;
    int32_t *ids;
    int64_t depth;
    int64_t n_steps;
    int64_t n_drawn;
    int32_t n_pass;
} job;

static void fail_usage(void) {
    (void)fprintf(stderr, "bench_drafts -m DIR [-n N] [--device cpu|cuda] "
                          "[--kv-cache-dtype bf16|fp8] [--steps N]\n");
    exit(2);
}

/* ---- what is timed --------------------------------------------------------------------------- */

static void draw(job *j) {
    const glm_sampling greedy = {.top_p = 1.0f};
    int32_t id = 0;
    bench_must(glm_session_choose(j->session, IDS, &greedy, j->n_drawn++, &id));
}

static void one_by_one(job *j) {
    for (int64_t i = 0; i < j->n_steps; i++) {
        bench_must(glm_decode(&j->session, &j->ids[j->depth + i], 1));
        draw(j);
    }
}

static void right(job *j) {
    for (int64_t i = 0; i < j->n_steps; i++) {
        bench_must(glm_decode_ahead(j->session, j->ids[j->depth + i]));
        draw(j);
    }
}

static void wrong(job *j) {
    for (int64_t i = 0; i < j->n_steps; i++) {
        const int32_t id = j->ids[j->depth + i];
        bench_must(glm_decode_ahead(j->session, i % 4 < 3 ? id : (id + 1) % IDS));
        draw(j);
    }
}

static void passes(job *j) {
    const glm_engine *engine = j->session->engine;
    for (int64_t i = 0; i < j->n_steps; i++) {
        const int32_t *ids = j->ids + j->depth;
        bench_must(engine->backend->decode_several ? glm_decode_several(j->session, ids, j->n_pass)
                                                   : glm_prefill_rows(j->session, ids, j->n_pass));
        draw(j);
        glm_session_truncate(j->session, j->depth);
    }
}

/* Milliseconds of a step, the second time. */
static double time_of(job *j, void (*work)(job *)) {
    double s = 0.0;
    for (int i = 0; i < 2; i++) {
        glm_session_truncate(j->session, j->depth);
        const double started_s = rt_now();
        work(j);
        s = rt_now() - started_s;
    }
    glm_session_truncate(j->session, j->depth);
    return 1e3 * s / (double)j->n_steps;
}

static void print(const char *what, double ms, double plain_ms, int32_t n_tokens) {
    printf("%s: %.3f ms, %.3f times\n", what, ms, n_tokens > 0 ? ms / plain_ms : plain_ms / ms);
    (void)fflush(stdout);
}

static void measure(job *j) {
    const glm_engine *engine = j->session->engine;
    const double plain_ms = time_of(j, one_by_one);
    print("one by one", plain_ms, plain_ms, 0);
    print("all drafts right", time_of(j, right), plain_ms, 0);
    const glm_drafts before = glm_engine_drafts(engine);
    print("all drafts wrong", time_of(j, wrong), plain_ms, 0);
    const glm_drafts after = glm_engine_drafts(engine);
    printf("# %lld tokens drafted there, %lld of them right\n",
            (long long)(after.n_drafted - before.n_drafted),
            (long long)(after.n_taken - before.n_taken));
    j->n_steps = rt_min64(j->n_steps, 64);
    for (j->n_pass = 2; j->n_pass <= engine->plan.n_speculative + 1; j->n_pass *= 2) {
        char what[64];
        (void)snprintf(what, sizeof what, "a pass of %d", (int)j->n_pass);
        print(what, time_of(j, passes), plain_ms, j->n_pass);
    }
}

/* ---- the program ----------------------------------------------------------------------------- */

/* A page begins where the prompt ends, so that a pass of 16 lies in one. */
static void run(const glm_options *options, int64_t depth, int64_t n_steps) {
    glm_engine *engine = NULL;
    job j = {.depth = rt_round_up(depth, 128), .n_steps = n_steps};
    glm_options with_room = *options;
    const int64_t n = j.depth + n_steps;
    with_room.max_len = n;
    bench_must(glm_engine_open(&with_room, &engine));
    j.ids = bench_memory(n * (int64_t)sizeof *j.ids);
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        j.ids[i] = i < ROUND ? (int32_t)(state >> 24) : j.ids[i - ROUND];
    }
    bench_must(glm_session_create(engine, n, &j.session));
    const double started_s = rt_now();
    bench_must(glm_prefill(j.session, j.ids, j.depth));
    printf("# %lld tokens prefilled in %.2f s, %d drafted at most\n", (long long)j.depth,
            rt_now() - started_s, (int)glm_engine_plan(engine)->n_speculative);
    measure(&j);
    glm_session_free(j.session);
    glm_engine_close(engine);
}

int main(int argc, char **argv) {
    glm_options options = {.n_speculative = GLM_DRAFT_MAX};
    int64_t depth = 131072, n_steps = 256;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) fail_usage();
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "-m") == 0)
            options.model_dir = value;
        else if (strcmp(argv[i], "-n") == 0)
            depth = atoll(value);
        else if (strcmp(argv[i], "--device") == 0)
            options.device = value;
        else if (strcmp(argv[i], "--kv-cache-dtype") == 0)
            options.kv_dtype = value;
        else if (strcmp(argv[i], "--steps") == 0)
            n_steps = atoll(value);
        else
            fail_usage();
    }
    if (!options.model_dir || depth < 2 * ROUND || n_steps < 16) fail_usage();
    run(&options, depth, n_steps);
    return 0;
}

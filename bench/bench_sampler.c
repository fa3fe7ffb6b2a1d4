/* Choosing one token of a vocabulary: what the host adds to each decoded token of each sequence that it chooses for.
 *
 *   build/bench/bench_sampler
 *
 * Method: rows of 151,552 logits, GLM-4's, of a normal distribution, and one whose likely ids stand out by 12; million ids a second,
 * so that 151 of them are a draw in a millisecond. Shares are of copying what is sorted, 12 bytes an id, three times: as often as a
 * sort of 32-bit keys by digits of 11 bits has to move it. Greedy reads the row alone. */
#include <stdio.h>
#include <string.h>

#include "help_measure.h"
#include "runtime/base/random.h"
#include "runtime/runtime.h"

enum { VOCAB = 151552, CANDIDATE_BYTES = 12, N_MOVES = 3 };

typedef struct bench_row {
    float *logits;
    char *from;
    char *to;
    glm_sampling sampling;
    int64_t step;
    int64_t sum; /* of ids: what keeps the work from being removed */
} bench_row;

static void copy(void *context) {
    bench_row *row = context;
    for (int i = 0; i < N_MOVES; i++) {
        memcpy(row->to, row->from, (size_t)VOCAB * CANDIDATE_BYTES);
        __asm__ volatile("" : : "r"(row->to) : "memory");
    }
}

static void draw(void *context) {
    bench_row *row = context;
    int32_t id = 0;
    bench_must(glm_sample(row->logits, VOCAB, VOCAB, &row->sampling, row->step++, &id));
    row->sum += id;
}

static void fill(bench_row *row, int n_likely) {
    uint64_t state = 1;
    for (int64_t i = 0; i < VOCAB; i++) {
        double sum = -6.0; /* of twelve numbers of [0, 1): about normal */
        for (int n = 0; n < 12; n++) sum += (double)(rt_random_next(&state) >> 11) * 0x1p-53;
        row->logits[i] = (float)(sum + (i < n_likely ? 12.0 : 0.0));
    }
}

static void measure(const bench_options *options, bench_row *row, const char *what) {
    static const struct {
        const char *name;
        glm_sampling sampling;
    } cases[] = {{"greedy", {.temperature = 0.0f, .top_p = 1.0f}},
            {"temperature 1", {.temperature = 1.0f, .top_p = 1.0f}},
            {"temperature 0.8 top_p 0.8", {.temperature = 0.8f, .top_p = 0.8f}},
            {"temperature 0.8 top_k 50", {.temperature = 0.8f, .top_p = 1.0f, .top_k = 50}}};
    const double peak = bench_measure(options, 1, VOCAB * 1e-6, copy, row).best;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[96];
        row->sampling = cases[i].sampling;
        const bench_rate rate = bench_measure(options, 1, VOCAB * 1e-6, draw, row);
        (void)snprintf(label, sizeof label, "%s: %s", what, cases[i].name);
        bench_report(options, &(bench_figure){.what = label,
                                      .n_threads = 1,
                                      .rate = rate,
                                      .unit = "Mids/s",
                                      .peak = cases[i].sampling.temperature > 0.0f ? peak : 0.0});
    }
}

int main(int argc, char **argv) {
    const bench_options options = bench_parse(argc, argv);
    bench_row row = {.logits = bench_memory(VOCAB * (int64_t)sizeof *row.logits),
            .from = bench_memory((int64_t)VOCAB * CANDIDATE_BYTES),
            .to = bench_memory((int64_t)VOCAB * CANDIDATE_BYTES)};
    bench_begin(&options);
    fill(&row, 0);
    measure(&options, &row, "flat");
    fill(&row, 20);
    measure(&options, &row, "peaked");
    return row.sum == 0;
}

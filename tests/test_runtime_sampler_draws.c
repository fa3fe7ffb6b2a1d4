/* Sampling: greedy takes the largest logit and the lowest id among equals; top-k, top-p, min-p and padding
 * rows bound what can be drawn, of equals the lower id first; frequencies follow the softmax; the same seed and step draw the
 * same; NaN and Inf are errors.
 *
 * Method: small rows with known probabilities. Of 20000 draws with probability p the count stays
 * within 5 standard deviations, sqrt(n p (1 - p)), of n p; seeds are fixed, so it always does. */
#include <math.h>
#include <stdio.h>

#include "runtime/runtime.h"

enum { N_DRAWS = 20000, N_IDS = 6, N_VALID = 5 };

/* Probabilities 1/2, 1/4, 1/8, 1/16, 1/16; the last one is a padding row. */
static const float logits[N_IDS] = {3.0f, 4.0f, 2.0f, 1.0f, 1.0f, 90.0f};
static int n_failed;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    printf("FAIL %s\n", what);
    n_failed++;
}

static void count(const glm_sampling *sampling, int64_t counts[N_IDS]) {
    float row[N_IDS];
    for (int i = 0; i < N_IDS; i++) row[i] = i < N_VALID ? logits[i] * 0.6931472f : logits[i];
    for (int i = 0; i < N_IDS; i++) counts[i] = 0;
    for (int64_t step = 0; step < N_DRAWS; step++) {
        int32_t id = -1;
        expect(glm_sample(row, N_IDS, N_VALID, sampling, step, &id) == RT_OK, "a draw");
        counts[id]++;
    }
}

static void expect_share(const int64_t counts[N_IDS], int id, double p, const char *what) {
    const double bound = 5.0 * sqrt(N_DRAWS * p * (1.0 - p)) + 1e-9;
    expect(fabs((double)counts[id] - N_DRAWS * p) <= bound, what);
}

static void check_greedy(void) {
    const glm_sampling greedy = {.temperature = 0.0f, .top_p = 1.0f};
    const float ties[] = {1.0f, 7.0f, 7.0f};
    int32_t id = -1;
    expect(glm_sample(ties, 3, 3, &greedy, 0, &id) == RT_OK && id == 1, "lowest id among equals");
    expect(glm_sample(logits, N_IDS, N_VALID, &greedy, 0, &id) == RT_OK && id == 1, "no padding");
    const float bad[] = {0.0f, NAN, 1.0f};
    expect(glm_sample(bad, 3, 3, &greedy, 0, &id) == RT_ENUMERIC, "NaN");
    const float infinite[] = {0.0f, INFINITY, 1.0f};
    expect(glm_sample(infinite, 3, 3, &greedy, 0, &id) == RT_ENUMERIC, "Inf");
}

static void check_shares(void) {
    int64_t counts[N_IDS];
    const glm_sampling plain = {.temperature = 1.0f, .top_p = 1.0f, .seed = 1};
    count(&plain, counts);
    expect_share(counts, 1, 0.5, "one half");
    expect_share(counts, 0, 0.25, "one quarter");
    expect_share(counts, 4, 0.0625, "one sixteenth");
    expect_share(counts, 5, 0.0, "padding rows are never drawn");

    const glm_sampling top_k = {.temperature = 1.0f, .top_p = 1.0f, .top_k = 2, .seed = 2};
    count(&top_k, counts);
    expect_share(counts, 1, 2.0 / 3.0, "top-k 2, first");
    expect_share(counts, 2, 0.0, "top-k 2, third");

    /* 1/2 + 1/4 reach 0.7; the third is not needed. */
    const glm_sampling top_p = {.temperature = 1.0f, .top_p = 0.7f, .seed = 3};
    count(&top_p, counts);
    expect_share(counts, 0, 1.0 / 3.0, "top-p 0.7, second");
    expect_share(counts, 2, 0.0, "top-p 0.7, third");

    /* 1/4 is half of the likeliest one's; 1/8 is less than that, and left out before top-p counts: 1/2 of 3/4 is not enough. */
    const glm_sampling min_p = {.temperature = 1.0f, .top_p = 1.0f, .min_p = 0.4f, .seed = 8};
    const glm_sampling of_those = {.temperature = 1.0f, .top_p = 0.7f, .min_p = 0.4f, .seed = 8};
    for (int i = 0; i < 2; i++) {
        count(i == 0 ? &min_p : &of_those, counts);
        expect_share(counts, 1, 2.0 / 3.0, "min-p 0.4, first");
        expect_share(counts, 0, 1.0 / 3.0, "min-p 0.4, second");
    }
    const glm_sampling least = {.temperature = 1.0f, .top_p = 1.0f, .min_p = 1.0f, .seed = 9};
    count(&least, counts);
    expect_share(counts, 1, 1.0, "min-p 1");
    /* Of twice the temperature the odds are 1 : 0.71 : 1/2 : 0.35 : 0.35; of three top-k leaves two. */
    const glm_sampling hot = {.temperature = 2.0f, .top_p = 1.0f, .min_p = 0.4f, .seed = 10};
    count(&hot, counts);
    expect_share(counts, 2, 0.5 / (1.5 + sqrt(0.5)), "min-p 0.4 of a temperature of 2, third");
    expect_share(counts, 3, 0.0, "min-p 0.4 of a temperature of 2, fourth");
    const glm_sampling hot_top_k = {
            .temperature = 2.0f, .top_p = 1.0f, .min_p = 0.4f, .top_k = 2, .seed = 11};
    count(&hot_top_k, counts);
    expect_share(counts, 0, sqrt(0.5) / (1.0 + sqrt(0.5)), "min-p 0.4 and top-k 2, second");

    /* Half the temperature squares the odds: 1 : 1/4 : 1/16 : 1/64 : 1/64. */
    const glm_sampling cold = {.temperature = 0.5f, .top_p = 1.0f, .seed = 4};
    count(&cold, counts);
    expect_share(counts, 1, 1.0 / (1.0 + 0.25 + 0.0625 + 2.0 / 64.0), "temperature 0.5");
}

/* Of two equal ones that are the half each: the lower id is the first, and reaches a top-p of one half. */
static void check_edges(void) {
    int64_t counts[N_IDS];
    const float ties[] = {1.0f, 7.0f, 7.0f};
    const glm_sampling first = {.temperature = 0.01f, .top_p = 1.0f, .top_k = 1};
    const glm_sampling half = {.temperature = 0.01f, .top_p = 0.5f};
    for (int64_t step = 0; step < 20; step++) {
        int32_t id = -1;
        expect(glm_sample(ties, 3, 3, &first, step, &id) == RT_OK && id == 1, "top-k 1 of equals");
        expect(glm_sample(ties, 3, 3, &half, step, &id) == RT_OK && id == 1, "top-p 0.5 of equals");
    }
    const glm_sampling all_but_one = {
            .temperature = 1.0f, .top_p = 1.0f, .top_k = N_VALID - 1, .seed = 7};
    count(&all_but_one, counts);
    expect_share(counts, 3, 1.0 / 15.0, "top-k 4, fourth");
    expect_share(counts, 4, 0.0, "top-k 4, fifth");
}

static void check_seeds(void) {
    const glm_sampling a = {.temperature = 1.0f, .top_p = 1.0f, .seed = 5};
    const glm_sampling b = {.temperature = 1.0f, .top_p = 1.0f, .seed = 6};
    int n_other = 0;
    for (int64_t step = 0; step < 100; step++) {
        int32_t first = -1;
        int32_t again = -2;
        int32_t other = -3;
        expect(glm_sample(logits, N_VALID, N_VALID, &a, step, &first) == RT_OK, "a draw");
        expect(glm_sample(logits, N_VALID, N_VALID, &a, step, &again) == RT_OK, "a draw");
        expect(glm_sample(logits, N_VALID, N_VALID, &b, step, &other) == RT_OK, "a draw");
        expect(first == again, "the same seed and step");
        n_other += first != other;
    }
    expect(n_other > 10, "another seed");
}

int main(void) {
    check_greedy();
    check_shares();
    check_edges();
    check_seeds();
    return n_failed ? 1 : 0;
}

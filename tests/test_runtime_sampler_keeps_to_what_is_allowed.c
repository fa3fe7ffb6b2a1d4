/* Sampling where some tokens may not follow: what is drawn may, with the softmax's odds among those that may, however unlikely
 * they are; greedy takes the likeliest of them; top-k, top-p and min-p count them alone; where all may, it is glm_sample to the id;
 * where none may, an error. No more are asked about than make a difference.
 *
 * Method: a row of known probabilities; of many draws the counts lie within 5 standard deviations. */
#include <math.h>

#include "help_expect.h"
#include "runtime/runtime.h"

enum { N_DRAWS = 10000, N_IDS = 6 };

/* Odds 32, 16, 8, 4, 2, 1, and all but nothing beside the first. */
static const float likely[N_IDS] = {5.0f, 4.0f, 3.0f, 2.0f, 1.0f, 0.0f};
static const float unlikely[N_IDS] = {900.0f, 4.0f, 3.0f, 2.0f, 1.0f, 0.0f};
static int64_t n_asked;

/* A bit an id. */
static bool allows(const void *context, int32_t id) {
    n_asked++;
    return *(const unsigned *)context >> id & 1;
}

static int32_t draw(
        const float *logits, const glm_sampling *sampling, int64_t step, unsigned allowed) {
    float row[N_IDS];
    int32_t id = -1;
    for (int i = 0; i < N_IDS; i++) row[i] = logits[i] * 0.6931472f;
    require(glm_sample_allowed(row, N_IDS, N_IDS, sampling, step, allows, &allowed, &id), "a draw");
    return id;
}

/* `odds` of the ids; 0: never. */
static void check_odds(const float *logits, const glm_sampling *sampling, unsigned allowed,
        const double odds[N_IDS], const char *what) {
    int64_t counts[N_IDS] = {0};
    double total = 0.0;
    for (int64_t step = 0; step < N_DRAWS; step++) counts[draw(logits, sampling, step, allowed)]++;
    for (int i = 0; i < N_IDS; i++) total += odds[i];
    for (int i = 0; i < N_IDS; i++) {
        const double p = odds[i] / total;
        expect(fabs((double)counts[i] - N_DRAWS * p) <= 5.0 * sqrt(N_DRAWS * p * (1.0 - p)) + 1e-9,
                what, "other odds");
    }
}

static void check_drawn(void) {
    const glm_sampling plain = {.temperature = 1.0f, .top_p = 1.0f, .seed = 1};
    const glm_sampling top_k = {.temperature = 1.0f, .top_p = 1.0f, .top_k = 2, .seed = 2};
    const glm_sampling top_p = {.temperature = 1.0f, .top_p = 0.6f, .seed = 3};
    const glm_sampling both = {.temperature = 1.0f, .top_p = 0.8f, .top_k = 3, .seed = 5};
    const glm_sampling most = {.temperature = 1.0f, .top_p = 0.9f, .seed = 6};
    const glm_sampling min_p = {.temperature = 1.0f, .top_p = 1.0f, .min_p = 0.2f, .seed = 7};
    const unsigned odd = 0x2a;   /* ids 1, 3, 5 */
    const unsigned first = 0x03; /* of 48: what is not allowed behind them counts for nothing */
    check_odds(likely, &plain, odd, (double[]){0, 16, 0, 4, 0, 1}, "the likely");
    check_odds(unlikely, &plain, odd, (double[]){0, 16, 0, 4, 0, 1}, "the unlikely");
    check_odds(likely, &top_k, odd, (double[]){0, 16, 0, 4, 0, 0}, "top-k 2");
    check_odds(likely, &min_p, odd, (double[]){0, 16, 0, 4, 0, 0}, "min-p 0.2 of 16");
    check_odds(unlikely, &min_p, 0x3e, (double[]){0, 16, 8, 4, 0, 0}, "min-p 0.2 of the unlikely");
    check_odds(likely, &top_p, 0x3c, (double[]){0, 0, 8, 4, 0, 0}, "top-p 0.6");
    check_odds(likely, &top_p, odd, (double[]){0, 1, 0, 0, 0, 0}, "top-p 0.6 of one");
    check_odds(likely, &top_p, first, (double[]){1, 0, 0, 0, 0, 0}, "top-p 0.6 of 0.67");
    check_odds(likely, &most, 0x2f, (double[]){32, 16, 8, 0, 0, 0}, "top-p 0.9 of 61, not 63");
    check_odds(likely, &both, 0x3e, (double[]){0, 16, 8, 0, 0, 0}, "top-p 0.8 of 28, of 31 less");
}

static void check_greedy(void) {
    const glm_sampling greedy = {.temperature = 0.0f, .top_p = 1.0f};
    expect(draw(likely, &greedy, 0, 0x3f) == 0, "greedy", "of all");
    expect(draw(likely, &greedy, 0, 0x38) == 3, "greedy", "of some");
}

/* Few are asked about where the others make no difference. */
static void check_asked(void) {
    enum { VOCAB = 1000 };
    static float many[VOCAB];
    const unsigned odd = 0x2a;
    glm_sampling sampling = {.temperature = 1.0f, .top_p = 1.0f};
    int32_t id = -1;
    for (int i = 0; i < VOCAB; i++) many[i] = i < N_IDS ? likely[i] : -100.0f;
    require(glm_sample_allowed(many, VOCAB, VOCAB, &sampling, 0, allows, &odd, &id), "a draw");
    expect(n_asked <= N_IDS, "top-p 1", "the unlikely are asked about");
    n_asked = 0;
    sampling.top_p = 0.5f;
    require(glm_sample_allowed(many, VOCAB, VOCAB, &sampling, 0, allows, &odd, &id), "a draw");
    expect(n_asked <= 3, "top-p 0.5", "more are asked about than it leaves");
    n_asked = 0;
    sampling.temperature = 0.0f;
    require(glm_sample_allowed(many, VOCAB, VOCAB, &sampling, 0, allows, &odd, &id), "a draw");
    expect(id == 1 && n_asked <= 3, "greedy", "more are asked about than the first that may");
}

static void check_all_and_none(void) {
    const glm_sampling plain = {.temperature = 1.3f, .top_p = 0.9f, .seed = 4};
    const unsigned none = 0;
    int32_t id = -1;
    for (int64_t step = 0; step < 100; step++) {
        float row[N_IDS];
        for (int i = 0; i < N_IDS; i++) row[i] = likely[i] * 0.6931472f;
        require(glm_sample(row, N_IDS, N_IDS, &plain, step, &id), "a draw");
        expect(draw(likely, &plain, step, 0x3f) == id, "all may follow",
                "another id than without a rule");
    }
    expect(glm_sample_allowed(likely, N_IDS, N_IDS, &plain, 0, allows, &none, &id) == RT_EUSAGE,
            "none may follow", "no error");
}

int main(void) {
    check_asked();
    check_drawn();
    check_greedy();
    check_all_and_none();
    return n_failed ? 1 : 0;
}

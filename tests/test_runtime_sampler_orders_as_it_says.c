/* The sampler's order: the highest logit first, of equal ones, the two zeros among them, the lowest id; for any number of ids.
 *
 * Method: at a temperature beside which no difference of logits is anything all weights are exactly 1, so a draw x of [0, 1) is
 * the floor(x n)-th of the order. That order is found again by comparing. Rows: numbers of every size and sign, few different
 * ones, zeros of both signs, all alike, rising, falling; 1 to 151552 ids. */
#include <stdio.h>
#include <stdlib.h>

#include "help_random.h"
#include "runtime/engine.h"

enum { N_MOST = 151552, N_DRAWS = 60 };

static float row[N_MOST];
static int32_t order[N_MOST];
static int n_failed;

static int by_logit(const void *left, const void *right) {
    const int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
    if (row[a] != row[b]) return row[a] > row[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

static float any_size(uint64_t *seed) {
    static const float sizes[] = {1e-44f, 1e-38f, 1e-6f, 1.0f, 30.0f, 1e20f};
    const float number = sizes[random_below(seed, 6)] * ((float)random_below(seed, 1000) * 1e-3f);
    return random_below(seed, 2) ? number : -number;
}

static float number_of(int kind, int64_t i, uint64_t *seed) {
    switch (kind) {
    case 0:
        return any_size(seed);
    case 1:
        return (float)random_below(seed, 5) - 2.0f;
    case 2:
        return random_below(seed, 2) ? 0.0f : -0.0f;
    case 3:
        return -1.5f;
    case 4:
        return (float)i;
    default:
        return -(float)i;
    }
}

static void try_row(int kind, int64_t n, uint64_t *seed) {
    const glm_sampling flat = {.temperature = 3e38f, .top_p = 1.0f, .seed = random_next(seed)};
    for (int64_t i = 0; i < n; i++) row[i] = number_of(kind, i, seed);
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)i;
    qsort(order, (size_t)n, sizeof *order, by_logit);
    for (int64_t step = 0; step < (n < N_MOST ? N_DRAWS : 8); step++) {
        const int32_t wanted = order[(int64_t)(glm_sampling_draw(flat.seed, step) * (double)n)];
        int32_t id = -1;
        if (glm_sample(row, n, n, &flat, step, &id) == RT_OK && id == wanted) continue;
        printf("FAIL kind %d, %lld ids, draw %lld: id %d, wanted %d\n", kind, (long long)n,
                (long long)step, id, wanted);
        n_failed++;
        return;
    }
}

int main(void) {
    static const int64_t lengths[] = {1, 2, 3, 17, 300, 2047, 2049, 5000, N_MOST};
    uint64_t seed = 20261127;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int kind = 0; kind < 6; kind++) try_row(kind, lengths[i], &seed);
    return n_failed != 0;
}

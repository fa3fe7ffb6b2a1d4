/* Random numbers for tests: the same everywhere, from one 64-bit seed. */
#ifndef HELP_RANDOM_H
#define HELP_RANDOM_H

#include "runtime/base/random.h"

static inline uint64_t random_next(uint64_t *state) {
    return rt_random_next(state);
}

/* In [0, n), n > 0. */
static inline int64_t random_below(uint64_t *state, int64_t n) {
    return (int64_t)(random_next(state) % (uint64_t)n);
}

/* In [0, 1), multiples of 2^-24. */
static inline float random_unit(uint64_t *state) {
    return (float)(random_next(state) >> 40) * 0x1p-24f;
}

/* Mean 0, variance 1, |x| < 3.5: four uniform numbers added, near enough to normal. */
static inline float random_normal(uint64_t *state) {
    const uint64_t bits = random_next(state);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) sum += (int32_t)((bits >> (16 * i)) & 0xffffu);
    return ((float)sum - 131070.0f) * (1.7320508f / 65536.0f);
}

#endif

/* Random numbers for tests: the same everywhere, from one 64-bit seed. */
#ifndef HELP_RANDOM_H
#define HELP_RANDOM_H

#include <stdint.h>

/* splitmix64. Source: Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195. */
static inline uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
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

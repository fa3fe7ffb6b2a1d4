/* splitmix64: numbers that depend on a seed and on nothing else, the same everywhere.
 *
 * Source: Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195. */
#ifndef RT_RANDOM_H
#define RT_RANDOM_H

#include <stdint.h>

#define RT_RANDOM_STEP UINT64_C(0x9e3779b97f4a7c15)

/* Its output function: another number for each number, its bits spread over all 64. */
static inline uint64_t rt_random_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The next number. Any state is a seed. */
static inline uint64_t rt_random_next(uint64_t *state) {
    return rt_random_mix(*state += RT_RANDOM_STEP);
}

#endif

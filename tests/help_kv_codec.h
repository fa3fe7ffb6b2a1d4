/* What the codec's tests share: values worth coding, damage, a fuzz target and its driver. */
#ifndef HELP_KV_CODEC_H
#define HELP_KV_CODEC_H

#include <stddef.h>

#include "help_kv.h"
#include "kvstore/codec.h"

typedef enum kvh_values {
    KVH_LIKE_KV, /* a scale per channel, bell-shaped noise, a few exact zeros */
    KVH_ZEROS,
    KVH_NOISE,   /* random bits: NaN, Inf and subnormals among them */
    KVH_ESCAPES, /* exponents far apart in every channel */
    KVH_FEW,     /* a handful of different values, as a hand-made model has */
    KVH_N_VALUES
} kvh_values;

void kvh_fill(kvh_values kind, const kv_run_shape *shape, uint64_t seed, void *raw);

/* Some address; `which` tells several apart. */
kv_run_address kvh_address(int32_t which);

/* A buffer whose last byte is followed by memory that may not be touched. */
typedef struct kvh_guarded {
    uint8_t *bytes;
    int64_t n_bytes;
} kvh_guarded;
kvh_guarded kvh_guard(int64_t n_bytes);
void kvh_unguard(kvh_guarded *guarded);

/* Flip random bits, one at a time, of a stored run and decode it: how many flips went unnoticed. */
int64_t kvh_undetected_flips(kv_codec *codec, int64_t n_flips, uint64_t seed);

/* The fuzz target: byte 0 picks a shape and whether the rest is sealed with a right checksum first,
 * so that mutations reach the checks behind it. Reads past the end hit a guard page; a wrong byte
 * that passes the checksum stops the program. */
int kvh_fuzz_one(const uint8_t *data, size_t n_bytes);

/* The same, without libFuzzer: n_inputs mutations of valid runs, the same for the same seed. */
void kvh_fuzz_drive(uint64_t seed, int64_t n_inputs);

/* main() of a program that drives a target so: n_inputs of them, a twentieth under GLM_TEST_FAST, or what its
 * arguments, SEED N, say. */
int kvh_fuzz_main(
        int argc, char **argv, int64_t n_inputs, void (*drive)(uint64_t seed, int64_t n_inputs));

/* How work() ends, as waitpid says, tried in a child process; whether it does so by itself, with exit code 0. */
int kvh_end_of(void (*work)(void));
bool kvh_survives(void (*work)(void));

#endif

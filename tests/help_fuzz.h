/* Fuzz targets, and a driver for them that needs nothing but a C compiler.
 *
 * tests/fuzz_X.c holds one target:
 *
 *   LLVMFuzzerTestOneInput   does the work with one input and aborts when a promise is broken
 *   fuzz_add_seeds           the corpus, made by code
 *   fuzz_repair              makes a mutated input get past the first check; may do nothing
 *
 * Three programs are made of it. A test includes it and runs fuzz_main: the corpus, and mutations of
 * it, a bounded number, the same for the same seed. A second test includes a reader with a bug
 * planted in it besides, and runs fuzz_main_finds, which passes when the target dies of the bug within
 * its bound. And with clang, libFuzzer's own coverage-guided search, without end:
 *
 *   CC=clang cmake -S . -B build-fuzz -DGLM_FUZZ=ON -DGLM_WERROR=OFF -DGLM_SANITIZE=address
 *   make -C build-fuzz fuzz_config && build-fuzz/tests/test_runtime_fuzz_config --corpus corpus
 *   build-fuzz/fuzz/fuzz_config corpus */
#ifndef HELP_FUZZ_H
#define HELP_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FUZZ_INPUT_MAX = 1 << 16 };

/* A broken promise: says which, and aborts. */
#define FUZZ_REQUIRE(condition) \
    ((condition) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_failed(const char *file, int line, const char *condition);

/* A copy of the bytes that ends where memory ends: reading one byte more is a fault. Valid until the
 * next call. */
const uint8_t *fuzz_at_the_end(const uint8_t *data, size_t n_bytes);

typedef struct fuzz_input {
    uint8_t *bytes;
    size_t n_bytes;
} fuzz_input;

typedef struct fuzz_corpus {
    fuzz_input *inputs;
    size_t n;
} fuzz_corpus;
void fuzz_add(fuzz_corpus *corpus, const void *bytes, size_t n_bytes);
void fuzz_add_text(
        fuzz_corpus *corpus, uint8_t first, const char *text); /* a byte, then the text */

/* The target's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);
void fuzz_add_seeds(fuzz_corpus *corpus);
void fuzz_repair(uint8_t *bytes, size_t n_bytes);

/* n_inputs mutations (a tenth under GLM_TEST_FAST=1). Arguments of the program instead: SEED
 * N_INPUTS; or files, to run as they are; or --corpus DIR, to write the seeds into. */
int fuzz_main(int argc, char **argv, int64_t n_inputs);

/* 0 when the target, in a child, survives its corpus and fails within n_inputs mutations. */
int fuzz_main_finds(int64_t n_inputs);

#endif

/* Where a test of a CUDA kernel runs: compiled by g++ on the emulation, compiled by nvcc on a GPU,
 * in memory that both sides see. The tests themselves are the same (tests/gpu.sh). And how much of it:
 *
 *   GLM_TEST_FAST=1   what the sanitizers of a host's compiler can bear; on a GPU all but millions of rows
 *   GLM_TEST_FAST=2   each kernel once, at the smallest shapes that reach all of its code: for compute-sanitizer, whose
 *                     racecheck takes a microsecond and more for each access of each thread to shared memory. A test in which
 *                     CUDA_IS_LEAST is true is always so */
#ifndef HELP_CUDA_MACHINE_H
#define HELP_CUDA_MACHINE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline bool cuda_is_least() {
#ifdef CUDA_IS_LEAST
    if (CUDA_IS_LEAST) return true;
#endif
    const char *text = getenv("GLM_TEST_FAST");
    return text && strcmp(text, "2") == 0;
}
static inline bool cuda_is_fast() {
    const char *text = getenv("GLM_TEST_FAST");
    return cuda_is_least() || (text && strcmp(text, "1") == 0);
}

#if defined(__CUDACC__)

#include "attention/ptx.cuh"
#include "attention/ptx_sm90.cuh"

enum { CUDA_ON_GPU = 1 };

static inline void cuda_check(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    exit(error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver ? 77 : 1);
}

static inline void *cuda_take(size_t bytes) {
    void *memory = NULL;
    cuda_check(cudaMallocManaged(&memory, bytes), "managed memory");
    return memory;
}
static inline void cuda_give(void *memory) {
    cuda_check(cudaFree(memory), "free");
}
/* Gigabytes of the device's own memory, zero: managed, they would come page by page. Numbers of it are copied. */
static inline void *cuda_reserve(size_t bytes) {
    void *memory = NULL;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
        fprintf(stderr, "%.1f GB of this GPU's memory are not free\n", (double)bytes / 1e9);
        exit(77);
    }
    cuda_check(error, "memory");
    cuda_check(cudaMemset(memory, 0, bytes), "zeros");
    return memory;
}
static inline void cuda_copy(void *to, const void *from, size_t bytes) {
    cuda_check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "copy");
}
/* What was launched is done. */
static inline void cuda_wait() {
    cuda_check(cudaDeviceSynchronize(), "kernel");
}
static inline void emu_seed(uint64_t) {}
static inline void emu_only_block(int64_t) {}
static inline void emu_set_sm_count(int) {}
static inline void emu_forget_global() {}
static inline int64_t emu_bank_conflicts() {
    return 0;
}

#else

#include <sys/mman.h>

#include "emu/ptx.h"

enum { CUDA_ON_GPU = 0 };

static inline void *cuda_take(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 16, bytes)) abort();
    return memory;
}
static inline void cuda_give(void *memory) {
    free(memory);
}
static inline void *cuda_reserve(size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) abort();
    return at;
}
static inline void cuda_copy(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
}
static inline void cuda_wait() {}

#endif

/* Whether sizes are such that all of a GPU is at work. */
static inline bool cuda_is_large() {
    return CUDA_ON_GPU && !cuda_is_least();
}
/* How often a test of determinism runs a kernel: over all of a GPU, or under random schedules. */
static inline int cuda_repeats() {
    return cuda_is_large() ? 100 : 3;
}

#endif

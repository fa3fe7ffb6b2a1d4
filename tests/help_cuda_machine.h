/* Where a test of a CUDA kernel runs: compiled by g++ on the emulation, compiled by nvcc on a GPU,
 * in memory that both sides see. The tests themselves are the same (tests/gpu.sh). */
#ifndef HELP_CUDA_MACHINE_H
#define HELP_CUDA_MACHINE_H

#include <stdio.h>
#include <stdlib.h>

#if defined(__CUDACC__)

#include "attention/ptx.cuh"
#include "attention/ptx_sm90.cuh"

enum { CUDA_ON_GPU = 1, CUDA_REPEATS = 100 };

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
/* Memory that is reserved and mostly never touched, zero where it is. */
static inline void *cuda_reserve(size_t bytes) {
    return cuda_take(bytes);
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

/* How often a test of determinism runs a kernel: there over all of a GPU, here under random schedules. */
enum { CUDA_ON_GPU = 0, CUDA_REPEATS = 3 };

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
static inline void cuda_wait() {}

#endif

#endif

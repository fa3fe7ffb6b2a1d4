/* What the GPU benchmarks share: memory, timing, the machine's own ceilings, lines of CSV.
 *
 * A benchmark here is compiled by nvcc (tests/gpu.sh) and may be the first program ever to run on its GPU: what
 * it measures comes out line by line, and a part that fails says so and is left out. */
#ifndef BENCH_HELP_GPU_CUH
#define BENCH_HELP_GPU_CUH

#include <cublas_api.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "runtime/base/status.h"

#define CHECK_CUDA(call)                                                    \
    do {                                                                    \
        const cudaError_t error_ = (call);                                  \
        if (error_ != cudaSuccess) {                                        \
            fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(error_)); \
            exit(gpu_is_missing(error_) ? 77 : 1);                          \
        }                                                                   \
    } while (0)

static inline bool gpu_is_missing(cudaError_t error) {
    return error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver;
}

static inline void gpu_must(rt_status status) {
    if (status == RT_OK) return;
    fprintf(stderr, "%s\n", rt_error_text());
    exit(1);
}

template <typename T> static T *gpu_take(int64_t n) {
    void *at = NULL;
    CHECK_CUDA(cudaMalloc(&at, (size_t)n * sizeof(T)));
    return (T *)at;
}

/* Different numbers around 0: zeros would draw less power than data does. */
static __global__ void gpu_fill_kernel(uint16_t *to, int64_t n) {
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n;
            i += (int64_t)gridDim.x * blockDim.x) {
        const uint32_t hash =
                ((uint32_t)i + (uint32_t)(i >> 32)) * 2654435761u ^ (uint32_t)(i >> 13);
        to[i] = (uint16_t)((hash >> 16 & 0x807fu) | 0x3f00u); /* 0.5 to 1, either sign */
    }
}
static inline uint16_t *gpu_take_filled(int64_t n) {
    uint16_t *at = gpu_take<uint16_t>(n);
    gpu_fill_kernel<<<2048, 256>>>(at, n);
    CHECK_CUDA(cudaGetLastError());
    return at;
}

/* Sum of n numbers, to nowhere: nobody's is the sum that is stored. */
static __global__ void gpu_read_kernel(const uint4 *from, int64_t n, uint32_t *to) {
    uint32_t sum = 0;
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n;
            i += (int64_t)gridDim.x * blockDim.x)
        sum |= from[i].x | from[i].y | from[i].z | from[i].w;
    if (sum == 0xfeedfaceu) *to = sum;
}

/* ---- timing ---------------------------------------------------------------------------------- */

struct gpu_times {
    double best_ms, median_ms;
    double mhz; /* of an SM, over the runs that count and what is between them; 0: two SMs answered */
};

/* What an SM's clock says, and the GPU's own time. */
struct gpu_clock {
    uint64_t cycles, ns;
    uint32_t sm;
};
static __global__ void gpu_clock_kernel(gpu_clock *to) {
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(to->ns));
    asm volatile("mov.u32 %0, %%smid;" : "=r"(to->sm));
    to->cycles = (uint64_t)clock64();
}
static inline double gpu_mhz(const gpu_clock &from, const gpu_clock &to) {
    if (from.sm != to.sm || to.ns <= from.ns) return 0.0;
    return (double)(to.cycles - from.cycles) * 1e3 / (double)(to.ns - from.ns);
}

/* In front of what computes as fast as it can, for whatever ran before has left its heat, and a power limiter that
 * remembers: a second, as in FlashAttention's own benchmark, beside whose figures ours are read. */
static inline void gpu_rest() {
    const struct timespec second = {1, 0};
    CHECK_CUDA(cudaDeviceSynchronize());
    nanosleep(&second, NULL);
}

/* n_runs after one or two that do not count. A buffer larger than the L2 cache is read in between, outside of the
 * time, where is_cold: as a layer's weights are before its attention. (Written, its lines would have to leave the
 * cache within the time.) `stream` is the one that work is queued on. */
template <typename WORK>
static gpu_times gpu_time(
        WORK work, bool is_cold = false, int n_runs = 5, cudaStream_t stream = NULL) {
    enum { L2_BYTES = 256 << 20 };
    static char *flush = NULL;
    if (is_cold && !flush) {
        flush = gpu_take<char>(L2_BYTES);
        CHECK_CUDA(cudaMemset(flush, 0, L2_BYTES));
    }
    cudaEvent_t begin, end;
    CHECK_CUDA(cudaEventCreate(&begin));
    CHECK_CUDA(cudaEventCreate(&end));
    static gpu_clock *const clocks = gpu_take<gpu_clock>(2);
    gpu_clock clock[2];
    std::vector<double> times;
    const int n_warmup = n_runs > 1 ? 2 : 1;
    CHECK_CUDA(cudaDeviceSynchronize()); /* what work reads may have been written on another stream */
    for (int i = 0; i < n_warmup + n_runs; i++) {
        float ms = 0.0f;
        if (i == n_warmup) gpu_clock_kernel<<<1, 1, 0, stream>>>(&clocks[0]);
        if (is_cold) {
            gpu_read_kernel<<<2048, 256, 0, stream>>>(
                    (const uint4 *)flush, L2_BYTES / 16, (uint32_t *)flush);
            CHECK_CUDA(cudaGetLastError());
        }
        CHECK_CUDA(cudaEventRecord(begin, stream));
        work();
        CHECK_CUDA(cudaEventRecord(end, stream));
        CHECK_CUDA(cudaEventSynchronize(end));
        CHECK_CUDA(cudaEventElapsedTime(&ms, begin, end));
        if (i >= n_warmup) times.push_back((double)ms);
    }
    gpu_clock_kernel<<<1, 1, 0, stream>>>(&clocks[1]);
    CHECK_CUDA(cudaStreamSynchronize(stream));
    CHECK_CUDA(cudaMemcpy(clock, clocks, sizeof clock, cudaMemcpyDeviceToHost));
    std::sort(times.begin(), times.end());
    CHECK_CUDA(cudaEventDestroy(begin));
    CHECK_CUDA(cudaEventDestroy(end));
    return {times.front(), times[times.size() / 2], gpu_mhz(clock[0], clock[1])};
}

/* What work does for seconds on end: launches for a second, one queued behind the other, of which the first alone is
 * waited for; behind them, with nothing in between, as many as take some 0.7 s, timed in four groups. The times are a
 * launch's of a group, and the clock is over all four. */
template <typename WORK> static gpu_times gpu_time_on_end(WORK work) {
    enum { N_GROUPS = 4 };
    const double untimed_ms = 1000.0, group_ms = 700.0 / N_GROUPS;
    cudaEvent_t events[N_GROUPS + 1];
    for (cudaEvent_t &event : events) CHECK_CUDA(cudaEventCreate(&event));
    static gpu_clock *const clocks = gpu_take<gpu_clock>(2);
    gpu_clock clock[2];
    float ms = 0.0f;
    CHECK_CUDA(cudaEventRecord(events[0]));
    work();
    CHECK_CUDA(cudaEventRecord(events[1]));
    CHECK_CUDA(cudaEventSynchronize(events[1]));
    CHECK_CUDA(cudaEventElapsedTime(&ms, events[0], events[1]));
    const int n_untimed = (int)(untimed_ms / (double)ms);
    const int n_of_group = std::max(1, (int)(group_ms / (double)ms + 0.5));
    for (int i = 1; i < n_untimed; i++) work();
    gpu_clock_kernel<<<1, 1>>>(&clocks[0]);
    CHECK_CUDA(cudaEventRecord(events[0]));
    for (int group = 0; group < N_GROUPS; group++) {
        for (int i = 0; i < n_of_group; i++) work();
        CHECK_CUDA(cudaEventRecord(events[group + 1]));
    }
    gpu_clock_kernel<<<1, 1>>>(&clocks[1]);
    CHECK_CUDA(cudaDeviceSynchronize());
    CHECK_CUDA(cudaMemcpy(clock, clocks, sizeof clock, cudaMemcpyDeviceToHost));
    std::vector<double> times;
    for (int group = 0; group < N_GROUPS; group++) {
        CHECK_CUDA(cudaEventElapsedTime(&ms, events[group], events[group + 1]));
        times.push_back((double)ms / n_of_group);
    }
    std::sort(times.begin(), times.end());
    for (const cudaEvent_t event : events) CHECK_CUDA(cudaEventDestroy(event));
    return {times.front(), times[times.size() / 2], gpu_mhz(clock[0], clock[1])};
}

/* ---- lines ----------------------------------------------------------------------------------- */

static inline void gpu_print_machine(const char *what) {
    cudaDeviceProp gpu;
    int driver = 0, clock_khz = 0;
    size_t free_bytes = 0, all_bytes = 0;
    CHECK_CUDA(cudaGetDeviceProperties(&gpu, 0));
    CHECK_CUDA(cudaDriverGetVersion(&driver));
    CHECK_CUDA(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, 0));
    CHECK_CUDA(cudaMemGetInfo(&free_bytes, &all_bytes));
    printf("# %s: %s, %d SMs at up to %d MHz, %.0f of %.0f GiB free, CUDA %d.%d; best and median "
           "of 5 after 2\n",
            what, gpu.name, gpu.multiProcessorCount, clock_khz / 1000, (double)free_bytes / 0x1p30,
            (double)all_bytes / 0x1p30, driver / 1000, driver % 1000 / 10);
    printf("kernel,keys,queries,best_ms,median_ms,best,median,unit,share_of_ceiling\n");
    fflush(stdout);
}

/* work in units of `unit` without its "/s"; ceiling 0: none was measured. */
static inline void gpu_print(const char *kernel, int64_t keys, int64_t queries, gpu_times t,
        double work, const char *unit, double ceiling) {
    const double best = work * 1e3 / t.best_ms, median = work * 1e3 / t.median_ms;
    printf("%s,%lld,%lld,%.4f,%.4f,%.1f,%.1f,%s,", kernel, (long long)keys, (long long)queries,
            t.best_ms, t.median_ms, best, median, unit);
    if (ceiling > 0.0)
        printf("%.3f\n", best / ceiling);
    else
        printf("\n");
    fflush(stdout);
}

/* ---- ceilings -------------------------------------------------------------------------------- */

/* GB/s of a copy within the device's memory, read and written. */
static inline double gpu_copy_ceiling() {
    const int64_t bytes = (int64_t)1 << 30;
    char *from = gpu_take<char>(bytes), *to = gpu_take<char>(bytes);
    const gpu_times t = gpu_time([&] {
        CHECK_CUDA(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToDevice));
    });
    CHECK_CUDA(cudaFree(from));
    CHECK_CUDA(cudaFree(to));
    const double gb = 2.0 * (double)bytes / 1e9;
    gpu_print("copy", 0, 0, t, gb, "GB/s", gb * 1e3 / t.best_ms);
    return gb * 1e3 / t.best_ms;
}

/* cuBLAS, whose work is cuBLASLt's; multiply NULL: it cannot be opened, and a line has said so. */
struct gpu_blas {
    typedef cublasStatus_t (*create_function)(cublasHandle_t *);
    typedef cublasStatus_t (*multiply_function)(cublasHandle_t, cublasOperation_t,
            cublasOperation_t, int, int, int, const void *, const void *, cudaDataType, int,
            const void *, cudaDataType, int, const void *, void *, cudaDataType, int,
            cublasComputeType_t, cublasGemmAlgo_t);
    cublasHandle_t handle;
    multiply_function multiply;
};

static inline gpu_blas gpu_open_blas() {
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12"};
    gpu_blas blas = {};
    void *library = NULL;
    for (const char *name : names)
        if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library) {
        const auto create = (gpu_blas::create_function)dlsym(library, "cublasCreate_v2");
        if (create && create(&blas.handle) == CUBLAS_STATUS_SUCCESS)
            blas.multiply = (gpu_blas::multiply_function)dlsym(library, "cublasGemmEx");
    }
    if (!blas.multiply) {
        const char *why = library ? "it does not start" : dlerror();
        printf("# no products: neither libcublas.so.13 nor .12 can be used (%s)\n", why);
        fflush(stdout);
    }
    return blas;
}

/* y [n][n_out] = x [n][n_in] w [n_out][n_in]^T, bf16, fp32 sums. */
static inline void gpu_multiply(const gpu_blas &blas, const uint16_t *w, const uint16_t *x,
        uint16_t *y, int n, int n_out, int n_in) {
    const float one = 1.0f, zero = 0.0f;
    const cublasStatus_t status = blas.multiply(blas.handle, CUBLAS_OP_T, CUBLAS_OP_N, n_out, n,
            n_in, &one, w, CUDA_R_16BF, n_in, x, CUDA_R_16BF, n_in, &zero, y, CUDA_R_16BF, n_out,
            CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fprintf(stderr, "cuBLAS: a product of %d x %d x %d fails with status %d\n", n, n_out, n_in,
            (int)status);
    exit(1);
}

/* TFLOP/s of the best square product of bf16 with fp32 sums; 0 without cuBLAS. */
static inline double gpu_product_ceiling(const gpu_blas &blas) {
    double ceiling = 0.0;
    for (const int n : {4096, 8192, 16384}) {
        if (!blas.multiply) break;
        uint16_t *a = gpu_take_filled((int64_t)n * n), *b = gpu_take_filled((int64_t)n * n);
        uint16_t *c = gpu_take<uint16_t>((int64_t)n * n);
        const gpu_times t = gpu_time([&] { gpu_multiply(blas, a, b, c, n, n, n); });
        CHECK_CUDA(cudaFree(a));
        CHECK_CUDA(cudaFree(b));
        CHECK_CUDA(cudaFree(c));
        const double tflop = 2.0 * n * n * n / 1e12;
        ceiling = std::max(ceiling, tflop * 1e3 / t.best_ms);
        gpu_print("product", n, n, t, tflop, "TFLOP/s", ceiling);
    }
    return ceiling;
}

#endif

/* How fast are the attention kernels on this GPU, beside what it copies in the same run?
 *
 *   sh tests/gpu.sh bench_cuda_attention
 *
 * The 1M model's shape, one layer. Prefill: 8448 query tokens whose last one is at position n; its
 * FLOPs are counted exactly, 4 x 128 for each (row, visible key). Decode: one token over n keys,
 * the bytes of K and V. CSV on stdout: best and median of 5 after 2 that do not count; L2 is cold
 * in decode, since 2 KiB a token of KV go through it. Kernels are not checked here: the tests do
 * that. */
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <vector>

#include "attention/attn_cuda.h"

#define CHECK_CUDA(call)                                                   \
    do {                                                                   \
        const cudaError_t error = (call);                                  \
        if (error != cudaSuccess) {                                        \
            fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(error)); \
            exit(1);                                                       \
        }                                                                  \
    } while (0)

enum { HEADS = 32, KV_HEADS = 4, CHUNK = 8448, N_RUNS = 5, N_WARMUP = 2 };

template <typename T> static T *take(int64_t n) {
    void *at = NULL;
    CHECK_CUDA(cudaMalloc(&at, (size_t)n * sizeof(T)));
    return (T *)at;
}

/* Different numbers around 0: zeros would draw less power than data does. */
static __global__ void fill(uint16_t *to, int64_t n) {
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n;
            i += (int64_t)gridDim.x * blockDim.x) {
        const uint32_t hash = (uint32_t)i * 2654435761u ^ (uint32_t)(i >> 13);
        to[i] = (uint16_t)(hash >> 16 & 0x807fu) | 0x3f00u; /* 0.5 to 1, either sign */
    }
}

template <typename WORK> static std::vector<float> time_ms(WORK work) {
    cudaEvent_t begin, end;
    CHECK_CUDA(cudaEventCreate(&begin));
    CHECK_CUDA(cudaEventCreate(&end));
    std::vector<float> times;
    for (int i = 0; i < N_WARMUP + N_RUNS; i++) {
        float ms = 0.0f;
        CHECK_CUDA(cudaEventRecord(begin));
        work();
        CHECK_CUDA(cudaEventRecord(end));
        CHECK_CUDA(cudaEventSynchronize(end));
        CHECK_CUDA(cudaEventElapsedTime(&ms, begin, end));
        if (i >= N_WARMUP) times.push_back(ms);
    }
    std::sort(times.begin(), times.end());
    return times;
}

static void must(rt_status status) {
    if (status == RT_OK) return;
    fprintf(stderr, "%s\n", rt_error_text());
    exit(1);
}

/* `work` in the unit, without its "/s". */
static void print(const char *kernel, int64_t keys, const std::vector<float> &ms, double work,
        const char *unit, double peak) {
    const double best = work * 1e3 / (double)ms[0], median = work * 1e3 / (double)ms[N_RUNS / 2];
    printf("%s,%lld,%.3f,%.3f,%.1f,%.1f,%s,%.3f\n", kernel, (long long)keys, (double)ms[0],
            (double)ms[N_RUNS / 2], best, median, unit, peak > 0.0 ? best / peak : 0.0);
    fflush(stdout);
}

int main() {
    const attn_shape shape = {HEADS, KV_HEADS, 128, 64, 1e8, RT_BF16};
    cudaDeviceProp gpu;
    CHECK_CUDA(cudaGetDeviceProperties(&gpu, 0));
    size_t free_bytes = 0, all_bytes = 0;
    CHECK_CUDA(cudaMemGetInfo(&free_bytes, &all_bytes));
    const int64_t page_bytes = attn_cuda_page_bytes(&shape);
    int64_t keys_max = (int64_t)1 << 20;
    while (keys_max / 128 * page_bytes > (int64_t)free_bytes / 2) keys_max /= 2;

    char *kv = take<char>(keys_max / 128 * page_bytes);
    fill<<<4096, 256>>>((uint16_t *)kv, keys_max / 128 * page_bytes / 2);
    std::vector<void *> list;
    for (int64_t i = 0; i < keys_max / 128; i++) list.push_back(kv + i * page_bytes);
    void **pages = take<void *>(keys_max / 128);
    CHECK_CUDA(
            cudaMemcpy(pages, list.data(), list.size() * sizeof(void *), cudaMemcpyHostToDevice));
    uint16_t *q = take<uint16_t>((int64_t)CHUNK * HEADS * 128),
             *out = take<uint16_t>((int64_t)CHUNK * HEADS * 128);
    fill<<<1024, 256>>>(q, (int64_t)CHUNK * HEADS * 128);

    printf("# %s, %d SMs, %.0f GiB, one layer of 32 query heads over 4 KV heads\n", gpu.name,
            gpu.multiProcessorCount, (double)all_bytes / 0x1p30);
    printf("kernel,keys,best_ms,median_ms,best,median,unit,share_of_copy\n");
    const int64_t copy_bytes = keys_max / 128 * page_bytes / 2;
    const auto copy = time_ms([&] {
        CHECK_CUDA(
                cudaMemcpyAsync(kv, kv + copy_bytes, (size_t)copy_bytes, cudaMemcpyDeviceToDevice));
    });
    const double copied_gb = 2.0 * (double)copy_bytes / 1e9; /* read and written */
    const double copy_gbs = copied_gb * 1e3 / (double)copy[0];
    print("copy", keys_max, copy, copied_gb, "GB/s", copy_gbs);

    for (int64_t keys = 16384; keys <= keys_max; keys *= 4) {
        attn_cuda_prefill_args args = {};
        args.q = q;
        args.q_stride = HEADS * 128;
        args.n_tokens = CHUNK;
        args.pos = keys - CHUNK;
        args.pages = pages;
        args.n_keys = keys;
        args.attended = out;
        args.is_first = args.is_last = true;
        const double visible = (double)CHUNK * ((double)(keys - CHUNK) + (CHUNK + 1) / 2.0);
        const double tflop = 4.0 * 128 * HEADS * visible / 1e12;
        print("prefill_sm80", keys,
                time_ms([&] { must(attn_cuda_prefill_sm80(&shape, &args, NULL)); }), tflop,
                "TFLOP/s", 0.0);
#if HAS_SM90
        print("prefill_sm90", keys,
                time_ms([&] { must(attn_cuda_prefill_sm90(&shape, &args, NULL)); }), tflop,
                "TFLOP/s", 0.0);
#endif
    }
    for (int64_t keys = 16384; keys <= keys_max; keys *= 4)
        for (int queries = 1; queries <= 4; queries *= 2) {
            int64_t *lengths = take<int64_t>(1);
            void ***lists = take<void **>(1);
            CHECK_CUDA(cudaMemcpy(lengths, &keys, sizeof keys, cudaMemcpyHostToDevice));
            CHECK_CUDA(cudaMemcpy(lists, &pages, sizeof pages, cudaMemcpyHostToDevice));
            const int64_t scratch_bytes = attn_cuda_decode_scratch_bytes(&shape, keys, 1, queries);
            char *scratch = take<char>(scratch_bytes);
            CHECK_CUDA(cudaMemset(scratch, 0, (size_t)scratch_bytes));
            const attn_cuda_decode_args args = {q, HEADS * 128, lengths, keys, 1, queries,
                    (void *const *const *)lists, out, NULL, scratch};
            const double bytes = (double)keys * KV_HEADS * 2 * 128 * 2;
            char name[32];
            snprintf(name, sizeof name, "decode_%d", queries);
            print(name, keys, time_ms([&] { must(attn_cuda_decode(&shape, &args, NULL)); }),
                    bytes / 1e9, "GB/s", copy_gbs);
            CHECK_CUDA(cudaFree(scratch));
            CHECK_CUDA(cudaFree(lists));
            CHECK_CUDA(cudaFree(lengths));
        }
    return 0;
}

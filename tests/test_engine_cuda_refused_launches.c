/* A kernel that CUDA refuses, whether the shared memory that it asks for or its launch, is an error of that call and of no other:
 * the next one is queued.
 *
 * Method: prefill attention over no keys, which asks for more than a kernel has; each call to what plays CUDA fails once
 * (tests/standin, which ends the process where a launch would be told an earlier call's error). */
#include <cuda_runtime_api.h>
#include <stdio.h>

#include "attention/attn_cuda.h"
#include "runtime/base/status.h"
#include "standin/standin_cuda.h"

enum { BYTES = 65536, N_CALLS = 2 };

static cudaStream_t stream;
static char *memory;

static rt_status launch(void) {
    const attn_shape shape = {
            .n_heads = 1, .n_kv_heads = 1, .head_dim = 128, .rope_dim = 64, .kv_dtype = RT_BF16};
    const attn_cuda_prefill_args args = {.q = (uint16_t *)(void *)memory,
            .q_stride = 128,
            .n_tokens = 1,
            .attended = (uint16_t *)(void *)(memory + 1024),
            .is_first = true,
            .is_last = true};
    return attn_cuda_prefill_sm80(&shape, &args, stream);
}

/* The calls that a launch takes, where each is refused in turn and the launch is tried again. */
static int64_t n_calls_refused(void) {
    standin_cuda *gpu = standin_cuda_get();
    for (int64_t call = 1;; call++) {
        gpu->fail_at = gpu->n_calls + call;
        const rt_status status = launch();
        const bool is_reached = gpu->n_calls >= gpu->fail_at;
        gpu->fail_at = 0;
        if (!is_reached) return status == RT_OK ? call - 1 : -1;
        if (status == RT_OK || launch() != RT_OK) return -1;
    }
}

int main(void) {
    if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess ||
            cudaMalloc((void **)&memory, BYTES) != cudaSuccess ||
            cudaMemsetAsync(memory, 0, BYTES, stream) != cudaSuccess)
        return 1;
    const int64_t n = n_calls_refused();
    const bool is_done = cudaStreamSynchronize(stream) == cudaSuccess;
    (void)cudaFree(memory);
    (void)cudaStreamDestroy(stream);
    if (n == N_CALLS && is_done) return 0;
    printf("FAIL: %lld calls of a launch were refused, and the next one queued, not %d\n",
            (long long)n, N_CALLS);
    return 1;
}

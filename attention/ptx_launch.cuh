/* The host's part of a launch. It has no syntax of nvcc's, so that tests/standin calls it, too. */
#ifndef ATTN_PTX_LAUNCH_CUH
#define ATTN_PTX_LAUNCH_CUH

#include <cuda_runtime_api.h>
#include <stddef.h>

/* launch() queues `kernel` with smem bytes of dynamic shared memory, of which a kernel has 48 KiB unless more is asked for.
 * What was refused is not CUDA's last error any more: the next launch would be told it. */
template <typename LAUNCH>
static inline cudaError_t ptx_launch_with(const void *kernel, size_t smem, LAUNCH launch) {
    cudaError_t error = cudaSuccess;
    if (smem > 48 * 1024)
        error = cudaFuncSetAttribute(
                kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)smem);
    if (error == cudaSuccess) launch();
    const cudaError_t last = cudaGetLastError();
    return error == cudaSuccess ? last : error;
}

/* early() queues a kernel to begin before the one in front of it is over, and tells whether it could; late() queues it as any
 * other. */
template <typename EARLY, typename LATE>
static inline void ptx_launch_early_or_late(bool is_early, EARLY early, LATE late) {
    if (is_early && early()) return;
    if (is_early) (void)cudaGetLastError(); /* it begins later, then */
    late();
}

#endif

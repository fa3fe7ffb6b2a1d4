/* What is said of an error of CUDA's. What a kernel has done wrong shows at any later call, a launch for one, which is not
 * to blame; everything fails then, until the process ends. A GPU newer than the kernels has them compiled by its driver, when
 * they are first launched.
 *
 * Source: CUDA runtime API, "Data types", cudaError: errors that "leave the process in an inconsistent state". */
#ifndef ATTN_CUDA_WHY_H
#define ATTN_CUDA_WHY_H

#define ATTN_CUDA_HOW_TO_TELL "GLM_SYNC=1 waits after every step and tells which"
#define ATTN_CUDA_EARLIER     "earlier work has failed (" ATTN_CUDA_HOW_TO_TELL "): "
#define ATTN_CUDA_NEWER \
    "this GPU is newer than the kernels, and the driver would have to compile them, "

/* `words` are CUDA's. */
static inline const char *attn_cuda_why(int error, const char *words) {
    switch (error) { /* cudaError_t, whose header is not needed here */
    case 214:
        return ATTN_CUDA_EARLIER "an uncorrectable ECC error";
    case 220:
        return ATTN_CUDA_EARLIER "an uncorrectable NVLink error";
    case 221:
        return ATTN_CUDA_NEWER "but its library for that, libnvidia-ptxjitcompiler, is not there";
    case 222:
        return ATTN_CUDA_NEWER "but is older than the CUDA toolkit that they were built with";
    case 223:
        return ATTN_CUDA_NEWER "which CUDA_DISABLE_PTX_JIT forbids";
    case 226:
        return ATTN_CUDA_EARLIER
                "an error of the hardware, or of NVLink, that the GPU has contained";
    case 700:
        return ATTN_CUDA_EARLIER "an illegal memory access";
    case 702:
        return ATTN_CUDA_EARLIER "a launch timed out";
    case 714:
        return ATTN_CUDA_EARLIER "a hardware stack error";
    case 715:
        return ATTN_CUDA_EARLIER "an illegal instruction";
    case 716:
        return ATTN_CUDA_EARLIER "a misaligned address";
    case 717:
        return ATTN_CUDA_EARLIER "an invalid address space";
    case 718:
        return ATTN_CUDA_EARLIER "an invalid program counter";
    case 719:
        return ATTN_CUDA_EARLIER "an unspecified launch failure";
    default:
        return words;
    }
}

#endif

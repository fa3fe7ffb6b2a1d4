/* What comm_nccl_library.h declares is what <nccl.h> declares; and the real library, where it is installed,
 * takes what we hand it.
 *
 * Method: sizes, offsets and numbers, at compile time. Then the real library is asked
 * for a group of one: with a GPU that opens and closes, without one NCCL must refuse for that
 * reason, having accepted our configuration and id. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "parallel/comm_nccl_library.h"
#include "parallel/parallel.h"

#if __has_include(<nccl.h>) && __has_include(<cuda_runtime.h>)
#include <nccl.h>

_Static_assert(sizeof(nccl_id) == sizeof(ncclUniqueId), "id");
_Static_assert(offsetof(nccl_config, size) == offsetof(ncclConfig_t, size), "size");
_Static_assert(offsetof(nccl_config, magic) == offsetof(ncclConfig_t, magic), "magic");
_Static_assert(offsetof(nccl_config, version) == offsetof(ncclConfig_t, version), "version");
_Static_assert(offsetof(nccl_config, blocking) == offsetof(ncclConfig_t, blocking), "blocking");
_Static_assert(sizeof(nccl_config) <= sizeof(ncclConfig_t), "a beginning of it");
_Static_assert((int)NCCL_SUCCESS == (int)ncclSuccess, "result");
_Static_assert((int)NCCL_CUDA_ERROR == (int)ncclUnhandledCudaError, "result");
_Static_assert((int)NCCL_SYSTEM_ERROR == (int)ncclSystemError, "result");
_Static_assert((int)NCCL_INTERNAL_ERROR == (int)ncclInternalError, "result");
_Static_assert((int)NCCL_INVALID_ARGUMENT == (int)ncclInvalidArgument, "result");
_Static_assert((int)NCCL_INVALID_USAGE == (int)ncclInvalidUsage, "result");
_Static_assert((int)NCCL_REMOTE_ERROR == (int)ncclRemoteError, "result");
_Static_assert((int)NCCL_IN_PROGRESS == (int)ncclInProgress, "result");
_Static_assert((int)NCCL_INT8 == (int)ncclInt8, "type");
_Static_assert((int)NCCL_FLOAT32 == (int)ncclFloat32, "type");
_Static_assert((int)NCCL_SUM == (int)ncclSum, "operation");

#endif

/* Whether NCCL refused for want of a GPU or of its driver. */
static bool lacks_a_gpu(const char *text) {
    return strstr(text, "ncclCommInitRankConfig failed") && strstr(text, "cuda error");
}

int main(void) {
    char text[128];
    par_comm *control = NULL;
    par_comm *comm = NULL;
    if (par_nccl_describe(text, sizeof text) != RT_OK) {
        (void)printf("skipped: %s\n", rt_error_text());
        return 77;
    }
    if (par_comm_self_open(&control) != RT_OK) return 1;
    const rt_status status = par_comm_nccl_open(control, NULL, &comm);
    (void)printf("%s: %s\n", text, status == RT_OK ? "a group of one" : rt_error_text());
    if (status == RT_OK) {
        par_comm_close(comm);
        return 0;
    }
    par_comm_close(control);
    return status == RT_EPEER && lacks_a_gpu(rt_error_text()) ? 0 : 1;
}

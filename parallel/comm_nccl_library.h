/* libnccl.so.2, opened at run time: the few types and functions that are used, as NCCL documents its
 * ABI. tests/test_parallel_nccl_declarations.c compares them with <nccl.h> where that is installed.
 *
 * Source: NCCL user guide, "API" and "Types"; nccl.h of 2.14 to 2.32. */
#ifndef PAR_NCCL_LIBRARY_H
#define PAR_NCCL_LIBRARY_H

#include <stddef.h>

#include "runtime/base/status.h"

enum { NCCL_ID_BYTES = 128 };
typedef struct nccl_id {
    char bytes[NCCL_ID_BYTES];
} nccl_id;

typedef struct ncclComm *nccl_comm;
typedef struct CUstream_st *nccl_stream; /* cudaStream_t */

typedef enum nccl_result {
    NCCL_SUCCESS = 0,
    NCCL_CUDA_ERROR = 1,
    NCCL_SYSTEM_ERROR = 2,
    NCCL_INTERNAL_ERROR = 3,
    NCCL_INVALID_ARGUMENT = 4,
    NCCL_INVALID_USAGE = 5,
    NCCL_REMOTE_ERROR = 6,
    NCCL_IN_PROGRESS = 7
} nccl_result;

typedef enum nccl_type { NCCL_INT8 = 0, NCCL_FLOAT32 = 7 } nccl_type;
typedef enum nccl_op { NCCL_SUM = 0 } nccl_op;

/* ncclConfig_t as it was in 2.14. It has grown at its end since: NCCL reads `size` bytes of it, and
 * uses its own defaults for what came after `version`. */
enum { NCCL_CONFIG_VERSION = 21400, NCCL_VERSION_MIN = 21400 };
#define NCCL_CONFIG_MAGIC 0xcafebeefU
typedef struct nccl_config {
    size_t size;
    unsigned magic;
    unsigned version;
    int blocking;
} nccl_config;

typedef struct nccl_library {
    nccl_result (*GetVersion)(int *version);
    nccl_result (*GetUniqueId)(nccl_id *id);
    nccl_result (*CommInitRankConfig)(
            nccl_comm *comm, int n_ranks, nccl_id id, int rank, nccl_config *config);
    nccl_result (*CommGetAsyncError)(nccl_comm comm, nccl_result *error);
    nccl_result (*CommFinalize)(nccl_comm comm);
    nccl_result (*CommDestroy)(nccl_comm comm);
    nccl_result (*CommAbort)(nccl_comm comm);
    const char *(*GetErrorString)(nccl_result result);
    const char *(*GetLastError)(nccl_comm comm);
    nccl_result (*AllReduce)(const void *from, void *to, size_t count, nccl_type type, nccl_op op,
            nccl_comm comm, nccl_stream stream);
    nccl_result (*AllGather)(const void *from, void *to, size_t count, nccl_type type,
            nccl_comm comm, nccl_stream stream);
    nccl_result (*Broadcast)(const void *from, void *to, size_t count, nccl_type type, int root,
            nccl_comm comm, nccl_stream stream);
    nccl_result (*Send)(const void *from, size_t count, nccl_type type, int peer, nccl_comm comm,
            nccl_stream stream);
    nccl_result (*Recv)(
            void *to, size_t count, nccl_type type, int peer, nccl_comm comm, nccl_stream stream);
    int version;   /* 22809 is 2.28.9 */
    char name[64]; /* "NCCL 2.28.9, build 1f3a5c7e": builds of one version have differed */
} nccl_library;

/* Open it and find every function. It stays open: threads of its own may run in it. `path` NULL:
 * libnccl.so.2, wherever the system looks.
 *
 * Errors: RT_EUNSUPPORTED  not there, too old, or without a function: the message says which */
RT_MUST_CHECK rt_status nccl_library_open(const char *path, nccl_library *out);

#endif

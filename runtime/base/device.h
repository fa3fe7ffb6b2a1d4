/* The GPU, for code that does not know which: memory, streams, copies. device_cuda.c. */
#ifndef RT_DEVICE_H
#define RT_DEVICE_H

#include "status.h"

/* A queue of work on a device; CUDA's cudaStream_t. NULL: the default stream. */
typedef struct CUstream_st *rt_stream;

#endif

/* A device whose memory code takes without knowing which device it is; runtime/device_cuda.c fills one
 * in. NULL in place of a device is the host. */
#ifndef RT_DEVICE_H
#define RT_DEVICE_H

#include "status.h"

/* A queue of work on a device; CUDA's cudaStream_t. NULL: the default stream. */
typedef struct CUstream_st *rt_stream;

/* Of a device with memory of its own. All 0: it has none, and takes the host's. */
typedef struct rt_device_memory {
    int64_t free_bytes;
    int64_t context_bytes; /* what is gone already, for its driver */
} rt_device_memory;

typedef struct rt_device rt_device;
struct rt_device {
    /* Memory that only the device reads and writes, 256-byte aligned, its content unspecified.
     * RT_ENOMEM: what was asked for, and what is left. */
    rt_status (*alloc)(rt_device *device, int64_t bytes, const char *what, void **out);
    void (*free)(rt_device *device, void *memory);
    /* Memory of the host that it copies from and to by itself; given back when no queued work uses it. RT_ENOMEM */
    rt_status (*pin)(rt_device *device, int64_t bytes, const char *what, void **out);
    void (*unpin)(rt_device *device, void *memory);
    /* From one place of its memory to another, after what was queued before and ahead of what is queued
     * after. A failure shows when the device is waited for. */
    void (*copy)(rt_device *device, void *to, const void *from, int64_t bytes);
};

#endif

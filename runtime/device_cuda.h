/* A GPU: memory, pinned host memory, streams, events, copies, graphs. With find_cuda.h, which GPU it is,
 * the only door to CUDA's runtime; what launches kernels gets a stream from here.
 *
 * Calls that queue return at once; what goes wrong with their work shows at a later wait, whose message says
 * so (GLM_SYNC=1 in the environment waits after every step, and then names the right one). Copies are
 * between device memory and memory of glm_cuda_pin, which must stay as it is until the stream has
 * passed. Any thread may call, after glm_cuda_use.
 *
 * Errors: RT_EDEVICE, with CUDA's own words; RT_ENOMEM. */
#ifndef GLM_DEVICE_CUDA_H
#define GLM_DEVICE_CUDA_H

#include "base/device.h"
#include "base/size.h"

typedef struct CUevent_st *glm_cuda_event;
typedef struct CUgraphExec_st *glm_cuda_graph;

enum { GLM_CUDA_BUS_BYTES = 32 };

/* copy_error stays: what lies in the page is not known then, nor who will read it, and no step is done any more. */
typedef struct glm_cuda_device {
    rt_device base;               /* what the store sees; its copies are queued on `compute` */
    int32_t number;               /* CUDA's, of */
    int32_t n_devices;            /* that this process may use */
    char bus[GLM_CUDA_BUS_BYTES]; /* where it is plugged in, "0000:1b:00.0": another for each */
    int32_t capability;           /* 80, 90: 8.0, 9.0 */
    int64_t total_bytes;          /* of its memory */
    rt_device_memory memory;      /* as it was when the device was opened */
    int64_t taken_bytes;          /* by alloc() of base, all told */
    bool waits_always;            /* GLM_SYNC=1 */
    int32_t copy_error;           /* why a copy of base was refused; 0: none was */
    rt_stream compute;
    rt_stream copy_in;
    rt_stream copy_out;
} glm_cuda_device;

/* The GPU for rank `place` of those on this host: ranks take turns with the GPUs there are. RT_EUNSUPPORTED: there is
 * none to use, why. */
RT_MUST_CHECK rt_status glm_cuda_device_open(int32_t place, glm_cuda_device *out);
/* All of its memory was freed. A zeroed one is fine. */
void glm_cuda_device_close(glm_cuda_device *device);

/* Calls of this thread are about this device. */
RT_MUST_CHECK rt_status glm_cuda_use(const glm_cuda_device *device);

/* device->base.alloc for `count` numbers of T, into a typed pointer. */
#define GLM_CUDA_ALLOC(device, count, what, out)                                              \
    (device)->base.alloc(&(device)->base, (int64_t)(count) * (int64_t)sizeof **(out), (what), \
            (void **)(void *)(out))
void glm_cuda_free(glm_cuda_device *device, const void *memory);
/* What a piece of so many bytes takes besides: CUDA gives large ones in multiples of 2 MiB, as seen on an H200. */
static inline int64_t glm_cuda_lost_behind(int64_t bytes) {
    return bytes < RT_MIB ? 0 : rt_round_up(bytes, 2 * RT_MIB) - bytes;
}

/* Of the device's memory, now, of whoever uses it; -1 where it is not known. */
int64_t glm_cuda_free_now(void);

/* Host memory that the device copies from and to by itself. */
RT_MUST_CHECK rt_status glm_cuda_pin(int64_t bytes, const char *what, void **out);
void glm_cuda_unpin(void *memory);

/* Queued on `stream`: from host memory, to it, within the device; zeros. The host leaves its memory, pinned
 * (glm_cuda_pin), alone until the stream has passed. RT_EDEVICE */
RT_MUST_CHECK rt_status glm_cuda_copy_in(
        void *to, const void *host, int64_t bytes, rt_stream stream);
RT_MUST_CHECK rt_status glm_cuda_copy_out(
        void *host, const void *from, int64_t bytes, rt_stream stream);
RT_MUST_CHECK rt_status glm_cuda_copy(void *to, const void *from, int64_t bytes, rt_stream stream);
RT_MUST_CHECK rt_status glm_cuda_zero(void *memory, int64_t bytes, rt_stream stream);

/* Another stream; what is queued on it is no more once it is freed. RT_EDEVICE */
RT_MUST_CHECK rt_status glm_cuda_stream_create(rt_stream *out);
void glm_cuda_stream_free(rt_stream stream); /* accepts NULL */

/* A place in a stream's queue. RT_EDEVICE */
RT_MUST_CHECK rt_status glm_cuda_event_create(glm_cuda_event *out);
void glm_cuda_event_free(glm_cuda_event event); /* accepts NULL */
/* The event is everything that `stream` was given so far, which is over where it cannot be recorded; `stream` goes on after it;
 * the host does. An event that was never recorded is past. */
RT_MUST_CHECK rt_status glm_cuda_event_record(glm_cuda_event event, rt_stream stream);
RT_MUST_CHECK rt_status glm_cuda_event_follow(rt_stream stream, glm_cuda_event event);
RT_MUST_CHECK rt_status glm_cuda_event_wait(glm_cuda_event event);

/* The host goes on when the stream has done everything; `what`, for the message of what failed. */
RT_MUST_CHECK rt_status glm_cuda_wait(rt_stream stream, const char *what);
/* The same behind a failure, which is what is told: of this wait nothing is. */
void glm_cuda_finish(rt_stream stream);
/* Whether it still works, by a stream that nobody else uses, and an event of it: what came of the event that was queued when this
 * was asked last, and then another one is; nothing is waited for. RT_EDEVICE */
RT_MUST_CHECK rt_status glm_cuda_ask(rt_stream stream, glm_cuda_event event);
/* GLM_SYNC=1: glm_cuda_wait. Otherwise only whether a copy of the store's was refused. */
RT_MUST_CHECK rt_status glm_cuda_step_done(const glm_cuda_device *device, const char *what);

/* What is queued on `stream` from begin to end is not done, but kept; each launch of the graph queues it
 * again, with the same arguments. */
RT_MUST_CHECK rt_status glm_cuda_graph_begin(rt_stream stream);
/* `is_whole` false: drop what was kept. The graph has taken what it takes of the device's memory, all of it; *out is NULL
 * after a failure, behind which the stream goes on. */
RT_MUST_CHECK rt_status glm_cuda_graph_end(rt_stream stream, bool is_whole, glm_cuda_graph *out);
RT_MUST_CHECK rt_status glm_cuda_graph_launch(glm_cuda_graph graph, rt_stream stream);
/* An error while a graph is recorded, which `what` would end: a library's call that may load kernels. */
RT_MUST_CHECK rt_status glm_cuda_graph_forbids(rt_stream stream, const char *what);
void glm_cuda_graph_free(glm_cuda_graph graph); /* accepts NULL */

#endif

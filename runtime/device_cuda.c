#include "device_cuda.h"

#include <cuda_runtime_api.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attn_cuda_why.h"
#include "base/size.h"
#include "find_cuda.h"

enum { ALIGN_BYTES = 256 };

static rt_status check(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return RT_OK;
    (void)cudaGetLastError(); /* it is told here; the next call has its own */
    return rt_fail(
            RT_EDEVICE, "cuda: %s: %s", what, attn_cuda_why((int)error, cudaGetErrorString(error)));
}

/* ---- memory ---------------------------------------------------------------------------------- */

static rt_status take(rt_device *base, int64_t bytes, const char *what, void **out) {
    glm_cuda_device *device = (glm_cuda_device *)(void *)base;
    const int64_t rounded = rt_round_up(rt_max64(bytes, 1), ALIGN_BYTES);
    char wanted[RT_SIZE_TEXT];
    char taken[RT_SIZE_TEXT];
    const cudaError_t error = cudaMalloc(out, (size_t)rounded);
    if (error == cudaSuccess) {
        device->taken_bytes += rounded;
        return RT_OK;
    }
    (void)cudaGetLastError();
    *out = NULL;
    return rt_fail(error == cudaErrorMemoryAllocation ? RT_ENOMEM : RT_EDEVICE,
            "cuda: %s of GPU memory for %s, beside %s taken: %s", rt_format_bytes(bytes, wanted),
            what, rt_format_bytes(device->taken_bytes, taken), cudaGetErrorString(error));
}

/* What was queued may use it: cudaFree "may perform implicit synchronization" (cuda_runtime_api.h), and need not. */
static void give(rt_device *base, void *memory) {
    const glm_cuda_device *device = (glm_cuda_device *)(void *)base;
    glm_cuda_finish(device->compute);
    glm_cuda_finish(device->copy_in);
    glm_cuda_finish(device->copy_out);
    (void)cudaFree(memory);
}

static void copy_queued(rt_device *base, void *to, const void *from, int64_t bytes) {
    glm_cuda_device *device = (glm_cuda_device *)(void *)base;
    const cudaError_t error =
            cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToDevice, device->compute);
    if (error == cudaSuccess) return;
    (void)cudaGetLastError(); /* a launch would take it for its own */
    device->copy_error = (int32_t)error;
}

static rt_status pin(rt_device *base, int64_t bytes, const char *what, void **out) {
    (void)base;
    return glm_cuda_pin(bytes, what, out);
}

/* Also from memory that is given back, what was queued is copied first. */
static void unpin(rt_device *base, void *memory) {
    const glm_cuda_device *device = (glm_cuda_device *)(void *)base;
    glm_cuda_finish(device->copy_in);
    glm_cuda_finish(device->copy_out);
    glm_cuda_unpin(memory);
}

void glm_cuda_free(glm_cuda_device *device, const void *memory) {
    if (memory) device->base.free(&device->base, (void *)(uintptr_t)memory);
}

int64_t glm_cuda_free_now(void) {
    size_t free_bytes = 0, total_bytes = 0;
    if (cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess) return (int64_t)free_bytes;
    (void)cudaGetLastError();
    return -1;
}

rt_status glm_cuda_pin(int64_t bytes, const char *what, void **out) {
    char wanted[RT_SIZE_TEXT];
    const cudaError_t error = cudaHostAlloc(out, (size_t)rt_max64(bytes, 1), cudaHostAllocDefault);
    if (error == cudaSuccess) return RT_OK;
    (void)cudaGetLastError();
    *out = NULL;
    return rt_fail(error == cudaErrorMemoryAllocation ? RT_ENOMEM : RT_EDEVICE,
            "cuda: %s of pinned host memory for %s: %s", rt_format_bytes(bytes, wanted), what,
            cudaGetErrorString(error));
}

void glm_cuda_unpin(void *memory) {
    if (memory) (void)cudaFreeHost(memory);
}

/* ---- open and close -------------------------------------------------------------------------- */

rt_status glm_cuda_stream_create(rt_stream *out) {
    return check(cudaStreamCreateWithFlags(out, cudaStreamNonBlocking), "a stream");
}

void glm_cuda_stream_free(rt_stream stream) {
    if (stream) (void)cudaStreamDestroy(stream);
}

static rt_status open_streams(glm_cuda_device *device) {
    rt_stream *streams[] = {&device->compute, &device->copy_in, &device->copy_out};
    for (int i = 0; i < 3; i++) RT_TRY(glm_cuda_stream_create(streams[i]));
    return RT_OK;
}

rt_status glm_cuda_device_open(int32_t place, glm_cuda_device *out) {
    const char *sync = getenv("GLM_SYNC");
    *out = (glm_cuda_device){
            .base = {.alloc = take, .free = give, .pin = pin, .unpin = unpin, .copy = copy_queued},
            .waits_always = sync && strcmp(sync, "1") == 0};
    RT_TRY(glm_cuda_find(place, out));
    const rt_status status = open_streams(out);
    if (status != RT_OK) glm_cuda_device_close(out);
    return status;
}

void glm_cuda_device_close(glm_cuda_device *device) {
    glm_cuda_stream_free(device->compute);
    glm_cuda_stream_free(device->copy_in);
    glm_cuda_stream_free(device->copy_out);
    *device = (glm_cuda_device){0};
}

rt_status glm_cuda_use(const glm_cuda_device *device) {
    return check(cudaSetDevice(device->number), "choosing the GPU");
}

/* ---- copies ---------------------------------------------------------------------------------- */

rt_status glm_cuda_copy_in(void *to, const void *host, int64_t bytes, rt_stream stream) {
    return check(cudaMemcpyAsync(to, host, (size_t)bytes, cudaMemcpyHostToDevice, stream),
            "a copy to the GPU");
}

rt_status glm_cuda_copy_out(void *host, const void *from, int64_t bytes, rt_stream stream) {
    return check(cudaMemcpyAsync(host, from, (size_t)bytes, cudaMemcpyDeviceToHost, stream),
            "a copy from the GPU");
}

rt_status glm_cuda_copy(void *to, const void *from, int64_t bytes, rt_stream stream) {
    return check(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToDevice, stream),
            "a copy on the GPU");
}

rt_status glm_cuda_zero(void *memory, int64_t bytes, rt_stream stream) {
    return check(cudaMemsetAsync(memory, 0, (size_t)bytes, stream), "clearing GPU memory");
}

/* ---- events and waits ------------------------------------------------------------------------ */

rt_status glm_cuda_event_create(glm_cuda_event *out) {
    return check(cudaEventCreateWithFlags(out, cudaEventDisableTiming), "an event");
}

void glm_cuda_event_free(glm_cuda_event event) {
    if (event) (void)cudaEventDestroy(event);
}

rt_status glm_cuda_event_record(glm_cuda_event event, rt_stream stream) {
    const cudaError_t error = cudaEventRecord(event, stream);
    if (error != cudaSuccess) glm_cuda_finish(stream);
    return check(error, "recording an event");
}

rt_status glm_cuda_event_follow(rt_stream stream, glm_cuda_event event) {
    return check(cudaStreamWaitEvent(stream, event, 0), "ordering two streams");
}

rt_status glm_cuda_event_wait(glm_cuda_event event) {
    return check(cudaEventSynchronize(event), "waiting for what was queued");
}

rt_status glm_cuda_wait(rt_stream stream, const char *what) {
    const cudaError_t error = cudaStreamSynchronize(stream);
    if (error == cudaSuccess) return RT_OK;
    (void)cudaGetLastError();
    return rt_fail(RT_EDEVICE, "cuda: %s, or earlier work (" ATTN_CUDA_HOW_TO_TELL "): %s", what,
            cudaGetErrorString(error));
}

void glm_cuda_finish(rt_stream stream) {
    if (cudaStreamSynchronize(stream) != cudaSuccess) (void)cudaGetLastError();
}

/* "This function may also return error codes from previous, asynchronous launches" (cudaStreamQuery): of a stream on which nothing is
 * queued it need not. */
rt_status glm_cuda_ask(rt_stream stream, glm_cuda_event event) {
    cudaError_t error = cudaStreamQuery(stream);
    if (error == cudaSuccess) error = cudaEventRecord(event, stream);
    if (error == cudaSuccess) return RT_OK;
    (void)cudaGetLastError();
    if (error == cudaErrorNotReady) return RT_OK;
    return rt_fail(RT_EDEVICE,
            "cuda: the GPU has failed, in work that was queued (" ATTN_CUDA_HOW_TO_TELL "): %s",
            cudaGetErrorString(error));
}

rt_status glm_cuda_step_done(const glm_cuda_device *device, const char *what) {
    if (device->copy_error) RT_TRY(check((cudaError_t)device->copy_error, "a copy of a page"));
    return device->waits_always ? glm_cuda_wait(device->compute, what) : RT_OK;
}

/* ---- graphs ---------------------------------------------------------------------------------- */

rt_status glm_cuda_graph_begin(rt_stream stream) {
    return check(
            cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a graph");
}

rt_status glm_cuda_graph_forbids(rt_stream stream, const char *what) {
    enum cudaStreamCaptureStatus is_recording = cudaStreamCaptureStatusNone;
    RT_TRY(check(cudaStreamIsCapturing(stream, &is_recording), what));
    if (is_recording == cudaStreamCaptureStatusNone) return RT_OK;
    return rt_fail(RT_EDEVICE, "cuda: %s, which is not done while a graph is recorded", what);
}

/* With all that it will take of the device's memory. */
static cudaError_t instantiate(cudaGraph_t graph, rt_stream stream, glm_cuda_graph *out) {
    cudaGraphExec_t made = NULL;
    cudaError_t error = cudaGraphInstantiate(&made, graph, 0);
    if (error == cudaSuccess) error = cudaGraphUpload(made, stream);
    if (error != cudaSuccess && made) (void)cudaGraphExecDestroy(made);
    *out = error == cudaSuccess ? made : NULL;
    return error;
}

rt_status glm_cuda_graph_end(rt_stream stream, bool is_whole, glm_cuda_graph *out) {
    cudaGraph_t graph = NULL;
    *out = NULL;
    cudaError_t error = cudaStreamEndCapture(stream, &graph);
    if (error == cudaSuccess && is_whole) error = instantiate(graph, stream, out);
    if (graph) (void)cudaGraphDestroy(graph);
    if (!is_whole) (void)cudaGetLastError();
    return is_whole ? check(error, "making a graph") : RT_OK;
}

rt_status glm_cuda_graph_launch(glm_cuda_graph graph, rt_stream stream) {
    return check(cudaGraphLaunch(graph, stream), "launching a graph");
}

void glm_cuda_graph_free(glm_cuda_graph graph) {
    if (graph) (void)cudaGraphExecDestroy(graph);
}

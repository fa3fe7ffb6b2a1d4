/* CUDA's runtime: what each call checks, and queues on the machine of standin_machine.cpp. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "standin_machine.h"

using namespace standin;

static thread_local cudaError_t last_error = cudaSuccess;

static cudaError_t told(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

static cudaError_t state_of(cudaStream_t stream) {
    (void)stream;
    return told(is_broken ? cudaErrorLaunchFailure : cudaSuccess);
}

extern "C" {

/* ---- the device and its memory --------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count) {
    guard held(lock);
    *count = state()->n_devices;
    return told(fails() || *count == 0 ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t cudaSetDevice(int device) {
    guard held(lock);
    const bool is_one = device >= 0 && device < state()->n_devices;
    return told(fails() || !is_one ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int room, int device) {
    guard held(lock);
    const int64_t bus = number("STANDIN_CUDA_BUS", 0x10) + device;
    snprintf(text, (size_t)room, "0000:%02x:00.0", (unsigned)bus);
    return told(fails() ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int) {
    guard held(lock);
    const int capability = state()->capability;
    switch (attribute) { /* an H100's, where nothing was asked for */
    case cudaDevAttrComputeCapabilityMajor:
        *value = capability / 10;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = capability % 10;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = 132;
        break;
    case cudaDevAttrClockRate:
        *value = 1980000;
        break;
    case cudaDevAttrMemoryClockRate:
        *value = 2619000;
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = 5120;
        break;
    default:
        *value = 0;
    }
    return told(fails() ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    guard held(lock);
    *total = (size_t)state()->memory_bytes;
    *free_bytes = (size_t)(state()->memory_bytes - state()->device_bytes);
    return told(fails() ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t cudaGetLastError(void) {
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    default:
        return "a failure of the stand-in";
    }
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    guard held(lock);
    standin_cuda *s = state();
    refuse_capture("cudaMalloc");
    if (fails() || s->device_bytes + (int64_t)bytes > s->memory_bytes)
        return told(cudaErrorMemoryAllocation);
    *out = take(bytes);
    return told(*out ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *memory) {
    guard held(lock);
    if (!memory) return cudaSuccess;
    refuse_capture("cudaFree");
    for (cudaStream_t stream : streams) drain(stream); /* it waits for the device */
    if (!give_back((char *)memory)) found("cudaFree of what was not allocated");
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned) {
    guard held(lock);
    if (fails()) return told(cudaErrorMemoryAllocation);
    *out = malloc(bytes);
    memset(*out, 0xff, bytes);
    pinned_blocks[(char *)*out] = bytes;
    state()->n_objects++;
    state()->pinned_bytes += (int64_t)bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory) {
    guard held(lock);
    auto at = pinned_blocks.find((char *)memory);
    if (at == pinned_blocks.end()) found("cudaFreeHost of what was not allocated");
    for (cudaStream_t stream : streams) drain(stream);
    state()->pinned_bytes -= (int64_t)at->second;
    state()->n_objects--;
    pinned_blocks.erase(at);
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(
        void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    guard held(lock);
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    if (bytes > 0 && !(to_device ? on_device(to, bytes) : is_pinned(to, bytes)))
        found("a copy of %zu bytes to what is not %s memory", bytes,
                to_device ? "device" : "pinned");
    if (bytes > 0 && !(from_device ? on_device(from, bytes) : is_pinned(from, bytes)))
        found("a copy of %zu bytes from what is not %s memory", bytes,
                from_device ? "device" : "pinned");
    if (fails()) return told(cudaErrorInvalidValue);
    queue(stream, {"a copy", [=] { memmove(to, from, bytes); }, NULL, NULL});
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    guard held(lock);
    if (bytes > 0 && !on_device(memory, bytes)) found("cudaMemset of what is not device memory");
    if (fails()) return told(cudaErrorInvalidValue);
    queue(stream, {"a memset", [=] { memset(memory, value, bytes); }, NULL, NULL});
    return cudaSuccess;
}

/* ---- streams and events ---------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned) {
    guard held(lock);
    if (fails()) return told(cudaErrorMemoryAllocation);
    *out = new CUstream_st;
    streams.push_back(*out);
    state()->n_objects++;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    std::unique_lock<std::recursive_mutex> held(lock);
    drain(stream);
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream) streams.erase(streams.begin() + (long)i);
    if (streams.empty()) is_broken = false; /* a new process, as it were */
    state()->n_objects--;
    delete stream;
    if (streams.empty()) end_moving(&held);
    return cudaSuccess;
}

static void wait_and_count(const std::function<void()> &wait) {
    const int64_t n = n_queued();
    wait();
    state()->n_drained += n > 0 && n_queued() == 0;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    guard held(lock);
    if (stream->is_capturing) found("a stream is waited for while it records a graph");
    if (fails()) is_broken = true; /* a wait fails where work has */
    wait_and_count([=] { drain(stream); });
    return state_of(stream);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned) {
    guard held(lock);
    if (fails()) return told(cudaErrorMemoryAllocation);
    *out = new CUevent_st;
    state()->n_objects++;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    guard held(lock);
    state()->n_objects--;
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    guard held(lock);
    if (stream->is_capturing) found("an event is recorded in a graph");
    if (fails()) return told(cudaErrorInvalidValue);
    event->last = std::make_shared<recorded>();
    event->last->stream = stream;
    queue(stream, {"an event", NULL, NULL, event->last});
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    guard held(lock);
    if (stream->is_capturing) found("an event is waited for in a graph");
    if (fails()) return told(cudaErrorInvalidValue);
    if (event->last) queue(stream, {"a wait", NULL, event->last, NULL});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    guard held(lock);
    refuse_capture("cudaEventSynchronize");
    if (fails()) is_broken = true;
    if (event->last) wait_and_count([=] { run_until(event->last); });
    return state_of(NULL);
}

/* ---- graphs ---------------------------------------------------------------------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode) {
    guard held(lock);
    if (fails()) return told(cudaErrorInvalidValue);
    stream->is_capturing = true;
    stream->captured.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out) {
    guard held(lock);
    if (!stream->is_capturing) found("the end of a graph that was not begun");
    stream->is_capturing = false;
    if (fails()) return told(cudaErrorInvalidValue);
    *out = new CUgraph_st{stream->captured};
    state()->n_objects++;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long) {
    guard held(lock);
    if (fails()) return told(cudaErrorMemoryAllocation);
    *out = new CUgraphExec_st{graph->operations};
    state()->n_objects++;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    guard held(lock);
    if (fails()) return told(cudaErrorInvalidValue);
    state()->n_graph_launches++;
    for (const operation &one : graph->operations) queue(stream, one);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    guard held(lock);
    state()->n_objects--;
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    guard held(lock);
    state()->n_objects--;
    delete graph;
    return cudaSuccess;
}

} // extern "C"

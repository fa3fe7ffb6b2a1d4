/* CUDA's runtime: the device, its memory, copies. What each call checks, and queues on the machine of
 * standin_machine.cpp; what all of them check is in standin_rules.cpp. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>

#include "standin_rules.h"

using namespace standin;

extern "C" {

/* ---- the device ------------------------------------------------------------------------------ */

cudaError_t cudaGetDeviceCount(int *count) {
    call now("cudaGetDeviceCount", NO_CONTEXT);
    const int64_t error = number("STANDIN_CUDA_ABSENT", cudaSuccess);
    if (error != cudaSuccess) return told((int)error);
    *count = state()->n_devices;
    return *count == 0 ? told(cudaErrorNoDevice) : now.outcome(cudaErrorNoDevice);
}

/* 0: there is none. */
cudaError_t cudaDriverGetVersion(int *version) {
    call now("cudaDriverGetVersion", NO_CONTEXT);
    *version = (int)number("STANDIN_CUDA_DRIVER", CUDART_VERSION);
    return now.outcome(cudaErrorInvalidValue);
}

cudaError_t cudaSetDevice(int device) {
    call now("cudaSetDevice", NO_CONTEXT);
    if (device < 0 || device >= state()->n_devices) return told(cudaErrorInvalidDevice);
    set_device(device);
    return now.outcome(cudaErrorInvalidDevice);
}

static void require_device(int device, const char *name) {
    if (device < 0 || device >= state()->n_devices) found("%s of device number %d", name, device);
}

/* "0000:10:00.0" and its end: cuda_runtime_api.h asks for room for 13. */
cudaError_t cudaDeviceGetPCIBusId(char *text, int room, int device) {
    call now("cudaDeviceGetPCIBusId", NO_CONTEXT);
    require_device(device, "cudaDeviceGetPCIBusId");
    if (room < 13) found("cudaDeviceGetPCIBusId into %d bytes", room);
    const int64_t bus = number("STANDIN_CUDA_BUS", 0x10) + device;
    snprintf(text, (size_t)room, "0000:%02x:00.0", (unsigned)bus);
    return now.outcome(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    call now("cudaDeviceGetAttribute", NO_CONTEXT);
    require_device(device, "cudaDeviceGetAttribute");
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
    return now.outcome(cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    call now("cudaMemGetInfo", SAFE_CONTEXT);
    *total = (size_t)state()->memory_bytes;
    *free_bytes = (size_t)n_free();
    const cudaError_t error = now.outcome(cudaErrorInvalidValue);
    state()->fails_once_recording |= error != cudaSuccess;
    return error;
}

/* ---- kernels --------------------------------------------------------------------------------- */

/* What is said of one is what the program does not ask: that it is loaded counts. */
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *kernel) {
    call now("cudaFuncGetAttributes", SAFE_CONTEXT);
    if (!kernel) found("the attributes of no kernel");
    memset(attributes, 0, sizeof *attributes);
    const int64_t error = number("STANDIN_CUDA_NO_KERNELS", cudaSuccess);
    return error != cudaSuccess ? (cudaError_t)told((int)error)
                                : (cudaError_t)now.outcome(cudaErrorInvalidDeviceFunction);
}

/* What is asked for, a launch is held to (check_launch). */
cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int bytes) {
    call now("cudaFuncSetAttribute", CONTEXT);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        found("a kernel's attribute %d", (int)attribute);
    const cudaError_t error = now.outcome(cudaErrorInvalidValue);
    if (error == cudaSuccess) note_smem_bytes((const char *)kernel, bytes);
    return error;
}

/* ---- errors ---------------------------------------------------------------------------------- */

cudaError_t cudaGetLastError(void) {
    return take_error();
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorDevicesUnavailable:
        return "CUDA-capable device(s) is/are busy or unavailable";
    case cudaErrorSystemNotReady:
        return "system not yet initialized";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    case cudaErrorLaunchOutOfResources:
        return "too many resources requested for launch";
    default:
        return "a failure of the stand-in";
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

cudaError_t cudaMalloc(void **out, size_t bytes) {
    call now("cudaMalloc", SAFE_CONTEXT);
    if (bytes == 0) found("cudaMalloc of nothing");
    const cudaError_t error = now.outcome(cudaErrorMemoryAllocation);
    if (error != cudaSuccess) return error;
    if ((int64_t)bytes > n_free()) return told(cudaErrorMemoryAllocation);
    *out = take(bytes);
    return told(*out ? cudaSuccess : cudaErrorMemoryAllocation);
}

/* What gives something back does so also where it tells that something failed before. */
static cudaError_t given_back() {
    return told(is_broken ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaFree(void *memory) {
    call now("cudaFree", SAFE_CONTEXT);
    if (!memory) return cudaSuccess;
    require_idle(
            "cudaFree"); /* which "may" wait for the device, cuda_runtime_api.h says, and need not */
    if (!give_back((char *)memory)) found("cudaFree of what was not allocated");
    return given_back();
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags) {
    call now("cudaHostAlloc", SAFE_CONTEXT);
    if (bytes == 0) found("cudaHostAlloc of nothing");
    if (flags != cudaHostAllocDefault)
        found("cudaHostAlloc with flags %x, which are not played", flags);
    const cudaError_t error = now.outcome(cudaErrorMemoryAllocation);
    if (error != cudaSuccess) return error;
    *out = pin(bytes);
    return told(*out ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *memory) {
    call now("cudaFreeHost", SAFE_CONTEXT);
    if (!memory) return cudaSuccess;
    if (!is_broken && is_in_use((char *)memory)) /* nothing says that it waits for the device */
        found("cudaFreeHost of memory that a copy uses");
    if (!unpin((char *)memory)) found("cudaFreeHost of what was not allocated");
    return given_back();
}

/* ---- copies ---------------------------------------------------------------------------------- */

static void require_memory(const void *at, size_t bytes, bool of_device, const char *what) {
    if (bytes > 0 && !(of_device ? on_device(at, bytes) : is_pinned(at, bytes)))
        found("%s %zu bytes of what is not %s memory", what, bytes,
                of_device ? "device" : "pinned");
}

static bool overlap(const void *a, const void *b, size_t bytes) {
    const uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return x < y + bytes && y < x + bytes;
}

cudaError_t cudaMemcpyAsync(
        void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    call now("cudaMemcpyAsync", CONTEXT);
    require_there(STREAM, stream, "cudaMemcpyAsync");
    require_memory(to, bytes, kind != cudaMemcpyDeviceToHost, "a copy to");
    require_memory(from, bytes, kind != cudaMemcpyHostToDevice, "a copy from");
    if (overlap(to, from, bytes)) found("a copy of %zu bytes between places that overlap", bytes);
    const cudaError_t error = now.outcome(cudaErrorInvalidValue);
    operation one = {"a copy", [=] { memcpy(to, from, bytes); }, NULL, NULL};
    one.places[0] = {(char *)to, bytes, true, kind == cudaMemcpyDeviceToHost};
    one.places[1] = {(char *)(uintptr_t)from, bytes, false, kind == cudaMemcpyHostToDevice};
    state()->n_copies_out += kind == cudaMemcpyDeviceToHost;
    state()->bytes_out += kind == cudaMemcpyDeviceToHost ? (int64_t)bytes : 0;
    if (error == cudaSuccess) queue(stream, one);
    return error;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    call now("cudaMemsetAsync", CONTEXT);
    require_there(STREAM, stream, "cudaMemsetAsync");
    require_memory(memory, bytes, true, "cudaMemset of");
    const cudaError_t error = now.outcome(cudaErrorInvalidValue);
    operation one = {"a memset", [=] { memset(memory, value, bytes); }, NULL, NULL};
    one.places[0] = {(char *)memory, bytes, true, false};
    if (error == cudaSuccess) queue(stream, one);
    return error;
}

} // extern "C"

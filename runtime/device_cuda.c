#include "device_cuda.h"

#include <ctype.h>
#include <cuda_runtime_api.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attn_cuda_why.h"
#include "base/proc_text.h"
#include "base/size.h"

enum { CAPABILITY_MIN = 80, NEWEST = 90 /* that there is machine code for */, ALIGN_BYTES = 256 };

static rt_status check(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return RT_OK;
    (void)cudaGetLastError(); /* it is told here; the next call has its own */
    return rt_fail(
            RT_EDEVICE, "cuda: %s: %s", what, attn_cuda_why((int)error, cudaGetErrorString(error)));
}

/* ---- which device ---------------------------------------------------------------------------- */

static cudaError_t ask(int32_t number, int32_t *capability, size_t *free_bytes, size_t *total) {
    int major = 0;
    int minor = 0;
    cudaError_t error = cudaSetDevice(number);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, number);
    if (error == cudaSuccess) error = cudaMemGetInfo(free_bytes, total);
    *capability = 10 * major + minor;
    return error;
}

int32_t glm_cuda_count(void) {
    int n = 0;
    if (cudaGetDeviceCount(&n) == cudaSuccess) return n;
    (void)cudaGetLastError();
    return 0;
}

/* What may be done about it; "" where CUDA's words say all that there is to say. */
static const char *remedy(cudaError_t error) {
    switch ((int)error) {
    case cudaErrorMemoryAllocation:
        return "; other processes have its memory (nvidia-smi)";
    case cudaErrorDevicesUnavailable:
        return "; another process has the GPU for itself (nvidia-smi -q -d COMPUTE says its mode)";
    case cudaErrorNoDevice:
        return getenv("CUDA_VISIBLE_DEVICES") ? "; CUDA_VISIBLE_DEVICES says which may be seen"
                                              : "";
    case cudaErrorSystemNotReady:
        return "; GPUs on an NVSwitch need nvidia-fabricmanager, of the driver's version, to run";
    case cudaErrorSystemDriverMismatch:
        return "; the driver's library is of another version than its kernel module: restart, or, in a "
               "container, take the host's";
    case cudaErrorUnknown:
        return "; often the kernel module nvidia-uvm is not loaded, or /dev/nvidia* may not be opened";
    default:
        return "";
    }
}

typedef struct cuda_version {
    int major, minor;
} cuda_version;
static cuda_version version_of(int number) {
    return (cuda_version){number / 1000, number % 1000 / 10};
}

/* The newest CUDA that the driver is for; 0.0: there is none. */
static cuda_version driver_version(void) {
    int number = 0;
    if (cudaDriverGetVersion(&number) == cudaSuccess) return version_of(number);
    (void)cudaGetLastError();
    return version_of(0);
}

/* A driver of the toolkit's own major version runs what that has compiled: CUDA compatibility, "minor version
 * compatibility". */
static rt_status fail_driver(void) {
    const cuda_version needed = version_of(CUDART_VERSION);
    const cuda_version is = driver_version();
    if (is.major == 0)
        return rt_fail(RT_EUNSUPPORTED,
                "cuda: no NVIDIA driver is installed; one for CUDA %d.0 or later is needed",
                needed.major);
    return rt_fail(RT_EUNSUPPORTED,
            "cuda: the NVIDIA driver is for CUDA %d.%d, older than CUDA %d.0, which is needed: "
            "update it",
            is.major, is.minor, needed.major);
}

/* What is not free of a GPU that nobody else uses is CUDA's context: 526.8 MiB of an H200 (CUDA 13.0, driver 580.159). More
 * than any takes is others', too: then it is taken to be as large as that one. */
static int64_t context_bytes(int64_t taken_bytes) {
    const int64_t most = 768 * RT_MIB;
    const int64_t usual = 528 * RT_MIB;
    return taken_bytes <= most ? taken_bytes : usual;
}

static rt_status find(int32_t place, glm_cuda_device *out) {
    int n_devices = 0;
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    cudaError_t error = cudaGetDeviceCount(&n_devices);
    if (error == cudaSuccess && n_devices == 0) error = cudaErrorNoDevice;
    out->n_devices = n_devices;
    if (error == cudaSuccess) {
        out->number = place % n_devices;
        error = ask(out->number, &out->capability, &free_bytes, &total_bytes);
    }
    if (error == cudaSuccess)
        error = cudaDeviceGetPCIBusId(out->bus, (int)sizeof out->bus, out->number);
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        if (error == cudaErrorInsufficientDriver) return fail_driver();
        return rt_fail(RT_EUNSUPPORTED, "cuda: no GPU can be used: %s%s",
                attn_cuda_why((int)error, cudaGetErrorString(error)), remedy(error));
    }
    if (out->capability < CAPABILITY_MIN)
        return rt_fail(RT_EUNSUPPORTED,
                "cuda: GPU %" PRId32 " is of compute capability %" PRId32 ".%" PRId32
                "; the kernels need 8.0 (Ampere) or later",
                out->number, out->capability / 10, out->capability % 10);
    out->total_bytes = (int64_t)total_bytes;
    out->memory.free_bytes = (int64_t)free_bytes;
    out->memory.context_bytes = context_bytes(out->total_bytes - out->memory.free_bytes);
    return RT_OK;
}

bool glm_cuda_is_there(void) {
    int n = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);
    if (error == cudaSuccess) return n > 0;
    (void)cudaGetLastError();
    return error != cudaErrorNoDevice && driver_version().major > 0;
}

/* What may be done about kernels that cannot be loaded. */
static rt_status fail_load(cudaError_t error) {
    const cuda_version toolkit = version_of(CUDART_VERSION);
    const cuda_version driver = driver_version();
    const char *why = attn_cuda_why((int)error, cudaGetErrorString(error));
    const char *may_do = "";
    char update[96];
    (void)snprintf(update, sizeof update,
            "; this one is for CUDA %d.%d: update it to one for %d.%d or later", driver.major,
            driver.minor, toolkit.major, toolkit.minor);
    if (error == cudaErrorJitCompilerNotFound)
        may_do = "; NVIDIA_DRIVER_CAPABILITIES=compute,utility brings it into a container";
    if (error == cudaErrorUnsupportedPtxVersion || error == cudaErrorInvalidPtx) may_do = update;
    if (error == cudaErrorJitCompilationDisabled) may_do = "; unset it";
    if (error == cudaErrorNoKernelImageForDevice)
        may_do = "; the program was built for other GPUs: build it here";
    return rt_fail(RT_EUNSUPPORTED, "cuda: the kernels cannot be loaded: %s%s", why, may_do);
}

/* It makes sure that the kernel is loaded: CUDA C++ programming guide, "Lazy loading". */
rt_status glm_cuda_try_kernel(const void *kernel) {
    struct cudaFuncAttributes attributes;
    const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
    if (error == cudaSuccess) return RT_OK;
    (void)cudaGetLastError();
    return fail_load(error);
}

/* A number that Linux has on a GPU's place on the bus; 0: none. */
static double bus_number(const char *bus, const char *what) {
    char path[128];
    char text[RT_PROC_TEXT_BYTES];
    int n = snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/%s", bus, what);
    for (int i = 0; i < n; i++) path[i] = (char)tolower((unsigned char)path[i]);
    return rt_proc_read(path, text) ? strtod(text, NULL) : 0.0;
}

/* 32.0 GT/s and 16 lanes, as Linux has them: bits, 128 of 130 of them data. An idle link is slower, and as wide. */
static double link_bytes_per_s(const char *bus) {
    return bus_number(bus, "max_link_speed") * 1e9 * bus_number(bus, "current_link_width") / 8.0 *
           128.0 / 130.0;
}

rt_status glm_cuda_describe(int32_t place, glm_cuda_chip *out) {
    static const enum cudaDeviceAttr which[] = {cudaDevAttrMultiProcessorCount,
            cudaDevAttrClockRate, cudaDevAttrMemoryClockRate, cudaDevAttrGlobalMemoryBusWidth};
    glm_cuda_device device = {0};
    int is[4];
    RT_TRY(find(place, &device));
    for (int i = 0; i < 4; i++)
        RT_TRY(check(
                cudaDeviceGetAttribute(&is[i], which[i], device.number), "asking what a GPU is"));
    /* kHz; memory moves a bit a line at either edge. */
    *out = (glm_cuda_chip){.capability = device.capability,
            .n_sms = is[0],
            .clock_hz = 1e3 * is[1],
            .memory_bytes_per_s = 2e3 * is[2] * is[3] / 8.0,
            .link_bytes_per_s = link_bytes_per_s(device.bus)};
    return RT_OK;
}

bool glm_cuda_is_usable(int32_t place, char *text, int64_t room, rt_device_memory *memory) {
    glm_cuda_device device = {0};
    char total[RT_SIZE_TEXT];
    char left[RT_SIZE_TEXT];
    char several[32] = "";
    if (find(place, &device) != RT_OK) {
        (void)snprintf(text, (size_t)room, "%s", rt_error_text());
        return false;
    }
    if (memory) *memory = device.memory;
    if (device.n_devices > 1)
        (void)snprintf(several, sizeof several, "%" PRId32 " GPUs, number %" PRId32 ": ",
                device.n_devices, device.number);
    (void)snprintf(text, (size_t)room,
            "%scompute capability %" PRId32 ".%" PRId32 "%s, %s, of which %s are free", several,
            device.capability / 10, device.capability % 10,
            device.capability > NEWEST
                    ? " (its driver compiles Ampere's kernels for it when they are first used)"
                    : "",
            rt_format_bytes(device.total_bytes, total),
            rt_format_bytes(device.memory.free_bytes, left));
    return true;
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
    (void)glm_cuda_finish(device->compute);
    (void)glm_cuda_finish(device->copy_in);
    (void)glm_cuda_finish(device->copy_out);
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
    (void)glm_cuda_finish(device->copy_in);
    (void)glm_cuda_finish(device->copy_out);
    glm_cuda_unpin(memory);
}

void glm_cuda_free(glm_cuda_device *device, const void *memory) {
    if (memory) device->base.free(&device->base, (void *)(uintptr_t)memory);
}

int64_t glm_cuda_free_now(void) {
    size_t free_bytes = 0, total_bytes = 0;
    if (cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess) return (int64_t)free_bytes;
    (void)cudaGetLastError();
    return 0;
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

static rt_status open_streams(glm_cuda_device *device) {
    rt_stream *streams[] = {&device->compute, &device->copy_in, &device->copy_out};
    for (int i = 0; i < 3; i++)
        RT_TRY(check(cudaStreamCreateWithFlags(streams[i], cudaStreamNonBlocking), "a stream"));
    return RT_OK;
}

rt_status glm_cuda_device_open(int32_t place, glm_cuda_device *out) {
    const char *sync = getenv("GLM_SYNC");
    *out = (glm_cuda_device){
            .base = {.alloc = take, .free = give, .pin = pin, .unpin = unpin, .copy = copy_queued},
            .waits_always = sync && strcmp(sync, "1") == 0};
    RT_TRY(find(place, out));
    const rt_status status = open_streams(out);
    if (status != RT_OK) glm_cuda_device_close(out);
    return status;
}

void glm_cuda_device_close(glm_cuda_device *device) {
    if (device->compute) (void)cudaStreamDestroy(device->compute);
    if (device->copy_in) (void)cudaStreamDestroy(device->copy_in);
    if (device->copy_out) (void)cudaStreamDestroy(device->copy_out);
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
    if (error != cudaSuccess) (void)glm_cuda_finish(stream);
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

bool glm_cuda_finish(rt_stream stream) {
    if (cudaStreamSynchronize(stream) == cudaSuccess) return true;
    (void)cudaGetLastError();
    return false;
}

bool glm_cuda_is_broken(rt_stream stream) {
    const cudaError_t error = cudaStreamQuery(stream);
    (void)cudaGetLastError(); /* "not ready" counts as one */
    return error != cudaSuccess && error != cudaErrorNotReady;
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

#include "find_cuda.h"

#include <ctype.h>
#include <cuda_runtime_api.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attn_cuda_why.h"
#include "base/proc_text.h"
#include "base/size.h"

enum { CAPABILITY_MIN = 80, NEWEST = 90 /* that there is machine code for */ };

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
static const int64_t usual_context_bytes = 528 * RT_MIB;

static int64_t context_bytes(int64_t taken_bytes) {
    const int64_t most = 768 * RT_MIB;
    return taken_bytes <= most ? taken_bytes : usual_context_bytes;
}

rt_device_memory glm_cuda_memory_of(int64_t total_bytes) {
    return (rt_device_memory){
            .free_bytes = total_bytes - usual_context_bytes, .context_bytes = usual_context_bytes};
}

rt_status glm_cuda_find(int32_t place, glm_cuda_device *out) {
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

/* What a file says of a GPU's place on the bus. */
static bool read_of_bus(
        const char *folder, const char *bus, const char *what, char text[RT_PROC_TEXT_BYTES]) {
    char path[128];
    int n = snprintf(path, sizeof path, "%s/%s/%s", folder, bus, what);
    for (int i = 0; i < n; i++) path[i] = (char)tolower((unsigned char)path[i]);
    return rt_proc_read(path, text);
}

/* A number that Linux has there; 0: none. */
static double bus_number(const char *bus, const char *what) {
    char text[RT_PROC_TEXT_BYTES];
    return read_of_bus("/sys/bus/pci/devices", bus, what, text) ? strtod(text, NULL) : 0.0;
}

/* As its driver names its model. */
static bool is_geforce(const char *bus) {
    char text[RT_PROC_TEXT_BYTES];
    return read_of_bus("/proc/driver/nvidia/gpus", bus, "information", text) &&
           strstr(text, "GeForce");
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
    cudaError_t error = cudaSuccess;
    int is[4] = {0};
    RT_TRY(glm_cuda_find(place, &device));
    for (int i = 0; i < 4 && error == cudaSuccess; i++)
        error = cudaDeviceGetAttribute(&is[i], which[i], device.number);
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        return rt_fail(RT_EDEVICE, "cuda: asking what a GPU is: %s",
                attn_cuda_why((int)error, cudaGetErrorString(error)));
    }
    /* kHz; memory moves a bit a line at either edge. */
    *out = (glm_cuda_chip){.capability = device.capability,
            .n_sms = is[0],
            .is_geforce = is_geforce(device.bus),
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
    if (glm_cuda_find(place, &device) != RT_OK) {
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

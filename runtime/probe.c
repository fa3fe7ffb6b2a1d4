#include "probe.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "parallel/parallel.h"

/* The few functions of the CUDA driver that are called here; 0 is success. */
typedef struct cuda_driver {
    int (*init)(unsigned flags);
    int (*version)(int *version);
    int (*count)(int *n_devices);
    int (*name)(char *name, int n_bytes, int device);
    int (*memory)(size_t *bytes, int device);
} cuda_driver;

/* POSIX guarantees what ISO C does not: a data pointer holds a function's address. */
static bool find(void *library, const char *symbol, void *function) {
    void *address = dlsym(library, symbol);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

static bool find_cuda(void *library, cuda_driver *cuda) {
    return find(library, "cuInit", &cuda->init) &&
           find(library, "cuDriverGetVersion", &cuda->version) &&
           find(library, "cuDeviceGetCount", &cuda->count) &&
           find(library, "cuDeviceGetName", &cuda->name) &&
           find(library, "cuDeviceTotalMem_v2", &cuda->memory);
}

static bool describe_gpu(const cuda_driver *cuda, char text[GLM_PROBE_BYTES]) {
    const int error = cuda->init(0);
    int version = 0;
    int n_devices = 0;
    if (error != 0) {
        (void)snprintf(text, GLM_PROBE_BYTES, "none: cuInit failed with CUDA error %d", error);
        return false;
    }
    if (cuda->version(&version) != 0 || cuda->count(&n_devices) != 0 || n_devices == 0) {
        (void)snprintf(text, GLM_PROBE_BYTES, "none: the driver is there, but no device");
        return false;
    }
    char name[128] = "unnamed";
    size_t bytes = 0;
    (void)cuda->name(name, sizeof name, 0);
    (void)cuda->memory(&bytes, 0);
    char size[RT_SIZE_TEXT];
    (void)snprintf(text, GLM_PROBE_BYTES, "%d x %s, %s, driver CUDA %d.%d", n_devices, name,
            rt_format_bytes((int64_t)bytes, size), version / 1000, version % 1000 / 10);
    return true;
}

bool glm_probe_gpu(char text[GLM_PROBE_BYTES]) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        (void)snprintf(text, GLM_PROBE_BYTES, "none: libcuda.so.1, the driver, is not installed");
        return false;
    }
    cuda_driver cuda;
    bool is_there = find_cuda(library, &cuda);
    if (is_there)
        is_there = describe_gpu(&cuda, text);
    else
        (void)snprintf(text, GLM_PROBE_BYTES, "none: libcuda.so.1 lacks functions we need");
    (void)dlclose(library);
    return is_there;
}

static bool say(rt_status status, char text[GLM_PROBE_BYTES]) {
    if (status != RT_OK) (void)snprintf(text, GLM_PROBE_BYTES, "none: %s", rt_error_text());
    return status == RT_OK;
}

bool glm_probe_nccl(char text[GLM_PROBE_BYTES]) {
    return say(par_nccl_describe(text, GLM_PROBE_BYTES), text);
}

bool glm_probe_mpi(char text[GLM_PROBE_BYTES]) {
    return say(par_mpi_describe(text, GLM_PROBE_BYTES), text);
}

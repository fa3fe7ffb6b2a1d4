/* cuBLASLt, once loaded, is not unloaded: neither by who looks whether it is there, nor with the last handle.
 *
 * Method: the system is asked whether the library is loaded, which it does not load for that; tests/standin. */
#include <dlfcn.h>

#include "help_check.h"
#include "runtime/linear_cuda.h"

/* By the name that what plays it has. */
static bool is_loaded(void) {
    void *library = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_NOLOAD);
    if (library) (void)dlclose(library);
    return library;
}

int main(void) {
    char text[256];
    glm_cuda_device device;
    glm_cublas *cublas = NULL;
    CHECK(!is_loaded());
    CHECK(glm_cublas_is_there(text, sizeof text));
    CHECK(is_loaded());
    CHECK(glm_cuda_device_open(0, &device) == RT_OK);
    CHECK(glm_cublas_open(&device, &cublas) == RT_OK);
    glm_cublas_close(cublas);
    glm_cuda_device_close(&device);
    CHECK(is_loaded());
    return 0;
}

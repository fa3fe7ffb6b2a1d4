#include "onednn_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* POSIX lets a data pointer hold a function's address. */
static rt_status find(void *library, const char *symbol, void *function) {
    void *address = dlsym(library, symbol);
    memcpy(function, &address, sizeof address);
    return address ? RT_OK : rt_fail(RT_EUNSUPPORTED, "linear: libdnnl.so.2 lacks %s", symbol);
}

#define FIND(name) RT_TRY(find(library, "dnnl_" #name, (void *)&out->name))

static rt_status find_all(void *library, dnnl_library *out) {
    FIND(version);
    FIND(engine_create);
    FIND(engine_destroy);
    FIND(stream_create);
    FIND(stream_destroy);
    FIND(memory_desc_init_by_tag);
    FIND(memory_desc_get_size);
    FIND(matmul_desc_init);
    FIND(primitive_attr_create);
    FIND(primitive_attr_destroy);
    FIND(primitive_attr_set_scratchpad_mode);
    FIND(primitive_desc_create);
    FIND(primitive_desc_destroy);
    FIND(primitive_desc_query);
    FIND(primitive_desc_query_md);
    FIND(primitive_create);
    FIND(primitive_destroy);
    FIND(primitive_execute);
    FIND(memory_create);
    FIND(memory_set_data_handle);
    FIND(memory_destroy);
    return RT_OK;
}

static rt_status check_version(void *library, dnnl_library *out) {
    const dnnl_versions *v = out->version();
    (void)snprintf(out->name, sizeof out->name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    if (v->major != 2 || v->minor < 6)
        return rt_fail(RT_EUNSUPPORTED, "linear: %s; 2.6 or a later 2.x is needed", out->name);
    if (v->cpu_runtime == DNNL_HAS_NO_THREADS) return RT_OK;
    if (v->cpu_runtime == DNNL_HAS_OPENMP)
        return find(library, "omp_set_num_threads", (void *)&out->omp_set_num_threads);
    return rt_fail(RT_EUNSUPPORTED,
            "linear: %s is built for threads of its own (runtime %u); one for OpenMP, as Debian's, "
            "or "
            "without threads is needed",
            out->name, v->cpu_runtime);
}

rt_status dnnl_library_open(dnnl_library *out) {
    *out = (dnnl_library){0};
    void *library = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return rt_fail(RT_EUNSUPPORTED,
                "linear: oneDNN cannot be loaded: %s; install it (Debian 12: libdnnl2)", dlerror());
    RT_TRY(find_all(library, out));
    return check_version(library, out);
}

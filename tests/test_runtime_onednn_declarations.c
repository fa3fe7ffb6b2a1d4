/* What onednn_library.h declares is what <dnnl.h> of 2.x declares.
 *
 * Method: sizes, offsets and numbers, at compile time. */
#include <stddef.h>
#include <stdio.h>

#include "runtime/onednn_library.h"

#if __has_include(<oneapi/dnnl/dnnl.h>)
#include <oneapi/dnnl/dnnl.h>
#endif

#if defined(DNNL_VERSION_MAJOR) && DNNL_VERSION_MAJOR == 2
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
SAME(0, dnnl_success);
SAME(DNNL_HAS_NO_MEMORY, dnnl_out_of_memory);
SAME(DNNL_HAS_NO_KERNEL, dnnl_unimplemented);
SAME(DNNL_IS_CPU, dnnl_cpu);
SAME(DNNL_IS_SCRATCHPAD_OURS, dnnl_scratchpad_mode_user);
SAME(DNNL_IS_IN_ORDER, dnnl_stream_in_order);
SAME(DNNL_IS_BF16, dnnl_bf16);
SAME(DNNL_IS_F32, dnnl_f32);
SAME(DNNL_IS_AB, dnnl_ab);
SAME(DNNL_IS_BA16A64B2A, dnnl_BA16a64b2a);
SAME(DNNL_ASKS_IMPLEMENTATION, dnnl_query_impl_info_str);
SAME(DNNL_ASKS_SCRATCHPAD, dnnl_query_scratchpad_md);
SAME(DNNL_ARGUMENT_SRC, DNNL_ARG_SRC);
SAME(DNNL_ARGUMENT_DST, DNNL_ARG_DST);
SAME(DNNL_ARGUMENT_WEIGHTS, DNNL_ARG_WEIGHTS);
SAME(DNNL_ARGUMENT_SCRATCHPAD, DNNL_ARG_SCRATCHPAD);
SAME(DNNL_HAS_NO_THREADS, DNNL_RUNTIME_SEQ);
SAME(DNNL_HAS_OPENMP, DNNL_RUNTIME_OMP);
SAME(DNNL_DIMS_MAX, DNNL_MAX_NDIMS);
_Static_assert(sizeof(dnnl_shape) >= sizeof(dnnl_memory_desc_t), "a shape");
_Static_assert(sizeof(dnnl_product) >= sizeof(dnnl_matmul_desc_t), "a product");
_Static_assert(_Alignof(dnnl_shape) >= _Alignof(dnnl_memory_desc_t), "a shape");
_Static_assert(_Alignof(dnnl_product) >= _Alignof(dnnl_matmul_desc_t), "a product");
_Static_assert(sizeof(dnnl_argument_at) == sizeof(dnnl_exec_arg_t), "an argument");
_Static_assert(offsetof(dnnl_argument_at, memory) == offsetof(dnnl_exec_arg_t, memory), "memory");
_Static_assert(sizeof(dnnl_versions) == sizeof(dnnl_version_t), "versions");
_Static_assert(
        offsetof(dnnl_versions, cpu_runtime) == offsetof(dnnl_version_t, cpu_runtime), "runtime");
_Static_assert(sizeof(dnnl_dim_t) == sizeof(int64_t), "a dimension");

/* Functions take and give what they are declared with, but for the types above and for const handles. */
#define TAKES(function, ...) \
    _Static_assert(_Generic(&function, __VA_ARGS__ : 1, default : 0), #function)
TAKES(dnnl_engine_create, dnnl_status_t (*)(dnnl_engine_t *, dnnl_engine_kind_t, size_t));
TAKES(dnnl_memory_desc_init_by_tag, dnnl_status_t (*)(dnnl_memory_desc_t *, int, const dnnl_dims_t,
                                            dnnl_data_type_t, dnnl_format_tag_t));
TAKES(dnnl_memory_desc_get_size, size_t (*)(const dnnl_memory_desc_t *));
TAKES(dnnl_primitive_execute,
        dnnl_status_t (*)(const_dnnl_primitive_t, dnnl_stream_t, int, const dnnl_exec_arg_t *));
TAKES(dnnl_memory_create,
        dnnl_status_t (*)(dnnl_memory_t *, const dnnl_memory_desc_t *, dnnl_engine_t, void *));

int main(void) {
    return 0;
}
#else
int main(void) {
    printf("skipped: the headers of oneDNN 2.x are not installed (Debian 12: libdnnl-dev)\n");
    return 77;
}
#endif

/* libdnnl.so.2, opened at run time: the few types and functions that are used, as oneDNN 2.x documents its C
 * API. tests/test_runtime_onednn_declarations.c compares them with <dnnl.h> where that is installed.
 *
 * Source: oneDNN developer guide, "C API"; oneapi/dnnl/dnnl.h and dnnl_types.h of 2.6. */
#ifndef GLM_ONEDNN_LIBRARY_H
#define GLM_ONEDNN_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* dnnl_status_t: 0 is success. */
enum { DNNL_HAS_NO_MEMORY = 1, DNNL_HAS_NO_KERNEL = 3 };
enum { DNNL_IS_CPU = 1, DNNL_IS_SCRATCHPAD_OURS = 1, DNNL_IS_IN_ORDER = 1, DNNL_DIMS_MAX = 12 };

typedef enum dnnl_number { DNNL_IS_BF16 = 2, DNNL_IS_F32 = 3 } dnnl_number;
/* Rows one after another; and [columns / 64][rows / 16][8][64][2], which is [columns / 64][rows / 2][64][2]. */
typedef enum dnnl_layout { DNNL_IS_AB = 3, DNNL_IS_BA16A64B2A = 380 } dnnl_layout;
typedef enum dnnl_question {
    DNNL_ASKS_IMPLEMENTATION = 8, /* const char ** */
    DNNL_ASKS_SCRATCHPAD = 136    /* a shape */
} dnnl_question;
typedef enum dnnl_argument {
    DNNL_ARGUMENT_SRC = 1,
    DNNL_ARGUMENT_DST = 17,
    DNNL_ARGUMENT_WEIGHTS = 33,
    DNNL_ARGUMENT_SCRATCHPAD = 80
} dnnl_argument;
typedef enum dnnl_threads { DNNL_HAS_NO_THREADS = 1, DNNL_HAS_OPENMP = 2 } dnnl_threads;

/* dnnl_memory_desc_t and dnnl_matmul_desc_t, which the library writes and reads; theirs are smaller. */
typedef union dnnl_shape {
    int64_t aligned;
    char bytes[1024];
} dnnl_shape;
typedef union dnnl_product {
    int64_t aligned;
    char bytes[4096];
} dnnl_product;

typedef struct dnnl_engine *dnnl_engine_of;
typedef struct dnnl_stream *dnnl_stream_of;
typedef struct dnnl_memory *dnnl_memory_of;
typedef struct dnnl_primitive *dnnl_primitive_of;
typedef struct dnnl_primitive_desc *dnnl_recipe_of;
typedef struct dnnl_primitive_attr *dnnl_attr_of;

typedef struct dnnl_argument_at {
    int argument;
    dnnl_memory_of memory;
} dnnl_argument_at;

typedef struct dnnl_versions {
    int major;
    int minor;
    int patch;
    const char *hash;
    unsigned cpu_runtime; /* dnnl_threads */
    unsigned gpu_runtime;
} dnnl_versions;

typedef struct dnnl_library {
    const dnnl_versions *(*version)(void);
    int (*engine_create)(dnnl_engine_of *engine, int kind, size_t index);
    int (*engine_destroy)(dnnl_engine_of engine);
    int (*stream_create)(dnnl_stream_of *stream, dnnl_engine_of engine, unsigned flags);
    int (*stream_destroy)(dnnl_stream_of stream);
    int (*memory_desc_init_by_tag)(
            dnnl_shape *out, int n_dims, const int64_t *dims, int type, int layout);
    size_t (*memory_desc_get_size)(const dnnl_shape *shape);
    int (*matmul_desc_init)(dnnl_product *out, const dnnl_shape *src, const dnnl_shape *weights,
            const dnnl_shape *bias, const dnnl_shape *dst);
    int (*primitive_attr_create)(dnnl_attr_of *attr);
    int (*primitive_attr_destroy)(dnnl_attr_of attr);
    int (*primitive_attr_set_scratchpad_mode)(dnnl_attr_of attr, int mode);
    int (*primitive_desc_create)(dnnl_recipe_of *out, const void *operation, dnnl_attr_of attr,
            dnnl_engine_of engine, dnnl_recipe_of hint);
    int (*primitive_desc_destroy)(dnnl_recipe_of recipe);
    int (*primitive_desc_query)(dnnl_recipe_of recipe, int question, int index, void *answer);
    const dnnl_shape *(*primitive_desc_query_md)(dnnl_recipe_of recipe, int question, int index);
    int (*primitive_create)(dnnl_primitive_of *out, dnnl_recipe_of recipe);
    int (*primitive_destroy)(dnnl_primitive_of primitive);
    int (*primitive_execute)(dnnl_primitive_of primitive, dnnl_stream_of stream, int n,
            const dnnl_argument_at *arguments);
    int (*memory_create)(
            dnnl_memory_of *out, const dnnl_shape *shape, dnnl_engine_of engine, void *at);
    int (*memory_set_data_handle)(dnnl_memory_of memory, void *at);
    int (*memory_destroy)(dnnl_memory_of memory);

    /* Of the OpenMP that it is built for: how many threads a team that this thread starts has. NULL where it has
     * no threads of its own. */
    void (*omp_set_num_threads)(int n);
    char name[48]; /* "oneDNN 2.6.3" */
} dnnl_library;

/* Open it and find every function. It stays open: OpenMP keeps what it has for each thread.
 *
 * Errors: RT_EUNSUPPORTED  not installed, another version, without a function, or with threads that we cannot
 *                          keep to one: the message says which */
RT_MUST_CHECK rt_status dnnl_library_open(dnnl_library *out);

#endif

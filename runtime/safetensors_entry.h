/* What a safetensors header says of one tensor. */
#ifndef GLM_SAFETENSORS_ENTRY_H
#define GLM_SAFETENSORS_ENTRY_H

#include "base/float16.h"
#include "safetensors_scan.h"

enum { GLM_ST_RANK_MAX = 8 };

typedef struct glm_st_tensor {
    char *name; /* UTF-8 without control characters; never a path */
    int64_t at; /* where the header names it */
    rt_dtype dtype;
    int32_t rank;
    int64_t shape[GLM_ST_RANK_MAX];
    int64_t offset; /* of its first byte in the file */
    int64_t n_bytes;
} glm_st_tensor;

/* Read the description that is next into a tensor whose name and place in the header are known. Its offset
 * is relative to the first byte of data. RT_EMODEL: not JSON, or ST_ENTRY, ST_FIELD_*, ST_DTYPE*, ST_SHAPE,
 * ST_RANK, ST_OFFSETS*, ST_OVERFLOW, ST_MISALIGNED, ST_SIZE; RT_EIO. */
RT_MUST_CHECK rt_status glm_st_read_entry(glm_st_scan *scan, glm_st_tensor *tensor);

#endif

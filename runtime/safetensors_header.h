/* What a safetensors header says, parsed and checked against the size of its file. */
#ifndef GLM_SAFETENSORS_HEADER_H
#define GLM_SAFETENSORS_HEADER_H

#include "safetensors_entry.h"

enum {
    GLM_ST_HEADER_BYTES_MAX = 100000000,
    GLM_ST_TENSORS_MAX = 65536,
    GLM_ST_NAME_BYTES_MAX = 256,
    GLM_ST_METADATA_BYTES_MAX = 1 << 20
};

typedef struct glm_st_header {
    int64_t data_at; /* the first byte of data */
    int32_t n_tensors;
    glm_st_tensor *tensors; /* ascending by name */
} glm_st_header;

/* Free with glm_st_header_free(), also after a failure. */
RT_MUST_CHECK rt_status glm_st_read_header(const glm_st_source *source, glm_st_header *out);
void glm_st_header_free(glm_st_header *header);

#endif

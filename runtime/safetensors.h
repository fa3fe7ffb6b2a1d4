/* One safetensors file, read strictly.
 *
 *   byte 0        N, 8 bytes, little-endian
 *   byte 8        N bytes of JSON: name -> {dtype, shape, data_offsets [begin, end)}, and
 *                 "__metadata__", an object of strings; spaces may follow
 *   byte 8 + N    the data: every byte belongs to exactly one tensor, up to the end of the file
 *
 * Stricter than the format's own reader where that one is soft: the limits below, no name twice
 * (after unescaping), no control characters in names, no unknown fields, only spaces as padding.
 * Every refusal reads "safetensors: PATH: CODE at byte N: why"; the codes:
 *
 *   the file     ST_SHORT ST_LFS_POINTER ST_NOT_REGULAR IO_CHANGED
 *   the length   ST_HDR_EMPTY ST_HDR_TOO_BIG ST_HDR_PAST_EOF
 *   the JSON     ST_NOT_OBJECT ST_UTF8 ST_JSON ST_JSON_EOF ST_JSON_DEPTH ST_TRAILING
 *   an entry     ST_ENTRY ST_NAME ST_DUP_NAME ST_FIELD_MISSING ST_FIELD_DUP ST_FIELD_UNKNOWN
 *   its dtype    ST_DTYPE ST_DTYPE_UNSUPPORTED (legal, but not BF16, F16 or F32)
 *   its shape    ST_SHAPE ST_RANK ST_INT ST_OVERFLOW ST_MISALIGNED
 *   its place    ST_OFFSETS ST_OFFSETS_ORDER ST_SIZE
 *   metadata     ST_META_TYPE ST_META_BIG
 *   the layout   ST_TENSOR_COUNT ST_HOLE ST_OVERLAP ST_DATA_SHORT ST_DATA_EXTRA
 *
 * Values are not looked at. Data need not be aligned: reading copies.
 *
 * Source: safetensors README and reference reader, 2026-05 */
#ifndef GLM_SAFETENSORS_H
#define GLM_SAFETENSORS_H

#include <sys/stat.h>

#include "base/float16.h"
#include "safetensors_header.h"
#include "safetensors_scan.h"

typedef struct glm_safetensors {
    char *path;
    glm_st_source source;
    struct stat opened; /* what the file was when it was opened */
    glm_st_header header;
} glm_safetensors;

/* Read and check everything but the data. Memory and bytes read are bounded by what the header
 * proves to hold, whatever it declares.
 *
 * Errors: RT_EIO     it cannot be opened or read
 *         RT_EMODEL  a code of the list above
 *         RT_ENOMEM */
RT_MUST_CHECK rt_status glm_st_open(const char *path, glm_safetensors **out);

/* The same from memory, which must outlive it; `path` is for messages. */
RT_MUST_CHECK rt_status glm_st_open_bytes(
        const char *path, const void *bytes, int64_t n_bytes, glm_safetensors **out);

/* Accepts NULL. */
void glm_st_close(glm_safetensors *file);

/* n bytes at an offset of the file. Safe to call from several threads at once; never a SIGBUS.
 *
 * Errors: RT_EIO
 *         RT_EMODEL  IO_CHANGED: the file has been written, cut, replaced or removed since opening;
 *                    `out` is unspecified */
RT_MUST_CHECK rt_status glm_st_read(
        const glm_safetensors *file, void *out, int64_t n_bytes, int64_t offset);

#endif

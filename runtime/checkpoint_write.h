/* Writing safetensors files, tensor after tensor, in constant memory.
 *
 * The header is written first with every offset, so all names and shapes are given at the start;
 * the bytes follow in that order. The file has a temporary name until it is whole, synced and
 * renamed: a killed run leaves nothing that looks like a model. */
#ifndef GLM_CHECKPOINT_WRITE_H
#define GLM_CHECKPOINT_WRITE_H

#include "base/float16.h"
#include "base/status.h"

enum { GLM_SPEC_NAME_BYTES = 128 };

/* n_cols 0: a vector of n_rows. */
typedef struct glm_tensor_spec {
    char name[GLM_SPEC_NAME_BYTES];
    rt_dtype dtype;
    int64_t n_rows;
    int64_t n_cols;
} glm_tensor_spec;

/* Of its data. */
int64_t glm_tensor_spec_bytes(const glm_tensor_spec *spec);

/* Does the disk of `path` (something that exists) have room for n_bytes more? RT_EIO: it has not;
 * the message names `what`, the bytes needed and the bytes free. */
RT_MUST_CHECK rt_status glm_checkpoint_check_room(
        const char *path, const char *what, int64_t n_bytes);

typedef struct glm_checkpoint_writer glm_checkpoint_writer;

/* Start PATH with these tensors. Errors: RT_EIO, also when the disk has no room for it all (the
 * message says needed and free bytes); RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_checkpoint_writer_open(const char *path, const glm_tensor_spec *specs,
        int64_t n_specs, glm_checkpoint_writer **out);

/* The next bytes of the data, any number at a time. RT_EIO, as above when the disk became full. */
RT_MUST_CHECK rt_status glm_checkpoint_writer_append(
        glm_checkpoint_writer *writer, const void *bytes, int64_t n_bytes);

/* Sync and give the file its name; every byte must have been appended. Frees the writer, also on
 * failure. */
RT_MUST_CHECK rt_status glm_checkpoint_writer_finish(glm_checkpoint_writer *writer);

/* Drop the unfinished file. Accepts NULL. */
void glm_checkpoint_writer_abort(glm_checkpoint_writer *writer);

#endif

#include "safetensors.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

/* `at`: the byte that was just read. */
static rt_status check_unchanged(const glm_safetensors *file, int64_t at) {
    if (file->source.fd < 0) return RT_OK;
    const rt_status status = rt_file_check_unchanged(file->source.fd, file->path, &file->opened);
    if (status == RT_OK) return RT_OK;
    return glm_st_fail(&file->source, "IO_CHANGED", at, "%s", rt_error_text());
}

rt_status glm_st_read(const glm_safetensors *file, void *out, int64_t n_bytes, int64_t offset) {
    const rt_status status = glm_st_source_read(&file->source, out, n_bytes, offset);
    const rt_status unchanged =
            status == RT_OK || status == RT_EIO ? check_unchanged(file, offset) : RT_OK;
    return unchanged == RT_OK ? status : unchanged;
}

/* ---- opening --------------------------------------------------------------------------------- */

static rt_status open_file(glm_safetensors *file) {
    /* O_NONBLOCK: opening a FIFO must not hang; it is refused right after. */
    file->source.fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->source.fd < 0)
        return rt_fail_errno(RT_EIO, "safetensors: cannot open %s", file->path);
    if (fstat(file->source.fd, &file->opened) != 0)
        return rt_fail_errno(RT_EIO, "safetensors: cannot stat %s", file->path);
    file->source.n_bytes = file->opened.st_size;
    if (S_ISREG(file->opened.st_mode)) return RT_OK;
    return glm_st_fail(&file->source, "ST_NOT_REGULAR", 0, "this is no regular file");
}

/* A file in the middle of being written is that, whatever else it seems to be. */
static rt_status read_header(glm_safetensors *file) {
    const rt_status status = glm_st_read_header(&file->source, &file->header);
    if (status != RT_ENOMEM) RT_TRY(check_unchanged(file, 0));
    return status;
}

static rt_status create(const char *path, glm_safetensors **out) {
    glm_safetensors *file = NULL;
    RT_TRY(rt_calloc(1, sizeof *file, path, &file));
    file->source.fd = -1;
    file->path = strdup(path);
    file->source.path = file->path;
    if (file->path) {
        *out = file;
        return RT_OK;
    }
    glm_st_close(file);
    return rt_fail(RT_ENOMEM, "safetensors: no memory for the path %s", path);
}

rt_status glm_st_open(const char *path, glm_safetensors **out) {
    glm_safetensors *file = NULL;
    RT_TRY(create(path, &file));
    rt_status status = open_file(file);
    if (status == RT_OK) status = read_header(file);
    if (status == RT_OK)
        *out = file;
    else
        glm_st_close(file);
    return status;
}

rt_status glm_st_open_bytes(
        const char *path, const void *bytes, int64_t n_bytes, glm_safetensors **out) {
    glm_safetensors *file = NULL;
    RT_TRY(create(path, &file));
    file->source.bytes = bytes;
    file->source.n_bytes = n_bytes;
    const rt_status status = read_header(file);
    if (status == RT_OK)
        *out = file;
    else
        glm_st_close(file);
    return status;
}

void glm_st_close(glm_safetensors *file) {
    if (!file) return;
    if (file->source.fd >= 0) (void)close(file->source.fd);
    glm_st_header_free(&file->header);
    free(file->path);
    free(file);
}

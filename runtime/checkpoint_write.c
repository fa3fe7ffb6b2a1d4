#include "checkpoint_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/memstream.h"
#include "base/new_file.h"
#include "base/size.h"

enum { HEADER_ALIGNMENT = 8 };

struct glm_checkpoint_writer {
    char *path;
    char *folder;
    rt_new_file file;
    int64_t n_appended;
    int64_t n_data;
};

int64_t glm_tensor_spec_bytes(const glm_tensor_spec *spec) {
    return spec->n_rows * rt_max64(spec->n_cols, 1) * rt_dtype_bytes(spec->dtype);
}

static const char *dtype_word(rt_dtype dtype) {
    return dtype == RT_BF16 ? "BF16" : dtype == RT_F16 ? "F16" : "F32";
}

static void print_entry(FILE *header, const glm_tensor_spec *spec, int64_t begin) {
    (void)fprintf(header, "\"%s\":{\"dtype\":\"%s\",\"shape\":[%" PRId64, spec->name,
            dtype_word(spec->dtype), spec->n_rows);
    if (spec->n_cols) (void)fprintf(header, ",%" PRId64, spec->n_cols);
    (void)fprintf(header, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", begin,
            begin + glm_tensor_spec_bytes(spec));
}

/* The JSON header padded with spaces, its length in 8 bytes before it. */
static rt_status make_header(
        const glm_tensor_spec *specs, int64_t n_specs, char **bytes, size_t *n_bytes) {
    FILE *header = rt_memstream_open(bytes, n_bytes);
    if (!header) return rt_fail_errno(RT_ENOMEM, "checkpoint: no memory for a header");
    const char length_place[8] = {0};
    (void)fwrite(length_place, 1, sizeof length_place, header);
    (void)fputs("{\"__metadata__\":{\"format\":\"pt\"}", header);
    int64_t begin = 0;
    for (int64_t i = 0; i < n_specs; i++) {
        (void)fputc(',', header);
        print_entry(header, &specs[i], begin);
        begin += glm_tensor_spec_bytes(&specs[i]);
    }
    (void)fputc('}', header);
    (void)fflush(header); /* *n_bytes is right then */
    for (size_t n = *n_bytes; n % HEADER_ALIGNMENT != 0; n++) (void)fputc(' ', header);
    if (!rt_memstream_close(header, bytes))
        return rt_fail(RT_ENOMEM, "checkpoint: no memory for a header");
    const uint64_t length = *n_bytes - sizeof length_place;
    for (int i = 0; i < 8; i++) (*bytes)[i] = (char)(length >> (8 * i) & 0xff);
    return RT_OK;
}

rt_status glm_checkpoint_check_room(const char *path, const char *what, int64_t n_bytes) {
    struct statvfs disk;
    if (statvfs(path, &disk) != 0) return RT_OK; /* the write itself will tell */
    const int64_t free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    if (n_bytes <= free_bytes) return RT_OK;
    char needed[RT_SIZE_TEXT];
    char left[RT_SIZE_TEXT];
    return rt_fail(RT_EIO,
            "checkpoint: %s needs %s (%" PRId64 " bytes) and its disk has %s free (%" PRId64
            " bytes)",
            what, rt_format_bytes(n_bytes, needed), n_bytes, rt_format_bytes(free_bytes, left),
            free_bytes);
}

static rt_status start_file(
        glm_checkpoint_writer *writer, const glm_tensor_spec *specs, int64_t n_specs) {
    RT_TRY(rt_new_file_open(writer->path, &writer->file));
    char *header = NULL;
    size_t n_header = 0;
    RT_TRY(make_header(specs, n_specs, &header, &n_header));
    rt_status status = glm_checkpoint_check_room(
            writer->folder, writer->path, (int64_t)n_header + writer->n_data);
    if (status == RT_OK)
        status = rt_file_write(writer->file.fd, writer->file.temporary, header, (int64_t)n_header);
    free(header);
    return status;
}

rt_status glm_checkpoint_writer_open(const char *path, const glm_tensor_spec *specs,
        int64_t n_specs, glm_checkpoint_writer **out) {
    glm_checkpoint_writer *writer = NULL;
    RT_TRY(rt_calloc(1, sizeof *writer, "a checkpoint writer", &writer));
    writer->file.fd = -1;
    for (int64_t i = 0; i < n_specs; i++) writer->n_data += glm_tensor_spec_bytes(&specs[i]);
    writer->path = strdup(path);
    rt_status status = rt_path_folder(path, &writer->folder);
    if (!writer->path) status = rt_fail(RT_ENOMEM, "checkpoint: no memory for the path %s", path);
    if (status == RT_OK) status = start_file(writer, specs, n_specs);
    if (status != RT_OK) {
        glm_checkpoint_writer_abort(writer);
        return status;
    }
    *out = writer;
    return RT_OK;
}

rt_status glm_checkpoint_writer_append(
        glm_checkpoint_writer *writer, const void *bytes, int64_t n_bytes) {
    rt_assert(writer->n_appended + n_bytes <= writer->n_data);
    const rt_status status = rt_file_write(writer->file.fd, writer->file.temporary, bytes, n_bytes);
    if (status != RT_OK) {
        /* Somebody else may have taken the room since: then say what is missing. */
        RT_TRY(glm_checkpoint_check_room(
                writer->folder, writer->path, writer->n_data - writer->n_appended));
        return status;
    }
    writer->n_appended += n_bytes;
    return RT_OK;
}

rt_status glm_checkpoint_writer_finish(glm_checkpoint_writer *writer) {
    rt_assert(writer->n_appended == writer->n_data);
    const rt_status status = rt_new_file_finish(&writer->file, writer->path);
    glm_checkpoint_writer_abort(writer); /* after the rename nothing is left to go */
    return status;
}

void glm_checkpoint_writer_abort(glm_checkpoint_writer *writer) {
    if (!writer) return;
    rt_new_file_close(&writer->file);
    free(writer->folder);
    free(writer->path);
    free(writer);
}

#include "help_npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"

enum { MAGIC_BYTES = 10, HEADER_MAX = 1024 };

static void refuse(const char *path, const char *why) {
    printf("FAIL %s: %s\n", path, why);
    exit(1);
}

float *help_npy_read(const char *path, int64_t *n_rows, int64_t *n_cols) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    if (rt_file_read(path, (int64_t)1 << 30, &bytes, &n_bytes) != RT_OK)
        refuse(path, rt_error_text());
    if (n_bytes < MAGIC_BYTES || memcmp(bytes, "\x93NUMPY\x01\x00", 8) != 0)
        refuse(path, "not an .npy file of format 1.0");
    const int64_t header = (unsigned char)bytes[8] + 256 * (unsigned char)bytes[9];
    char text[HEADER_MAX + 1] = "";
    if (header > HEADER_MAX || MAGIC_BYTES + header > n_bytes) refuse(path, "header too long");
    memcpy(text, bytes + MAGIC_BYTES, (size_t)header);
    const char *shape = strstr(text, "'shape': (");
    if (!strstr(text, "'<f4'") || !strstr(text, "'fortran_order': False") || !shape ||
            sscanf(shape, "'shape': (%" SCNd64 ", %" SCNd64 ")", n_rows, n_cols) != 2)
        refuse(path, "not a float32 matrix in C order");
    const int64_t n_data = *n_rows * *n_cols * (int64_t)sizeof(float);
    if (n_bytes != MAGIC_BYTES + header + n_data) refuse(path, "wrong size");
    float *values = malloc((size_t)n_data);
    if (!values) refuse(path, "no memory");
    memcpy(values, bytes + MAGIC_BYTES + header, (size_t)n_data);
    free(bytes);
    return values;
}

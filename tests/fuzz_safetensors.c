/* Fuzz target: a safetensors header, and the data behind it as a length. Whatever the bytes, the
 * reader refuses them with a code and a byte that is in the file, or the tensors it reports tile the
 * data exactly, each with its own name and the bytes that its shape says.
 *
 * Input: byte 0, 0 for a file as it is. 1: byte 1 is how many bytes of data, the rest a header, to
 * which the right length is put first, so that mutations reach the parser. */
#include "help_fuzz.h"

#include <inttypes.h>
#include <string.h>

#include "help_safetensors.h"
#include "runtime/base/size.h"

static int by_offset(const void *a, const void *b) {
    const glm_st_tensor *x = a;
    const glm_st_tensor *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static void check_tensor(const glm_st_tensor *tensor) {
    int64_t n = rt_dtype_bytes(tensor->dtype);
    bool fits = true;
    bool is_empty = false;
    FUZZ_REQUIRE(tensor->rank >= 0 && tensor->rank <= GLM_ST_RANK_MAX);
    for (int32_t i = 0; i < tensor->rank; i++) {
        FUZZ_REQUIRE(tensor->shape[i] >= 0);
        is_empty = is_empty || tensor->shape[i] == 0;
        fits = fits && rt_checked_mul(n, tensor->shape[i], &n);
    }
    FUZZ_REQUIRE(is_empty ? tensor->n_bytes == 0 : fits && n == tensor->n_bytes);
    FUZZ_REQUIRE(tensor->name[0] != '\0' && strlen(tensor->name) <= GLM_ST_NAME_BYTES_MAX);
    for (const char *at = tensor->name; *at; at++)
        FUZZ_REQUIRE((uint8_t)*at >= 0x20 && *at != 0x7f);
}

static void check_tiles(glm_safetensors *file, int64_t n_bytes) {
    glm_st_header *header = &file->header;
    int64_t at = header->data_at;
    for (int32_t i = 0; i < header->n_tensors; i++) {
        const glm_st_tensor *tensor = &header->tensors[i];
        check_tensor(tensor);
        FUZZ_REQUIRE(i == 0 || strcmp(tensor[-1].name, tensor->name) < 0);
    }
    if (header->n_tensors > 0)
        qsort(header->tensors, (size_t)header->n_tensors, sizeof *header->tensors, by_offset);
    for (int32_t i = 0; i < header->n_tensors; i++) {
        FUZZ_REQUIRE(header->tensors[i].offset == at);
        at += header->tensors[i].n_bytes;
    }
    FUZZ_REQUIRE(at == n_bytes);
}

static void check_refusal(int64_t n_bytes) {
    const char *at = strstr(rt_error_text(), " at byte ");
    FUZZ_REQUIRE(at && strncmp(rt_error_text(), "safetensors: input: ", 20) == 0);
    const int64_t place = strtoll(at + 9, NULL, 10);
    FUZZ_REQUIRE(place >= 0);
    /* An overlap or a hole is at a place of the data that may not be there. */
    FUZZ_REQUIRE(place <= n_bytes || strstr(rt_error_text(), ": ST_OVERLAP at ") ||
                 strstr(rt_error_text(), ": ST_HOLE at "));
}

static void read_file(const uint8_t *bytes, int64_t n_bytes) {
    glm_safetensors *file = NULL;
    const rt_status status = glm_st_open_bytes("input", bytes, n_bytes, &file);
    FUZZ_REQUIRE(status == RT_OK || status == RT_EMODEL);
    if (status == RT_OK)
        check_tiles(file, n_bytes);
    else
        check_refusal(n_bytes);
    glm_st_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 2 || n_bytes > FUZZ_INPUT_MAX - 512) return 0;
    if (data[0] == 0) {
        read_file(fuzz_at_the_end(data + 1, n_bytes - 1), (int64_t)n_bytes - 1);
        return 0;
    }
    sth_file file = {0};
    sth_fill(&file, 0, 8);
    sth_put(&file, data + 2, (int64_t)n_bytes - 2);
    sth_set_length(&file, n_bytes - 2);
    sth_fill(&file, 0, data[1]);
    read_file(fuzz_at_the_end(file.bytes, (size_t)file.n), file.n);
    free(file.bytes);
    return 0;
}

/* Every small case; those with a right length also as header and data. */
void fuzz_add_seeds(fuzz_corpus *corpus) {
    for (int64_t i = 0; i < sth_n_cases(); i++) {
        sth_case one;
        sth_make_case(i, true, &one);
        uint64_t length = 0;
        if (one.file.n >= 8) memcpy(&length, one.file.bytes, 8);
        const int64_t n_data = one.file.n - 8 - (int64_t)length;
        if (!one.is_large && one.file.n >= 8 && length < 4096 && n_data >= 0 && n_data < 256) {
            sth_file input = {0};
            const uint8_t head[] = {1, (uint8_t)n_data};
            sth_put(&input, head, 2);
            sth_put(&input, one.file.bytes + 8, (int64_t)length);
            fuzz_add(corpus, input.bytes, (size_t)input.n);
            free(input.bytes);
        }
        if (!one.is_large) {
            sth_file input = {0};
            sth_fill(&input, 0, 1);
            sth_put(&input, one.file.bytes, one.file.n);
            fuzz_add(corpus, input.bytes, (size_t)input.n);
            free(input.bytes);
        }
        free(one.file.bytes);
    }
}

/* Mostly with a right length. */
void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    if (n_bytes > 0 && bytes[0] > 1) bytes[0] = 1;
}

/* The order of checks: the length, then the JSON front to back with every entry checked as it is
 * complete, then names against each other, then places against each other and the file. */
#include "safetensors_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "json_file.h"

/* A test builds this file with one check missing, to see that its fuzz target notices. */
#ifndef GLM_MUTANT_OVERLAP
#define GLM_MUTANT_OVERLAP 0
#endif

static const int64_t length_bytes = 8;

typedef struct parser {
    glm_st_scan scan;
    glm_st_header *out;
    int64_t capacity;
    bool has_metadata;
} parser;

#define FAIL(parser, ...) glm_st_fail((parser)->scan.source, __VA_ARGS__)

/* ---- the length ------------------------------------------------------------------------------ */

/* What people mistake for safetensors, by its first bytes; "" for what is not recognised. */
static const char *guess(const uint8_t first[8]) {
    static const struct {
        const char *magic;
        size_t n_bytes;
        const char *hint;
    } kinds[] = {
            {"GGUF", 4, "; not a safetensors file: this looks like GGUF"},
            {"PK\x03\x04", 4, "; not a safetensors file: this looks like a zip archive or .pt"},
            {"\x80\x02", 2, "; not a safetensors file: this looks like a Python pickle"},
            {"\x80\x04", 2, "; not a safetensors file: this looks like a Python pickle"},
            {"\x89PNG", 4, "; not a safetensors file: this looks like a PNG picture"},
            {"\x7f"
             "ELF",
                    4, "; not a safetensors file: this looks like a program"},
            {"<", 1, "; not a safetensors file: this looks like a web page"},
            {"{", 1, "; not a safetensors file: this looks like bare JSON"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (memcmp(first, kinds[i].magic, kinds[i].n_bytes) == 0) return kinds[i].hint;
    return "";
}

static rt_status refuse_lfs_pointer(const glm_st_source *source) {
    static const char pointer[] = "version https://git-lfs";
    char text[sizeof pointer - 1];
    if (source->n_bytes < (int64_t)sizeof text) return RT_OK;
    RT_TRY(glm_st_source_read(source, text, sizeof text, 0));
    if (memcmp(text, pointer, sizeof text) != 0) return RT_OK;
    return glm_st_fail(source, "ST_LFS_POINTER", 0,
            "this is a Git LFS pointer, not the weights; `git lfs pull` fetches them");
}

static rt_status read_length(const glm_st_source *source, int64_t *length) {
    uint8_t bytes[8];
    uint64_t n = 0;
    if (source->n_bytes < length_bytes)
        return glm_st_fail(source, "ST_SHORT", source->n_bytes,
                "the file ends inside the 8 bytes of the header's length");
    RT_TRY(refuse_lfs_pointer(source));
    RT_TRY(glm_st_source_read(source, bytes, length_bytes, 0));
    for (int i = 7; i >= 0; i--) n = n << 8 | bytes[i];
    if (n == 0) return glm_st_fail(source, "ST_HDR_EMPTY", 0, "a header of 0 bytes");
    if (n > GLM_ST_HEADER_BYTES_MAX)
        return glm_st_fail(source, "ST_HDR_TOO_BIG", 0,
                "a header of %" PRIu64 " bytes, at most %d are read%s", n, GLM_ST_HEADER_BYTES_MAX,
                guess(bytes));
    if ((int64_t)n > source->n_bytes - length_bytes)
        return glm_st_fail(source, "ST_HDR_PAST_EOF", 0,
                "a header of %" PRIu64 " bytes in a file of %" PRId64, n, source->n_bytes);
    *length = (int64_t)n;
    return RT_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* The list takes the name over, also on failure. */
static rt_status add_tensor(parser *parse, glm_st_tensor **added, const char *name, int64_t at) {
    RT_TRY(rt_make_room(&parse->out->tensors, sizeof *parse->out->tensors, parse->out->n_tensors,
            &parse->capacity, "tensors of a checkpoint"));
    char *copy = strdup(name);
    if (!copy)
        return rt_fail(
                RT_ENOMEM, "safetensors: %s: no memory for a name", parse->scan.source->path);
    *added = &parse->out->tensors[parse->out->n_tensors++];
    **added = (glm_st_tensor){.name = copy, .at = at};
    return RT_OK;
}

static rt_status read_entry(parser *parse, const char *name, int64_t at) {
    if (parse->out->n_tensors == GLM_ST_TENSORS_MAX)
        return FAIL(parse, "ST_TENSOR_COUNT", at, "more than %d tensors", GLM_ST_TENSORS_MAX);
    glm_st_tensor *tensor = NULL;
    RT_TRY(add_tensor(parse, &tensor, name, at));
    return glm_st_read_entry(&parse->scan, tensor);
}

/* ---- metadata -------------------------------------------------------------------------------- */

/* The object in bytes [at, end) is known to be well formed: only a key that comes twice is left to
 * find, and jansson compares keys unescaped. */
static rt_status check_metadata_keys(parser *parse, int64_t at, int64_t end) {
    void *text = NULL;
    RT_TRY(rt_malloc(end - at, "safetensors metadata", &text));
    rt_status status = glm_st_source_read(parse->scan.source, text, end - at, at);
    json_error_t error;
    json_t *metadata = NULL;
    bool lacks_memory = false;
    if (status == RT_OK) metadata = glm_json_parse(text, end - at, &error, &lacks_memory);
    free(text);
    if (status != RT_OK) return status;
    if (lacks_memory) return rt_fail(RT_ENOMEM, "safetensors: no memory for metadata");
    if (!metadata)
        return FAIL(parse, "ST_DUP_NAME", at + error.position, "metadata: %s", error.text);
    json_decref(metadata);
    return RT_OK;
}

static rt_status read_metadata_member(parser *parse) {
    glm_st_string string = {.bytes_max = GLM_ST_METADATA_BYTES_MAX,
            .bad_code = "ST_JSON",
            .long_code = "ST_META_BIG"};
    RT_TRY(glm_st_read_string(&parse->scan, &string));
    RT_TRY(glm_st_expect(&parse->scan, ':', "ST_JSON"));
    (void)glm_st_token_at(&parse->scan);
    if (glm_st_peek(&parse->scan) != '"')
        return glm_st_refuse_value(&parse->scan, "ST_META_TYPE", "a string");
    return glm_st_read_string(&parse->scan, &string);
}

static rt_status read_metadata(parser *parse, int64_t name_at) {
    if (parse->has_metadata)
        return FAIL(parse, "ST_DUP_NAME", name_at, "a second \"__metadata__\"");
    parse->has_metadata = true;
    const int64_t at = glm_st_token_at(&parse->scan);
    bool is_over = false;
    RT_TRY(glm_st_open_bracket(&parse->scan, '{', "ST_META_TYPE", "an object of strings"));
    for (bool is_first = true;; is_first = false) {
        RT_TRY(glm_st_next_member(&parse->scan, is_first, &is_over));
        if (is_over) break;
        RT_TRY(read_metadata_member(parse));
        if (parse->scan.at - at > GLM_ST_METADATA_BYTES_MAX)
            return FAIL(parse, "ST_META_BIG", parse->scan.at, "metadata of more than %d bytes",
                    GLM_ST_METADATA_BYTES_MAX);
    }
    return check_metadata_keys(parse, at, parse->scan.at);
}

/* ---- the object ------------------------------------------------------------------------------ */

static rt_status read_member(parser *parse) {
    char text[GLM_ST_NAME_BYTES_MAX + 1];
    glm_st_string name = {.text = text,
            .bytes_max = GLM_ST_NAME_BYTES_MAX,
            .bad_code = "ST_NAME",
            .long_code = "ST_NAME",
            .is_name = true};
    const int64_t at = glm_st_token_at(&parse->scan);
    RT_TRY(glm_st_read_string(&parse->scan, &name));
    if (name.n_bytes == 0) return FAIL(parse, "ST_NAME", at, "an empty name");
    RT_TRY(glm_st_expect(&parse->scan, ':', "ST_JSON"));
    if (strcmp(text, "__metadata__") == 0) return read_metadata(parse, at);
    return read_entry(parse, text, at);
}

static rt_status read_padding(parser *parse) {
    glm_st_scan *scan = &parse->scan;
    while (glm_st_peek(scan) == ' ') scan->at++;
    if (scan->failed != RT_OK) return scan->failed;
    if (scan->at == scan->end) return RT_OK;
    return FAIL(parse, "ST_TRAILING", scan->at,
            "byte 0x%02x behind the header's object, where only spaces may be",
            (unsigned)glm_st_peek(scan));
}

static rt_status read_object(parser *parse) {
    glm_st_scan *scan = &parse->scan;
    bool is_over = false;
    const int first = glm_st_peek(scan);
    if (scan->failed != RT_OK) return scan->failed;
    if (first != '{')
        return FAIL(parse, "ST_NOT_OBJECT", scan->at,
                "byte 0x%02x where a header begins with '{': not a safetensors file",
                (unsigned)first);
    scan->at++;
    for (bool is_first = true;; is_first = false) {
        RT_TRY(glm_st_next_member(scan, is_first, &is_over));
        if (is_over) break;
        RT_TRY(read_member(parse));
    }
    return read_padding(parse);
}

/* ---- tensors against each other -------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    const glm_st_tensor *x = a;
    const glm_st_tensor *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b) {
    const glm_st_tensor *x = a;
    const glm_st_tensor *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static rt_status check_names(const glm_st_source *source, const glm_st_header *header) {
    for (int32_t i = 1; i < header->n_tensors; i++)
        if (strcmp(header->tensors[i - 1].name, header->tensors[i].name) == 0)
            return glm_st_fail(source, "ST_DUP_NAME", header->tensors[i].at,
                    "a second tensor \"%s\"", header->tensors[i].name);
    return RT_OK;
}

static rt_status check_places(const glm_st_source *source, const glm_st_header *header) {
    int64_t end = 0;
    for (int32_t i = 0; i < header->n_tensors; i++) {
        const glm_st_tensor *tensor = &header->tensors[i];
        if (tensor->offset > end)
            return glm_st_fail(source, "ST_HOLE", header->data_at + end,
                    "%" PRId64 " bytes before tensor \"%s\" belong to none", tensor->offset - end,
                    tensor->name);
        if (tensor->offset < end && !GLM_MUTANT_OVERLAP)
            return glm_st_fail(source, "ST_OVERLAP", header->data_at + tensor->offset,
                    "tensor \"%s\" begins inside the one before it", tensor->name);
        end += tensor->n_bytes;
    }
    const int64_t data_bytes = source->n_bytes - header->data_at;
    if (end > data_bytes)
        return glm_st_fail(source, "ST_DATA_SHORT", source->n_bytes,
                "the file ends here, %" PRId64 " bytes of data are missing", end - data_bytes);
    if (end < data_bytes)
        return glm_st_fail(source, "ST_DATA_EXTRA", header->data_at + end,
                "%" PRId64 " bytes behind the last tensor", data_bytes - end);
    return RT_OK;
}

static void sort(glm_st_header *header, int (*order)(const void *, const void *)) {
    if (header->n_tensors > 1)
        qsort(header->tensors, (size_t)header->n_tensors, sizeof *header->tensors, order);
}

static rt_status check_layout(const glm_st_source *source, glm_st_header *header) {
    sort(header, by_name);
    RT_TRY(check_names(source, header));
    sort(header, by_place);
    RT_TRY(check_places(source, header));
    for (int32_t i = 0; i < header->n_tensors; i++) header->tensors[i].offset += header->data_at;
    sort(header, by_name);
    return RT_OK;
}

rt_status glm_st_read_header(const glm_st_source *source, glm_st_header *out) {
    int64_t length = 0;
    *out = (glm_st_header){0};
    RT_TRY(read_length(source, &length));
    out->data_at = length_bytes + length;
    parser parse;
    parse.out = out;
    parse.capacity = 0;
    parse.has_metadata = false;
    glm_st_scan_init(&parse.scan, source, length_bytes, out->data_at);
    RT_TRY(read_object(&parse));
    return check_layout(source, out);
}

void glm_st_header_free(glm_st_header *header) {
    for (int32_t i = 0; i < header->n_tensors; i++) free(header->tensors[i].name);
    free(header->tensors);
    *header = (glm_st_header){0};
}

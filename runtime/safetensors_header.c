/* The order of checks: the length, then the JSON front to back with every entry checked as it is
 * complete, then names against each other, then places against each other and the file. */
#include "safetensors_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "json_file.h"

/* A test builds this file with one check missing, to see that its fuzz target notices. */
#ifndef GLM_MUTANT_OVERLAP
#define GLM_MUTANT_OVERLAP 0
#endif

static const int64_t number_max = ((int64_t)1 << 48) - 1; /* the format's own bound */
static const int64_t length_bytes = 8;

typedef struct parser {
    glm_st_scan scan;
    glm_st_header *out;
    int64_t capacity;
    bool has_metadata;
} parser;

/* One tensor's description, and where its parts stand. */
typedef struct entry {
    glm_st_tensor tensor; /* its offset is relative to the data until the end of parsing */
    int64_t end;
    int32_t element_bits;
    bool is_supported;
    int64_t dtype_at; /* 0 until seen */
    int64_t shape_at;
    int64_t offsets_at;
} entry;

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

/* ---- members --------------------------------------------------------------------------------- */

/* Is there another member? Its name is then next. */
static rt_status next_member(glm_st_scan *scan, bool is_first, bool *is_over) {
    RT_TRY(glm_st_accept(scan, '}', is_over));
    return *is_over || is_first ? RT_OK : glm_st_expect(scan, ',', "ST_JSON");
}

static rt_status open_bracket(
        glm_st_scan *scan, char bracket, const char *code, const char *wanted) {
    bool is_there = false;
    RT_TRY(glm_st_accept(scan, bracket, &is_there));
    return is_there ? RT_OK : glm_st_refuse_value(scan, code, wanted);
}

/* ---- the fields of an entry ------------------------------------------------------------------ */

static const struct dtype_name {
    const char *name;
    int32_t bits;
    bool is_supported;
    rt_dtype dtype;
} dtypes[] = {
        {"BF16", 16, true, RT_BF16},
        {"F16", 16, true, RT_F16},
        {"F32", 32, true, RT_F32},
        {.name = "BOOL", .bits = 8},
        {.name = "F4", .bits = 4},
        {.name = "F6_E2M3", .bits = 6},
        {.name = "F6_E3M2", .bits = 6},
        {.name = "U8", .bits = 8},
        {.name = "I8", .bits = 8},
        {.name = "F8_E5M2", .bits = 8},
        {.name = "F8_E4M3", .bits = 8},
        {.name = "F8_E8M0", .bits = 8},
        {.name = "I16", .bits = 16},
        {.name = "U16", .bits = 16},
        {.name = "I32", .bits = 32},
        {.name = "U32", .bits = 32},
        {.name = "C64", .bits = 64},
        {.name = "F64", .bits = 64},
        {.name = "I64", .bits = 64},
        {.name = "U64", .bits = 64},
};

static rt_status read_dtype(parser *parse, entry *one) {
    char text[17];
    glm_st_string name = {.text = text,
            .bytes_max = sizeof text - 1,
            .bad_code = "ST_DTYPE",
            .long_code = "ST_DTYPE",
            .is_name = true};
    if (glm_st_peek(&parse->scan) != '"')
        return glm_st_refuse_value(&parse->scan, "ST_DTYPE", "a dtype's name");
    RT_TRY(glm_st_read_string(&parse->scan, &name));
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(text, dtypes[i].name) != 0) continue;
        one->element_bits = dtypes[i].bits;
        one->is_supported = dtypes[i].is_supported;
        one->tensor.dtype = dtypes[i].dtype;
        return RT_OK;
    }
    return FAIL(parse, "ST_DTYPE", one->dtype_at, "there is no dtype \"%s\"", text);
}

static rt_status read_shape(parser *parse, entry *one) {
    glm_st_scan *scan = &parse->scan;
    bool is_over = false;
    RT_TRY(open_bracket(scan, '[', "ST_SHAPE", "an array of dimensions"));
    RT_TRY(glm_st_accept(scan, ']', &is_over));
    while (!is_over) {
        if (one->tensor.rank == GLM_ST_RANK_MAX)
            return FAIL(parse, "ST_RANK", glm_st_token_at(scan), "more than %d dimensions",
                    GLM_ST_RANK_MAX);
        RT_TRY(glm_st_read_integer(scan, "ST_SHAPE", &one->tensor.shape[one->tensor.rank++]));
        RT_TRY(glm_st_accept(scan, ']', &is_over));
        if (!is_over) RT_TRY(glm_st_expect(scan, ',', "ST_SHAPE"));
    }
    return RT_OK;
}

static rt_status read_offsets(parser *parse, entry *one) {
    glm_st_scan *scan = &parse->scan;
    RT_TRY(open_bracket(scan, '[', "ST_OFFSETS", "an array of two offsets"));
    RT_TRY(glm_st_read_integer(scan, "ST_OFFSETS", &one->tensor.offset));
    RT_TRY(glm_st_expect(scan, ',', "ST_OFFSETS"));
    RT_TRY(glm_st_read_integer(scan, "ST_OFFSETS", &one->end));
    return glm_st_expect(scan, ']', "ST_OFFSETS");
}

typedef rt_status read_value(parser *parse, entry *one);

static rt_status read_field(parser *parse, entry *one) {
    char text[16];
    glm_st_string name = {.text = text,
            .bytes_max = sizeof text - 1,
            .bad_code = "ST_FIELD_UNKNOWN",
            .long_code = "ST_FIELD_UNKNOWN",
            .is_name = true};
    const int64_t at = glm_st_token_at(&parse->scan);
    RT_TRY(glm_st_read_string(&parse->scan, &name));
    const struct {
        const char *name;
        int64_t *at;
        read_value *read;
    } fields[] = {{"dtype", &one->dtype_at, read_dtype}, {"shape", &one->shape_at, read_shape},
            {"data_offsets", &one->offsets_at, read_offsets}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(text, fields[i].name) != 0) continue;
        if (*fields[i].at) return FAIL(parse, "ST_FIELD_DUP", at, "a second \"%s\"", text);
        RT_TRY(glm_st_expect(&parse->scan, ':', "ST_JSON"));
        *fields[i].at = glm_st_token_at(&parse->scan);
        return fields[i].read(parse, one);
    }
    return FAIL(parse, "ST_FIELD_UNKNOWN", at, "there is no field \"%s\"", text);
}

/* ---- an entry -------------------------------------------------------------------------------- */

/* Bytes of the data. A dimension of 0 makes them 0, once every dimension is a legal number. */
static rt_status check_shape(parser *parse, const entry *one, int64_t *n_bytes) {
    const glm_st_tensor *tensor = &one->tensor;
    int64_t bits = one->element_bits;
    bool is_empty = false;
    bool fits = true;
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (tensor->shape[i] > number_max)
            return FAIL(parse, "ST_OVERFLOW", one->shape_at,
                    "tensor \"%s\": dimension %" PRId64 " is above 2^48 - 1", tensor->name,
                    tensor->shape[i]);
        is_empty = is_empty || tensor->shape[i] == 0;
        fits = fits && rt_checked_mul(bits, tensor->shape[i], &bits);
    }
    if (!is_empty && !fits)
        return FAIL(parse, "ST_OVERFLOW", one->shape_at,
                "tensor \"%s\": its size is above 2^63 - 1 bits", tensor->name);
    if (!is_empty && bits % 8 != 0)
        return FAIL(parse, "ST_MISALIGNED", one->shape_at,
                "tensor \"%s\": %" PRId64 " bits are no whole number of bytes", tensor->name, bits);
    *n_bytes = is_empty ? 0 : bits / 8;
    return RT_OK;
}

static rt_status check_entry(parser *parse, entry *one, int64_t closed_at) {
    glm_st_tensor *tensor = &one->tensor;
    if (!one->dtype_at || !one->shape_at || !one->offsets_at)
        return FAIL(parse, "ST_FIELD_MISSING", closed_at, "tensor \"%s\" has no %s", tensor->name,
                !one->dtype_at   ? "dtype"
                : !one->shape_at ? "shape"
                                 : "data_offsets");
    RT_TRY(check_shape(parse, one, &tensor->n_bytes));
    if (tensor->offset > one->end)
        return FAIL(parse, "ST_OFFSETS_ORDER", one->offsets_at,
                "tensor \"%s\" begins at %" PRId64 " and ends at %" PRId64, tensor->name,
                tensor->offset, one->end);
    if (one->end > number_max)
        return FAIL(parse, "ST_OVERFLOW", one->offsets_at,
                "tensor \"%s\" ends at %" PRId64 ", above 2^48 - 1", tensor->name, one->end);
    if (one->end - tensor->offset != tensor->n_bytes)
        return FAIL(parse, "ST_SIZE", one->offsets_at,
                "tensor \"%s\" is given %" PRId64 " bytes, its shape needs %" PRId64, tensor->name,
                one->end - tensor->offset, tensor->n_bytes);
    if (!one->is_supported)
        return FAIL(parse, "ST_DTYPE_UNSUPPORTED", one->dtype_at,
                "tensor \"%s\": glm1m reads BF16, F16 and F32", tensor->name);
    return RT_OK;
}

static rt_status grow(parser *parse) {
    glm_st_header *out = parse->out;
    if (out->n_tensors < parse->capacity) return RT_OK;
    const int64_t capacity = rt_max64(16, 2 * parse->capacity);
    glm_st_tensor *grown = realloc(out->tensors, (size_t)capacity * sizeof *grown);
    if (!grown)
        return rt_fail(RT_ENOMEM, "safetensors: %s: no memory for a list of %" PRId64 " tensors",
                parse->scan.source->path, capacity);
    out->tensors = grown;
    parse->capacity = capacity;
    return RT_OK;
}

/* The list takes the name over, also on failure. */
static rt_status add_tensor(parser *parse, glm_st_tensor **added, const char *name, int64_t at) {
    RT_TRY(grow(parse));
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
    entry one = {.tensor = *tensor};
    bool is_over = false;
    RT_TRY(open_bracket(&parse->scan, '{', "ST_ENTRY", "a tensor's description"));
    for (bool is_first = true;; is_first = false) {
        RT_TRY(next_member(&parse->scan, is_first, &is_over));
        if (is_over) break;
        RT_TRY(read_field(parse, &one));
    }
    RT_TRY(check_entry(parse, &one, parse->scan.at - 1));
    *tensor = one.tensor;
    return RT_OK;
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
    RT_TRY(open_bracket(&parse->scan, '{', "ST_META_TYPE", "an object of strings"));
    for (bool is_first = true;; is_first = false) {
        RT_TRY(next_member(&parse->scan, is_first, &is_over));
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
        RT_TRY(next_member(scan, is_first, &is_over));
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

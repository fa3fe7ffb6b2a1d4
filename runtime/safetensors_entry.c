/* An entry is checked once it is complete; "dtype", "shape" and "data_offsets" come in any order. */
#include "safetensors_entry.h"

#include <inttypes.h>
#include <string.h>

#include "base/size.h"

static const int64_t number_max = ((int64_t)1 << 48) - 1; /* the format's own bound */

/* One tensor's description, and where its parts stand. */
typedef struct entry {
    glm_st_tensor tensor; /* its offset is relative to the data until the end of parsing */
    int64_t end;
    int32_t element_bits;
    bool is_supported;
    const char *dtype; /* as it is spelled */
    int64_t dtype_at;  /* 0 until seen */
    int64_t shape_at;
    int64_t offsets_at;
} entry;

#define FAIL(scan, ...) glm_st_fail((scan)->source, __VA_ARGS__)

/* ---- its fields ------------------------------------------------------------------------------ */

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

/* A string of a few bytes: whatever is wrong with it, `code` names it. */
static rt_status read_word(glm_st_scan *scan, char *text, size_t room, const char *code) {
    glm_st_string word = {.text = text,
            .bytes_max = (int64_t)room - 1,
            .bad_code = code,
            .long_code = code,
            .is_name = true};
    return glm_st_read_string(scan, &word);
}

static rt_status read_dtype(glm_st_scan *scan, entry *one) {
    char text[17];
    if (glm_st_peek(scan) != '"') return glm_st_refuse_value(scan, "ST_DTYPE", "a dtype's name");
    RT_TRY(read_word(scan, text, sizeof text, "ST_DTYPE"));
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(text, dtypes[i].name) != 0) continue;
        one->element_bits = dtypes[i].bits;
        one->is_supported = dtypes[i].is_supported;
        one->dtype = dtypes[i].name;
        one->tensor.dtype = dtypes[i].dtype;
        return RT_OK;
    }
    return FAIL(scan, "ST_DTYPE", one->dtype_at, "there is no dtype \"%s\"", text);
}

static rt_status read_shape(glm_st_scan *scan, entry *one) {
    bool is_over = false;
    RT_TRY(glm_st_open_bracket(scan, '[', "ST_SHAPE", "an array of dimensions"));
    RT_TRY(glm_st_accept(scan, ']', &is_over));
    while (!is_over) {
        if (one->tensor.rank == GLM_ST_RANK_MAX)
            return FAIL(scan, "ST_RANK", glm_st_token_at(scan), "more than %d dimensions",
                    GLM_ST_RANK_MAX);
        RT_TRY(glm_st_read_integer(scan, "ST_SHAPE", &one->tensor.shape[one->tensor.rank++]));
        RT_TRY(glm_st_accept(scan, ']', &is_over));
        if (!is_over) RT_TRY(glm_st_expect(scan, ',', "ST_SHAPE"));
    }
    return RT_OK;
}

static rt_status read_offsets(glm_st_scan *scan, entry *one) {
    RT_TRY(glm_st_open_bracket(scan, '[', "ST_OFFSETS", "an array of two offsets"));
    RT_TRY(glm_st_read_integer(scan, "ST_OFFSETS", &one->tensor.offset));
    RT_TRY(glm_st_expect(scan, ',', "ST_OFFSETS"));
    RT_TRY(glm_st_read_integer(scan, "ST_OFFSETS", &one->end));
    return glm_st_expect(scan, ']', "ST_OFFSETS");
}

typedef rt_status read_value(glm_st_scan *scan, entry *one);

static rt_status read_field(glm_st_scan *scan, entry *one) {
    char text[16];
    const int64_t at = glm_st_token_at(scan);
    RT_TRY(read_word(scan, text, sizeof text, "ST_FIELD_UNKNOWN"));
    const struct {
        const char *name;
        int64_t *at;
        read_value *read;
    } fields[] = {{"dtype", &one->dtype_at, read_dtype}, {"shape", &one->shape_at, read_shape},
            {"data_offsets", &one->offsets_at, read_offsets}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(text, fields[i].name) != 0) continue;
        if (*fields[i].at) return FAIL(scan, "ST_FIELD_DUP", at, "a second \"%s\"", text);
        RT_TRY(glm_st_expect(scan, ':', "ST_JSON"));
        *fields[i].at = glm_st_token_at(scan);
        return fields[i].read(scan, one);
    }
    return FAIL(scan, "ST_FIELD_UNKNOWN", at, "there is no field \"%s\"", text);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Bytes of the data. A dimension of 0 makes them 0, once every dimension is a legal number. */
static rt_status check_shape(glm_st_scan *scan, const entry *one, int64_t *n_bytes) {
    const glm_st_tensor *tensor = &one->tensor;
    int64_t bits = one->element_bits;
    bool is_empty = false;
    bool fits = true;
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (tensor->shape[i] > number_max)
            return FAIL(scan, "ST_OVERFLOW", one->shape_at,
                    "tensor \"%s\": dimension %" PRId64 " is above 2^48 - 1", tensor->name,
                    tensor->shape[i]);
        is_empty = is_empty || tensor->shape[i] == 0;
        fits = fits && rt_checked_mul(bits, tensor->shape[i], &bits);
    }
    if (!is_empty && !fits)
        return FAIL(scan, "ST_OVERFLOW", one->shape_at,
                "tensor \"%s\": its size is above 2^63 - 1 bits", tensor->name);
    if (!is_empty && bits % 8 != 0)
        return FAIL(scan, "ST_MISALIGNED", one->shape_at,
                "tensor \"%s\": %" PRId64 " bits are no whole number of bytes", tensor->name, bits);
    *n_bytes = is_empty ? 0 : bits / 8;
    return RT_OK;
}

static rt_status check_entry(glm_st_scan *scan, entry *one, int64_t closed_at) {
    glm_st_tensor *tensor = &one->tensor;
    if (!one->dtype_at || !one->shape_at || !one->offsets_at)
        return FAIL(scan, "ST_FIELD_MISSING", closed_at, "tensor \"%s\" has no %s", tensor->name,
                !one->dtype_at   ? "dtype"
                : !one->shape_at ? "shape"
                                 : "data_offsets");
    RT_TRY(check_shape(scan, one, &tensor->n_bytes));
    if (tensor->offset > one->end)
        return FAIL(scan, "ST_OFFSETS_ORDER", one->offsets_at,
                "tensor \"%s\" begins at %" PRId64 " and ends at %" PRId64, tensor->name,
                tensor->offset, one->end);
    if (one->end > number_max)
        return FAIL(scan, "ST_OVERFLOW", one->offsets_at,
                "tensor \"%s\" ends at %" PRId64 ", above 2^48 - 1", tensor->name, one->end);
    if (one->end - tensor->offset != tensor->n_bytes)
        return FAIL(scan, "ST_SIZE", one->offsets_at,
                "tensor \"%s\" is given %" PRId64 " bytes, its shape needs %" PRId64, tensor->name,
                one->end - tensor->offset, tensor->n_bytes);
    if (!one->is_supported)
        return FAIL(scan, "ST_DTYPE_UNSUPPORTED", one->dtype_at,
                "tensor \"%s\" is of %s: glm1m reads BF16, F16 and F32", tensor->name, one->dtype);
    return RT_OK;
}

rt_status glm_st_read_entry(glm_st_scan *scan, glm_st_tensor *tensor) {
    entry one = {.tensor = *tensor};
    bool is_over = false;
    RT_TRY(glm_st_open_bracket(scan, '{', "ST_ENTRY", "a tensor's description"));
    for (bool is_first = true;; is_first = false) {
        RT_TRY(glm_st_next_member(scan, is_first, &is_over));
        if (is_over) break;
        RT_TRY(read_field(scan, &one));
    }
    RT_TRY(check_entry(scan, &one, scan->at - 1));
    *tensor = one.tensor;
    return RT_OK;
}

/* Source: nbformat 4, nbformat.readthedocs.io */
#include "notebook.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"

/* A tree of JSON takes several times its bytes: what is larger stays the text that it is. */
static const int64_t bytes_max = 256 * RT_MIB;

static bool is_named_so(const char *name) {
    static const char suffix[] = ".ipynb";
    const size_t n = strlen(name);
    return n >= sizeof suffix - 1 && strcmp(name + n - (sizeof suffix - 1), suffix) == 0;
}

/* ---- pieces of text -------------------------------------------------------------------------- */

static rt_status add_word(glm_text *out, const char *word) {
    return glm_text_add(out, word, (int64_t)strlen(word));
}

/* A string, or lines of one, as all texts of the format are. */
static rt_status add_lines(glm_text *out, const json_t *value) {
    size_t i = 0;
    const json_t *line = NULL;
    if (json_is_string(value))
        return glm_text_add(out, json_string_value(value), (int64_t)json_string_length(value));
    json_array_foreach(value, i, line) if (json_is_string(line))
            RT_TRY(glm_text_add(out, json_string_value(line), (int64_t)json_string_length(line)));
    return RT_OK;
}

static bool has_lines(const json_t *value) {
    return json_is_string(value) || json_is_array(value);
}

/* The next piece begins on a line of its own, with `blank` behind an empty one. */
static rt_status end_piece(glm_text *out, int64_t begin, bool blank) {
    if (out->n == begin) return RT_OK;
    if (out->bytes[out->n - 1] != '\n') RT_TRY(add_word(out, "\n"));
    return blank && !(out->n > begin + 1 && out->bytes[out->n - 2] == '\n') ? add_word(out, "\n")
                                                                            : RT_OK;
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* Of one result in several types the text, and the names of those that are no other spelling of it. */
static rt_status add_data(glm_text *out, const json_t *data) {
    const char *type = NULL;
    json_t *value = NULL;
    const json_t *plain = json_object_get(data, "text/plain");
    const int64_t begin = out->n;
    RT_TRY(add_lines(out, plain));
    RT_TRY(end_piece(out, begin, false));
    json_object_foreach((json_t *)data, type, value) {
        if (plain && strncmp(type, "image/", 6) != 0) continue;
        if (!plain && strncmp(type, "text/", 5) == 0 && has_lines(value)) {
            RT_TRY(add_lines(out, value));
        } else {
            RT_TRY(add_word(out, "["));
            RT_TRY(add_word(out, type));
            RT_TRY(add_word(out, "]"));
        }
        RT_TRY(end_piece(out, begin, false));
    }
    return RT_OK;
}

/* "NameError: name 'x' is not defined": the traceback is colours for a terminal. */
static rt_status add_error(glm_text *out, const json_t *output) {
    const char *name = json_string_value(json_object_get(output, "ename"));
    RT_TRY(add_word(out, name ? name : "error"));
    RT_TRY(add_word(out, ": "));
    return add_lines(out, json_object_get(output, "evalue"));
}

static rt_status add_output(glm_text *out, const json_t *output) {
    const char *type = json_string_value(json_object_get(output, "output_type"));
    if (type && strcmp(type, "stream") == 0) return add_lines(out, json_object_get(output, "text"));
    if (type && strcmp(type, "error") == 0) return add_error(out, output);
    return add_data(out, json_object_get(output, "data"));
}

static rt_status add_outputs(glm_text *out, const json_t *outputs) {
    size_t i = 0;
    const json_t *output = NULL;
    if (json_array_size(outputs) == 0) return RT_OK;
    RT_TRY(add_word(out, "Out:\n"));
    json_array_foreach(outputs, i, output) {
        const int64_t begin = out->n;
        RT_TRY(add_output(out, output));
        RT_TRY(end_piece(out, begin, false));
    }
    return add_word(out, "\n");
}

/* ---- cells ----------------------------------------------------------------------------------- */

static rt_status add_cell(glm_text *out, const json_t *cell) {
    const char *type = json_string_value(json_object_get(cell, "cell_type"));
    const bool is_code = type && strcmp(type, "code") == 0;
    const json_t *number = json_object_get(cell, "execution_count");
    char head[40] = "In:\n";
    if (json_is_integer(number))
        (void)snprintf(
                head, sizeof head, "In [%" PRId64 "]:\n", (int64_t)json_integer_value(number));
    if (is_code) RT_TRY(add_word(out, head));
    const int64_t begin = out->n;
    RT_TRY(add_lines(out, json_object_get(cell, "source")));
    RT_TRY(end_piece(out, begin, true));
    return is_code ? add_outputs(out, json_object_get(cell, "outputs")) : RT_OK;
}

static rt_status add_cells(glm_text *out, const json_t *cells) {
    size_t i = 0;
    const json_t *cell = NULL;
    json_array_foreach(cells, i, cell) RT_TRY(add_cell(out, cell));
    return RT_OK;
}

rt_status glm_notebook_text(
        const char *name, const char *bytes, int64_t n_bytes, bool *is_notebook, glm_text *out) {
    *is_notebook = false;
    if (!is_named_so(name) || n_bytes > bytes_max) return RT_OK;
    json_t *root = json_loadb(bytes, (size_t)n_bytes, 0, NULL);
    const json_t *cells = json_object_get(root, "cells");
    const int64_t before = out->n;
    rt_status status = RT_OK;
    *is_notebook = json_is_array(cells);
    if (*is_notebook) status = add_cells(out, cells);
    if (status != RT_OK) out->n = before;
    json_decref(root);
    return status;
}

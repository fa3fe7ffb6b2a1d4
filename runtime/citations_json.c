#include "citations_json.h"

#include <string.h>

#include "cli_json.h"

static json_t *optional(int64_t number, bool is_there) {
    return is_there ? json_integer(number) : json_null();
}

static json_t *path_json(const char *path) {
    return glm_cli_json_text(path, strlen(path));
}

static json_t *citation_json(const char *answer, const glm_citation *c) {
    static const char *const kinds[] = {[GLM_CITED_QUOTATION] = "quotation",
            [GLM_CITED_SENTENCE] = "sentence",
            [GLM_CITED_PASSAGE] = "passage"};
    const bool is_paged = c->is_verified && c->first.page > 0;
    return json_pack("{s:s, s:o, s:b, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kind",
            kinds[c->kind], "text",
            glm_cli_json_text(answer + c->begin, (size_t)(c->end - c->begin)), "verified",
            c->is_verified, "begin", (json_int_t)c->begin, "end", (json_int_t)c->end,
            "named_passage", optional(c->named, c->named >= 0), "passage",
            optional(c->passage, c->passage >= 0), "file",
            c->is_verified ? path_json(c->first.file->path) : json_null(), "page",
            optional(c->first.page, is_paged), "last_page", optional(c->last.page, is_paged),
            "line", optional(c->first.line, c->is_verified), "last_line",
            optional(c->last.line, c->is_verified));
}

json_t *glm_citations_json(const char *answer, const glm_citations *citations) {
    json_t *array = json_array();
    for (int64_t i = 0; array && i < citations->n_citations; i++)
        if (json_array_append_new(array, citation_json(answer, &citations->citations[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

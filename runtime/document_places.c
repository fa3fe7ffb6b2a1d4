#include "base/size.h"
#include "document.h"

const glm_document_file *glm_document_file_at(const glm_document *document, int64_t at) {
    int64_t low = 0;
    int64_t high = document->n_files;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (document->files[middle].heading_at <= at)
            low = middle;
        else
            high = middle;
    }
    return &document->files[low];
}

glm_document_place glm_document_find(const glm_document *document, int64_t at) {
    rt_assert(at >= 0 && at <= document->n_bytes);
    const glm_document_file *file = glm_document_file_at(document, at);
    const int64_t n = rt_min64(rt_max64(at - file->text_at, 0), file->n_bytes);
    const char *text = document->text + file->text_at;
    glm_document_place place = {
            .file = file, .offset = n + file->mark_bytes, .line = 1, .page = file->is_paged};
    for (int64_t i = 0; i < n; i++) {
        place.line += text[i] == '\n';
        if (!file->is_paged || text[i] != '\f') continue;
        place.page++;
        place.line = 1;
    }
    return place;
}

/* Where a page ends and the next one begins: what stands there is part of no sentence. */
#ifndef GLM_PAGE_GAP_H
#define GLM_PAGE_GAP_H

#include "document.h"

/* Whether the bytes [begin, end) of the document's text are whole lines around one form feed of a file with pages, and
 * nobody's words: empty ones, page numbers, and a running head or foot, which is a line that stands at the same edge of
 * another page nearby, but for its numbers. A note, or a line of the text itself, is none. */
bool glm_is_page_gap(const glm_document *document, int64_t begin, int64_t end);

#endif

/* Citations as JSON: what `ask --json` writes and /v1/cite answers. */
#ifndef GLM_CITATIONS_JSON_H
#define GLM_CITATIONS_JSON_H

#include <jansson.h>

#include "citations.h"

/* An array, one object a citation, in their order in the answer; begin and end are byte offsets in it. What is not
 * known is null. answer: the text that was searched, in host memory. NULL: no memory. */
json_t *glm_citations_json(const char *answer, const glm_citations *citations);

#endif

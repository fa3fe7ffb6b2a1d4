/* Jupyter notebooks: what people see of one, without the JSON around it and the pictures in it, which are most of its bytes. */
#ifndef GLM_NOTEBOOK_H
#define GLM_NOTEBOOK_H

#include <stdbool.h>

#include "text.h"

/* The text of a notebook of format 4, behind `out`: each cell's source, of code with its number, and its outputs as text;
 * of a picture and other data without text its type alone. *is_notebook is false, and `out` as it was, for bytes that are
 * none, whatever `name` ends with. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_notebook_text(
        const char *name, const char *bytes, int64_t n_bytes, bool *is_notebook, glm_text *out);

#endif

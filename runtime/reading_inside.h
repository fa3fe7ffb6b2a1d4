/* Shared by reading.c and reading_book.c. */
#ifndef GLM_READING_INSIDE_H
#define GLM_READING_INSIDE_H

#include "reading.h"

/* What is said before the document; static. */
const char *glm_reading_before(glm_passages_style style);

#endif

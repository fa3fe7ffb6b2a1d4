/* Made-up English prose: a haystack for machines without books. */
#ifndef GLM_PROSE_H
#define GLM_PROSE_H

#include <stdint.h>
#include <stdio.h>

/* Write at least bytes_min of paragraphs, the same for the same seed: sentences of many shapes from
 * a few hundred words, no digits, none of the words that needles are made of. */
void glm_prose_write(FILE *out, uint64_t seed, int64_t bytes_min);

#endif

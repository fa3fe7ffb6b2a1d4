/* Which published model a checkpoint is, told by its config's numbers. Nothing is computed
 * differently for it: the numbers are what counts, this names them and says where they differ.
 * What the numbers do not say is how the model was taught to converse: that goes by the name. */
#ifndef GLM_VARIANT_H
#define GLM_VARIANT_H

#include "config.h"

enum { GLM_VARIANT_TEXT = 384 };

typedef struct glm_variant {
    const char *name; /* "GLM-4-9B-Chat-1M"; static */
    bool is_chat_1m;  /* every number is that model's */
    bool is_0414;     /* model_type "glm4": the chat format is another, chat.h's GLM_CHAT_0414 */
    bool is_longcite; /* taught to cite sentences by number: reading.h */
    bool is_base;     /* not taught any chat format: it continues texts */
    /* "rotary base 1e+04 (published 1e+08); ..."; "" where nothing differs, or nothing is known. */
    char differences[GLM_VARIANT_TEXT];
} glm_variant;

/* LongCite and LongWriter have the numbers of the models they were tuned from: they are told by
 * what config->origin or a part of `dir` calls them. */
void glm_variant_recognise(const glm_config *config, const char *dir, glm_variant *out);

#endif

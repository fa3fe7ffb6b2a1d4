/* GGUF files, which llama.cpp reads and we do not: that is said where one is all there is. */
#ifndef GLM_GGUF_H
#define GLM_GGUF_H

#include <stdbool.h>

#include "base/status.h"

/* What to do instead, for the end of a message. */
extern const char glm_gguf_instead[];

/* By its name. */
bool glm_is_gguf(const char *name);

/* RT_EMODEL where the directory holds such a file and none of .safetensors: which one, and what to do. */
RT_MUST_CHECK rt_status glm_gguf_refuse_alone(const char *dir);

#endif

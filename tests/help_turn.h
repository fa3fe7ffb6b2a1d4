/* Sessions of several engines that keep one text in one directory: as processes do, whose locks are each its own. */
#ifndef HELP_TURN_H
#define HELP_TURN_H

#include "runtime/runtime.h"

enum { HELP_TURN_SEGMENT = 4096, HELP_TURN_N = 2 * HELP_TURN_SEGMENT + 300 };

/* A small model on the CPU, with room for texts of HELP_TURN_N + 1 tokens; ends the program on failure, as all do here. */
glm_engine *help_turn_engine(const char *dir, const char *kv_dtype, int64_t disk_bytes);
glm_session *help_turn_session(glm_engine *engine);
/* The first step of the prefill of HELP_TURN_N ids, and all of it. */
void help_turn_begin(glm_session *session, const int32_t *ids);
void help_turn_prefill(glm_session *session, const int32_t *ids);

#endif

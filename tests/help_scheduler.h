/* serve without its routes: its scheduler, step by step, in the test's own thread. */
#ifndef HELP_SCHEDULER_H
#define HELP_SCHEDULER_H

#include "runtime/server/ask.h"
#include "runtime/server/schedule.h"

/* One over an engine of these options, ready; ends the program on failure. One at a time. */
srv_scheduler *help_scheduler_open(const glm_options *options);
void help_scheduler_close(srv_scheduler *scheduler);

/* A request to /v1/completions, which is freed, as far as it is admitted at once. */
srv_request *help_scheduler_ask(srv_scheduler *scheduler, json_t *body);

#endif

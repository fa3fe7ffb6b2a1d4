/* The server's bounds: one table. Every check reads it, `glm1m serve --limits` prints it. */
#ifndef SRV_LIMITS_H
#define SRV_LIMITS_H

#include <stdio.h>

#include "runtime/base/status.h"

typedef enum srv_limit {
    SRV_REQUEST_LINE_BYTES,
    SRV_HEADER_BYTES,
    SRV_HEADER_FIELDS,
    SRV_HEADER_S,
    SRV_BODY_BYTES,
    SRV_BODY_S,
    SRV_BODY_BYTES_PER_S,
    SRV_BODY_RATE_MIN,
    SRV_STALL_S,
    SRV_SEND_BYTES,
    SRV_IDLE_S,
    SRV_CONNECTION_REQUESTS,
    SRV_CONNECTIONS,
    SRV_CONNECTIONS_PER_ADDRESS,
    SRV_JSON_DEPTH,
    SRV_JSON_VALUES,
    SRV_JSON_NUMBERS,
    SRV_NUMBER_CHARACTERS,
    SRV_MESSAGES_MAX,
    SRV_TOOLS,
    SRV_STOP_TEXTS,
    SRV_STOP_BYTES,
    SRV_TOP_LOGPROBS,
    SRV_BIASED_IDS,
    SRV_PROMPTS,
    SRV_ECHO_TOKENS,
    SRV_ANSWER_TOKENS,
    SRV_CHOICES,
    SRV_QUEUE_REQUESTS,
    SRV_QUEUE_CONTEXTS,
    SRV_JOBS,
    SRV_JOB_S,
    SRV_READINGS,
    SRV_READING_BYTES,
    SRV_UPLOAD_BYTES,
    SRV_UPLOADS,
    SRV_UPLOAD_TEXT_BYTES,
    SRV_CONVERT_S,
    SRV_CONVERT_BYTES,
    SRV_CITED_BYTES,
    SRV_HEARTBEAT_S,
    SRV_PREFIXES,
    SRV_DRAIN_S,
    SRV_N_LIMITS
} srv_limit;

/* The bound itself. */
int64_t srv_limit_of(srv_limit limit);

/* The whole table for people: name, bound, unit, what happens beyond it. */
void srv_limits_print(FILE *out);

#endif

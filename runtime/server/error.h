/* What a client is told when it gets no answer: an HTTP status and a JSON object, in OpenAI's shape
 * or Anthropic's. */
#ifndef SRV_ERROR_H
#define SRV_ERROR_H

#include <jansson.h>

#include "runtime/base/status.h"

enum { SRV_ERROR_TEXT = 512, SRV_ERROR_WORD = 64, SRV_ALLOW_TEXT = 32 };

typedef struct srv_error {
    int http;                   /* 0: there is none */
    const char *code;           /* OpenAI's "code", static; NULL: none */
    char param[SRV_ERROR_WORD]; /* the field of the request, "" where it is none's fault */
    char message[SRV_ERROR_TEXT];
    int64_t n_prompt; /* context_length_exceeded: tokens of the prompt and of the context */
    int64_t n_context;
    int retry_after_s;          /* 0: not said */
    char allow[SRV_ALLOW_TEXT]; /* 405: the methods of the path */
} srv_error;

/* Fill `error`; always false, so that a check can end with it. */
bool srv_refuse(srv_error *error, int http, const char *code, const char *param, const char *format,
        ...) RT_PRINTF(5, 6);

/* 400 because of `param`. */
bool srv_refuse_field(srv_error *error, const char *param, const char *format, ...) RT_PRINTF(3, 4);

/* Say in front of an error's message which of several prompts it is about. */
void srv_error_name_prompt(srv_error *error, int i);
/* Say more behind it, as far as there is room. */
void srv_error_add(srv_error *error, const char *more);

/* What the calling thread's last rt_fail said: RT_EUSAGE is the client's fault, anything else 500. */
bool srv_refuse_status(srv_error *error, rt_status status, const char *param);

/* ASKED: of a path that both APIs have, or none: Anthropic's where the request has its header, anthropic-version. */
typedef enum srv_shape { SRV_SHAPE_OPENAI, SRV_SHAPE_ANTHROPIC, SRV_SHAPE_ASKED } srv_shape;

/* {"error": {...}}, new; NULL without memory. */
json_t *srv_error_json(const srv_error *error, srv_shape shape);

#endif

/* What `glm1m serve` was asked for, and what every route may read. */
#ifndef SRV_OPTIONS_H
#define SRV_OPTIONS_H

#include "origins.h"
#include "runtime/config.h"
#include "runtime/tokenizer.h"
#include "runtime/variant.h"

enum { SRV_MODEL_NAME_BYTES = 256 }; /* with the 0 at its end */

typedef struct srv_options {
    const char *host;
    int32_t port;           /* 0: any that is free */
    const char *api_key;    /* NULL: none is asked for */
    srv_origins origins;    /* besides our own */
    const char *model_name; /* as answers have it */
    /* By which it may be asked for, too. All names are UTF-8, of fewer than SRV_MODEL_NAME_BYTES. */
    const char *const *other_names; /* [n_other_names] */
    int n_other_names;
    const glm_tokenizer *tokenizer;
    const glm_config *config;
    const glm_variant *variant;
} srv_options;

#endif

#include "cmd_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "cli_json.h"
#include "cmd_version.h"
#include "linear_choice.h"
#include "sha256.h"

const char *record_program(const glm_engine *engine, char text[RECORD_PROGRAM]) {
    const glm_plan *plan = glm_engine_plan(engine);
    (void)snprintf(text, RECORD_PROGRAM, "glm1m %s%s%s, %s%s, %" PRId32 " rank%s", GLM_VERSION,
            version_commit[0] ? " " : "", version_commit, plan->on_gpu ? "CUDA" : "CPU with ",
            plan->on_gpu ? "" : rt_isa_name(rt_machine_isa()), plan->n_ranks,
            plan->n_ranks == 1 ? "" : "s");
    return text;
}

json_t *record_made(const glm_engine *engine, const char *model) {
    const glm_plan *plan = glm_engine_plan(engine);
    char program[RECORD_PROGRAM];
    return json_pack("{s:s, s:o, s:s, s:s, s:s}", "program", record_program(engine, program),
            "model", glm_cli_json_text(model, strlen(model)), "model_fingerprint",
            glm_engine_fingerprint(engine), "kv_cache_dtype", rt_dtype_name(plan->kv_dtype),
            "linear", glm_linear_by_name(plan->linear_by));
}

/* As it was given: 0.8, not the 0.800000012 that a float makes of it. */
static json_t *short_real(float value) {
    char text[32];
    (void)snprintf(text, sizeof text, "%.7g", (double)value);
    return json_real(strtod(text, NULL));
}

json_t *record_sampling(const glm_sampling *sampling) {
    if (sampling->temperature <= 0.0F) return json_null();
    return json_pack("{s:o, s:o, s:I, s:o, s:I}", "temperature", short_real(sampling->temperature),
            "top_p", short_real(sampling->top_p), "top_k", (json_int_t)sampling->top_k, "min_p",
            short_real(sampling->min_p), "seed", (json_int_t)sampling->seed);
}

json_t *record_sha256(const void *bytes, int64_t n_bytes) {
    uint8_t digest[GLM_SHA256_BYTES];
    char hex[GLM_SHA256_HEX];
    if (glm_sha256_of(bytes, n_bytes, digest) != RT_OK) return NULL;
    return json_string(glm_sha256_hex(digest, hex));
}

json_t *record_sha256_of_ids(const glm_ids *ids) {
    return record_sha256(ids->ids, ids->n * (int64_t)sizeof *ids->ids);
}

json_t *record_texts(const char *const *texts, int n_texts) {
    json_t *array = json_array();
    for (int i = 0; array && i < n_texts; i++)
        if (json_array_append_new(array, glm_cli_json_text(texts[i], strlen(texts[i]))) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

json_t *record_join(json_t *to, json_t *from) {
    const bool is_whole = to && from && json_object_update_missing(to, from) == 0;
    json_decref(from);
    if (is_whole) return to;
    json_decref(to);
    return NULL;
}

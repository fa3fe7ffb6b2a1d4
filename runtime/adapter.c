#include "adapter.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "base/size.h"
#include "json_file.h"

static const char file_name[] = "adapter_config.json";

static bool holds(const char *dir, const char *name) {
    char *path = NULL;
    const bool is_there = rt_path_join(dir, name, &path) == RT_OK && rt_file_exists(path);
    free(path);
    return is_there;
}

/* `"base"`, as the adapter names it; NULL where it does not. For json_decref. */
static json_t *base_of(const char *dir) {
    char *path = NULL;
    json_t *root = NULL;
    const bool is_read = rt_path_join(dir, file_name, &path) == RT_OK &&
                         glm_json_load("adapter", path, RT_MIB, &root) == RT_OK;
    json_t *base = is_read ? json_object_get(root, "base_model_name_or_path") : NULL;
    base = json_is_string(base) && json_string_length(base) > 0 ? json_incref(base) : NULL;
    json_decref(root);
    free(path);
    return base;
}

rt_status glm_adapter_refuse_alone(const char *dir) {
    if (!holds(dir, file_name) || holds(dir, "config.json")) return RT_OK;
    char text[GLM_JSON_TEXT];
    json_t *base = base_of(dir);
    const char *name = base ? glm_json_text(base, text) : "its base model";
    const rt_status status = rt_fail(RT_EMODEL,
            "%s holds an adapter (%s) and no model: adapters are not applied here. PEFT's "
            "merge_and_unload, then save_pretrained of model and tokenizer, makes one checkpoint of "
            "it and %s; -m takes that directory",
            dir, file_name, name);
    json_decref(base);
    return status;
}

void glm_adapter_warn(const char *dir) {
    if (!holds(dir, file_name)) return;
    rt_log(RT_LOG_WARN, "engine",
            "%s/%s is there, and is not applied: the answers are those of the weights beside it; "
            "PEFT's merge_and_unload makes one checkpoint of both",
            dir, file_name);
}

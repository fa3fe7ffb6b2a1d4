#include "linear_choice.h"

#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "onednn.h"
#include "ops.h"

const char *glm_linear_by_name(glm_linear_by by) {
    static const char *const names[] = {"own", "onednn", "cublaslt", "cublaslt, bits by rows"};
    return names[by];
}

void glm_linear_widths(const glm_config *part, int64_t widths[GLM_LINEAR_WIDTHS]) {
    widths[0] = part->hidden;
    widths[1] = glm_config_q_width(part);
    widths[2] = part->ffn;
}

/* Open it for the model's widths and close it again: what it says of itself. */
static rt_status try_onednn(const glm_config *config, char *text, int64_t room, bool *has_amx) {
    int64_t widths[GLM_LINEAR_WIDTHS] = {64, 96, 4096};
    glm_onednn *onednn = NULL;
    if (config) glm_linear_widths(config, widths);
    RT_TRY(glm_onednn_open(widths, GLM_LINEAR_WIDTHS, 1, &onednn));
    (void)snprintf(text, (size_t)room, "%s", glm_onednn_text(onednn));
    *has_amx = glm_onednn_has_amx(onednn);
    glm_onednn_close(onednn);
    return RT_OK;
}

bool glm_linear_describe_onednn(char *text, int64_t room) {
    bool has_amx = false;
    if (try_onednn(NULL, text, room, &has_amx) == RT_OK) return true;
    (void)snprintf(text, (size_t)room, "%s", rt_error_text());
    return false;
}

static rt_status own(glm_linear_choice *out, const char *why) {
    out->by = GLM_LINEAR_OWN;
    (void)snprintf(out->why, sizeof out->why, "our kernels%s%s", *why ? ": " : "", why);
    return RT_OK;
}

static rt_status require_onednn(const glm_config *config, glm_linear_choice *out) {
    bool has_amx = false;
    if (config && config->dtype != RT_BF16)
        return rt_fail(RT_EUNSUPPORTED, "--linear onednn multiplies bf16 weights, and these are %s",
                rt_dtype_name(config->dtype));
    out->by = GLM_LINEAR_ONEDNN;
    return try_onednn(config, out->why, sizeof out->why, &has_amx);
}

/* Where there is no AMX the library is not even looked for, nor where our own kernels use it. */
static rt_status choose(const glm_config *config, glm_linear_choice *out) {
    bool has_amx = false;
    if (config && config->dtype != RT_BF16) return own(out, "the weights are not bf16");
    if (!rt_machine_has_amx()) return own(out, "no AMX here");
    if (!rt_machine_may_use_amx()) return own(out, "the operating system does not grant AMX");
    if (glm_ops_has_tiles(rt_machine_isa())) return own(out, "tiles of AMX");
    if (try_onednn(config, out->why, sizeof out->why, &has_amx) != RT_OK)
        return own(out, rt_error_text());
    if (!has_amx) return own(out, "this oneDNN does not use AMX");
    out->by = GLM_LINEAR_ONEDNN;
    return RT_OK;
}

rt_status glm_linear_choose(const char *asked, const glm_config *config, glm_linear_choice *out) {
    *out = (glm_linear_choice){0};
    if (!asked || strcmp(asked, "auto") == 0) return choose(config, out);
    if (strcmp(asked, "own") == 0) return own(out, "");
    if (strcmp(asked, "onednn") == 0) return require_onednn(config, out);
    return rt_fail(RT_EUSAGE, "--linear %s: auto, own or onednn", asked);
}

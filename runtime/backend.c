/* Which backend. This file is the only one that knows which there are in a program: where CUDA is not built
 * in there is one. */
#include "backend.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

static const glm_backend *cuda_backend(void) {
#ifdef GLM_WITH_CUDA
    return &glm_backend_cuda;
#else
    return NULL;
#endif
}

bool glm_backend_describe_cuda(char *text, int64_t room) {
    const glm_backend *cuda = cuda_backend();
    if (cuda) return cuda->is_usable(0, text, room, NULL);
    (void)snprintf(text, (size_t)room,
            "no GPU kernels in this build: there was no CUDA toolkit (12.4 or later)");
    return false;
}

static rt_status require_cuda(const glm_config *config, const glm_options *options,
        const glm_plan *plan, const glm_backend **out) {
    char why[512];
    const char *name = options->gpu_name;
    if (!(name && cuda_backend()) && !glm_backend_describe_cuda(why, sizeof why))
        return rt_fail(RT_EUNSUPPORTED, "%s %s: %s", name ? "--gpu" : "--device",
                name ? name : "cuda", why);
    *out = cuda_backend();
    return (*out)->check(config, options, plan);
}

/* So that nobody waits for a CPU beside a GPU, and does not know why. */
static void warn_of_cpu(const glm_plan *plan) {
    const glm_backend *cuda = cuda_backend();
    char refused[512];
    char unusable[512];
    (void)snprintf(refused, sizeof refused, "%s", rt_error_text());
    if (!cuda || !cuda->is_there()) return;
    rt_log(RT_LOG_WARN, "plan", "%s: %s",
            plan->n_ranks > 1 ? "ranks are on the CPU" : "the CPU computes",
            glm_backend_describe_cuda(unusable, sizeof unusable) ? refused : unusable);
}

rt_status glm_backend_choose(const glm_config *config, const glm_options *options,
        const glm_plan *plan, const glm_backend **out) {
    const char *name = options->device ? options->device : "auto";
    const bool is_auto = strcmp(name, "auto") == 0;
    if (options->gpu_name && strcmp(name, "cpu") == 0)
        return rt_fail(RT_EUSAGE, "--gpu %s plans for a GPU, and --device cpu for none",
                options->gpu_name);
    if (strcmp(name, "cuda") == 0 || options->gpu_name)
        return require_cuda(config, options, plan, out);
    if (!is_auto && strcmp(name, "cpu") != 0)
        return rt_fail(RT_EUSAGE, "--device %s: auto, cpu or cuda", name);
    if (is_auto && require_cuda(config, options, plan, out) == RT_OK) return RT_OK;
    if (is_auto) warn_of_cpu(plan);
    *out = &glm_backend_cpu;
    return (*out)->check(config, options, plan);
}

int64_t glm_backend_gpu_free(const glm_options *options, int32_t place) {
    const glm_backend *cuda = cuda_backend();
    char text[512];
    rt_device_memory memory = {0};
    if (!cuda || (options->device && strcmp(options->device, "cpu") == 0)) return 0;
    return cuda->is_usable(place, text, sizeof text, &memory) ? memory.free_bytes : 0;
}

const glm_backend *glm_backend_of(const glm_plan *plan) {
    return plan->on_gpu ? cuda_backend() : &glm_backend_cpu;
}

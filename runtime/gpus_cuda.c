/* What the plan takes a GPU for that is not here: as its driver describes one.
 *
 * SMs, boost clocks, memory and links are those of NVIDIA's data sheets (A100, H100 and H200 Tensor Core GPU, L40S, DGX B200)
 * and white papers (GA102, Ada, Hopper); memory's rate is its clock times its width, as find_cuda.c has it. A driver reports
 * less memory than is sold: of an H100 what bench/results/2026-11-26_h100_tests.txt has, of others the least that their users'
 * programs were seen to print (cudaMemGetInfo); of h100-pcie, h200 and rtx3090, of which nothing was seen, as much less than
 * nvidia-smi's total as of their like. */
#include <strings.h>

#include "engine_cuda.h"
#include "find_cuda.h"
#include "gpu_names.h"

static const double pcie4_bytes_per_s = 16e9 * 16 / 8.0 * 128.0 / 130.0;
static const double pcie5_bytes_per_s = 32e9 * 16 / 8.0 * 128.0 / 130.0;

typedef struct known_gpu {
    const char *name;
    int32_t capability, n_sms;
    double clock_mhz, memory_mhz, memory_bits, memory_gib;
    bool is_pcie5, is_geforce;
} known_gpu;

static const known_gpu known[] = {
        /* Of the SXM modules, but for h100-pcie: 1.56, 2.04, 7.67, 3.35, 2.04, 4.81, 0.86, 0.94 and 1.01 TB/s. */
        {"a100-40", 80, 108, 1410, 1215, 5120, 39.39, false, false},
        {"a100-80", 80, 108, 1410, 1593, 5120, 79.25, false, false},
        {"b200", 100, 148, 1965, 3996, 7680, 178.3, true, false},
        {"h100", 90, 132, 1980, 2619, 5120, 79.18, true, false},
        {"h100-pcie", 90, 114, 1755, 1593, 5120, 79.10, true, false},
        {"h200", 90, 132, 1980, 3201, 6016, 139.7, true, false},
        {"l40s", 89, 142, 2520, 9001, 384, 44.40, false, false},
        {"rtx3090", 86, 82, 1695, 9751, 384, 23.5, false, true},
        {"rtx4090", 89, 128, 2520, 10501, 384, 23.5, false, true},
};

static const known_gpu *find(const char *name) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(known[i].name, name) == 0) return &known[i];
    return NULL;
}

rt_status glm_cuda_expect(const char **name, rt_device_memory *memory, glm_speed *speed) {
    const known_gpu *gpu = find(*name);
    if (!gpu) return rt_fail(RT_EUSAGE, "--gpu %s: is none of " GLM_GPU_NAMES, *name);
    const glm_cuda_chip chip = {.capability = gpu->capability,
            .n_sms = gpu->n_sms,
            .is_geforce = gpu->is_geforce,
            .clock_hz = 1e6 * gpu->clock_mhz,
            .memory_bytes_per_s = 2e6 * gpu->memory_mhz * gpu->memory_bits / 8.0,
            .link_bytes_per_s = gpu->is_pcie5 ? pcie5_bytes_per_s : pcie4_bytes_per_s};
    *name = gpu->name;
    *memory = glm_cuda_memory_of((int64_t)(gpu->memory_gib * (double)RT_GIB));
    *speed = glm_cuda_speed_of(&chip);
    return RT_OK;
}

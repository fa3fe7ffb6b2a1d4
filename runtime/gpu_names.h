/* The GPUs that plan --gpu knows; what they are is in gpus_cuda.c. */
#ifndef GLM_GPU_NAMES_H
#define GLM_GPU_NAMES_H

#define GLM_GPU_NAMES "a100-40|a100-80|b200|h100|h100-pcie|h200|l40s|rtx3090|rtx4090"

#endif

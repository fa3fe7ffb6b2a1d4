/* What this machine offers besides cores and memory, found without needing any of it: libraries
 * are opened at run time. */
#ifndef GLM_PROBE_H
#define GLM_PROBE_H

#include "base/status.h"

enum { GLM_PROBE_BYTES = 256 };

/* Each writes one line into `text` and returns whether the thing can be used: "2 x NVIDIA H200,
 * 139.8 GiB, driver CUDA 12.8", "NCCL 2.28.9", or why not. */
bool glm_probe_gpu(char text[GLM_PROBE_BYTES]);
bool glm_probe_nccl(char text[GLM_PROBE_BYTES]);
bool glm_probe_mpi(char text[GLM_PROBE_BYTES]);

#endif

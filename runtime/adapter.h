/* PEFT's adapters (LoRA and others): none is applied, which is said. */
#ifndef GLM_ADAPTER_H
#define GLM_ADAPTER_H

#include "base/status.h"

/* RT_EMODEL where the directory holds an adapter without the model that it belongs to: which one, and what to do. */
RT_MUST_CHECK rt_status glm_adapter_refuse_alone(const char *dir);

/* A warning where one lies beside the weights: its absence must not look like its effect. */
void glm_adapter_warn(const char *dir);

#endif

/* The embedded demo checkpoint: a GLM-4 model whose weights are compiled, not trained.
 *
 * 1.6 million parameters that retrieve exactly at any length up to a million tokens. Written as an
 * ordinary Hugging Face directory; nothing in the runtime knows that it is special. */
#ifndef GLM_NEEDLE_MODEL_H
#define GLM_NEEDLE_MODEL_H

#include "base/status.h"

/* Write config.json, generation_config.json, tokenizer.model, tokenizer_config.json and
 * model.safetensors into `dir`, made if absent; model.safetensors last, so that its presence means
 * the directory is whole. The same bytes every time.
 * Errors: RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status glm_needle_model_write(const char *dir);

#endif

/* Where a model is: a directory, or a name in the local Hugging Face cache. Never the network.
 * And where we keep things ourselves. */
#ifndef GLM_HUB_H
#define GLM_HUB_H

#include "base/status.h"

/* The checkpoint directory for what the user wrote after -m.
 *
 *   model  an existing directory, taken as it is; or "org/name", looked up under HF_HUB_CACHE,
 *          $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub:
 *          models--org--name/refs/main names the revision, snapshots/<revision> is the directory;
 *          without refs/main the only snapshot there is
 *   dir    a new string for free(); NULL on failure
 *
 * Errors: RT_EUSAGE  neither, or several snapshots and no refs/main; for a name that is not there
 *                    the message has the command that would download it
 *         RT_EIO     the cache's files cannot be read */
RT_MUST_CHECK rt_status glm_hub_resolve(const char *model, char **dir);

/* Our own cache directory, $XDG_CACHE_HOME/glm1m, or ~/.cache/glm1m where that is no absolute path,
 * which need not exist yet; without a home
 * /tmp/glm1m-UID, made and checked to be this user's alone: RT_EIO where it is not. A new string for free(). RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cache_directory(char **dir);
/* The same path for who says it, or asks what is free there: nothing is made or checked. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cache_path(char **dir);

#endif

/* What the tensors of a GLM-4 checkpoint are called, and what their rows hold. */
#ifndef GLM_CHECKPOINT_NAMES_H
#define GLM_CHECKPOINT_NAMES_H

#include "checkpoint.h"

/* One tensor: its rows hold the roles [first, first + n_roles) from top to bottom. */
typedef struct glm_kind {
    glm_role first;
    int32_t n_roles;
    const char *name; /* behind the layer's prefix, for tensors of a layer */
} glm_kind;

/* Its i-th role. */
static inline glm_role glm_kind_role(const glm_kind *kind, int32_t i) {
    return (glm_role)((int32_t)kind->first + i);
}

typedef struct glm_kinds {
    int32_t n;
    const glm_kind *kinds;
} glm_kinds;

/* The tensors outside the layers, and those of each layer. Where a role appears twice, the usual
 * name comes first and an alias later. */
glm_kinds glm_kinds_outside(glm_naming naming);
glm_kinds glm_kinds_of_layer(glm_naming naming);

enum { GLM_TENSOR_NAME_BYTES = 128 };

/* The whole name; `layer` is ignored outside the layers. Writes into `text` and returns it. */
const char *glm_tensor_name(
        glm_naming naming, const glm_kind *kind, int32_t layer, char text[GLM_TENSOR_NAME_BYTES]);

/* Roles of the first kind come once, the others once a layer. */
bool glm_role_is_outside(glm_role role);
bool glm_role_is_vector(glm_role role);

/* Does a model of this config have it as a tensor of its own? */
bool glm_role_is_needed(const glm_config *config, glm_role role);

/* Its shape: of a weight, outputs and inputs. */
int64_t glm_role_rows(const glm_config *config, glm_role role);
int64_t glm_role_cols(const glm_config *config, glm_role role); /* 1 for vectors */

#endif

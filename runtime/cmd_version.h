/* What this program is: for glm1m version, and doctor. */
#ifndef GLM_CMD_VERSION_H
#define GLM_CMD_VERSION_H

#include <jansson.h>

/* The commit that was built, "" where that is not known (runtime/commit.cmake). */
extern const char version_commit[];

/* {name: text}, in order, of version, commit (where known), compiler and what is built in; a new reference. NULL: no memory. */
json_t *version_facts(void);

#endif

/* Which build of the program this is: ranks of different builds must not work together. */
#ifndef GLM_BUILD_ID_H
#define GLM_BUILD_ID_H

#include <stdbool.h>

enum { GLM_BUILD_ID_TEXT = 96 };

/* "0.1.0 <hex of the linker's build id>"; the version alone where the linker left none. Writes into
 * `text` and returns it. */
const char *glm_build_id(char text[GLM_BUILD_ID_TEXT]);

#endif

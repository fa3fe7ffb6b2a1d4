/* The wildcards of a .gitignore's line, as git reads them.
 *
 *   * ?       any characters, one; never a /
 *   [a-c] [!a] [[:digit:]] [\]]   one of these, one of the others; never a /
 *   **        a whole name: any number of directories, and behind the last /, all there is
 *   \a        the a itself
 *
 * A [ without its ], a class that is unknown and a \ at the end match nothing. Bytes are compared, whatever
 * the locale. The time is bounded by the product of both lengths. */
#ifndef GLM_WILDCARD_H
#define GLM_WILDCARD_H

#include <stdbool.h>

/* Whether the glob is all of the text, which has less than 8192 bytes. `is_path`: a / of the text matches only
 * itself and a **; else the text is a name, without one. */
bool glm_wildcard_match(const char *glob, const char *text, bool is_path);

#endif

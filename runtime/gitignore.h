/* Which files of a tree its authors do not count as source: .gitignore files, as git reads them.
 *
 *   name      anywhere below; with a / in front or inside: from where the file stands
 *   name/     directories only, with all they hold
 *   * ? [a]   within a name; **  any number of directories
 *   !name     not ignored after all, unless a directory above it is
 *
 * The last line that matches decides, and of several files the one that is nearest. A repository inside another, as a
 * submodule is, has its own alone. */
#ifndef GLM_GITIGNORE_H
#define GLM_GITIGNORE_H

#include "base/status.h"

typedef struct glm_gitignore glm_gitignore;

/* For a walk below `dir`: with the files above it, up to where the repository's .git is, and its
 * .git/info/exclude. RT_EIO, RT_ENOMEM; RT_EUSAGE a .gitignore of more than 1 MiB. */
RT_MUST_CHECK rt_status glm_gitignore_open(const char *dir, glm_gitignore **out);
/* Accepts NULL. */
void glm_gitignore_close(glm_gitignore *ignore);

/* The walk enters a directory, `inside` is its path below `dir` ("" for itself), or leaves the last one
 * that it entered. */
RT_MUST_CHECK rt_status glm_gitignore_enter(glm_gitignore *ignore, const char *inside);
void glm_gitignore_leave(glm_gitignore *ignore);

/* Whether what stands at `inside`, in the directory entered last, is ignored. */
bool glm_gitignore_has(const glm_gitignore *ignore, const char *inside, bool is_directory);

#endif

/* Everything below a directory that has no hidden name, in an order that depends on names alone. */
#ifndef GLM_FILE_WALK_H
#define GLM_FILE_WALK_H

#include "base/status.h"

typedef enum glm_walk_kind {
    GLM_WALK_FILE,       /* a regular file */
    GLM_WALK_LINK,       /* a symbolic link, wherever it leads */
    GLM_WALK_OTHER,      /* anything else but a directory */
    GLM_WALK_IGNORED,    /* by a .gitignore: any of these, or a directory with all it holds */
    GLM_WALK_UNREADABLE, /* any of these, or a directory; errno says why */
} glm_walk_kind;

typedef struct glm_walk_entry {
    const char *path;   /* from where the program runs: the directory as given, and below */
    const char *inside; /* the same below the directory */
    const char *name;   /* the last part of both */
    glm_walk_kind kind;
} glm_walk_entry;

/* Called once for each file, link or other thing, never for a directory that is read; the entry is
 * valid during the call. Not RT_OK ends the walk. */
typedef rt_status glm_walk_visit(void *context, const glm_walk_entry *entry);

typedef enum glm_walk_of {
    GLM_WALK_OF_FILES,
    GLM_WALK_OF_SOURCES /* honours .gitignore */
} glm_walk_of;

/* Visit what is below `dir`: entries of a directory by their names' bytes, a subdirectory where its
 * own name stands. Hidden names (".git", ".cache") are passed over with what they hold, as a
 * shell's * does. Links are visited, never entered; `dir` itself may be one.
 *
 * Errors: RT_EIO  `dir` cannot be read; as glm_gitignore_open; what visit() returned */
RT_MUST_CHECK rt_status glm_walk(
        const char *dir, glm_walk_of of, glm_walk_visit *visit, void *context);

#endif

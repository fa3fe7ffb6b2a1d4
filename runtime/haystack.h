/* Haystacks: the long text that needles are hidden in. */
#ifndef GLM_HAYSTACK_H
#define GLM_HAYSTACK_H

#include "base/status.h"

typedef struct glm_haystack {
    char *text; /* UTF-8 as found, NUL-terminated */
    int64_t n_bytes;
    char sha256[65];  /* of the text, hex; of one made here, of its first 64 KiB */
    bool is_built_in; /* made here, not read */
} glm_haystack;

/* The texts of files and directories, one after the other: *.txt, *.md, *.jsonl and documents of a directory and its
 * subdirectories in sorted order, the "text" of each line of a *.jsonl file, or else its "context", any other file whole.
 * With n_paths 0: at least bytes_min of made-up English prose, the same for the same seed; no
 * digits in it, full stops often, lines that begin like nothing a needle or question begins with.
 *
 * Errors: RT_EIO     a path cannot be read, or a directory holds no text
 *         RT_EUSAGE  a JSONL line without a "text" or "context" string, with file and line */
RT_MUST_CHECK rt_status glm_haystack_load(
        const char *const *paths, int n_paths, uint64_t seed, int64_t bytes_min, glm_haystack *out);
void glm_haystack_free(glm_haystack *haystack);

#endif

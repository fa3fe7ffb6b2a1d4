/* What pattern_parse.c makes of an expression, and pattern.c makes an automaton of. */
#ifndef GLM_PATTERN_INSIDE_H
#define GLM_PATTERN_INSIDE_H

#include "pattern.h"

enum { GLM_PATTERN_BYTES = 4096, GLM_PATTERN_NONE = -1, GLM_CODE_POINT_MAX = 0x10ffff };

/* Code points [first, last]. */
typedef struct glm_char_range {
    int32_t first, last;
} glm_char_range;

/* Ranges [first, first + n) of the tree's. */
typedef struct glm_char_set {
    int32_t first, n;
} glm_char_set;

typedef enum glm_part_kind {
    GLM_PART_EMPTY,
    GLM_PART_SET,    /* one character of it */
    GLM_PART_ALL,    /* children, one behind the other */
    GLM_PART_ANY,    /* one of the children */
    GLM_PART_REPEAT, /* the child, least to most times */
    GLM_PART_BEGIN,  /* ^ */
    GLM_PART_END     /* $ */
} glm_part_kind;

typedef struct glm_part {
    glm_part_kind kind;
    int32_t set;
    int32_t least, most; /* most GLM_PATTERN_NONE: no bound */
    int32_t child, next; /* the first child, and what its parent has behind it */
    int32_t last;        /* the last child */
} glm_part;

/* An expression, read. Zero-initialised; all arrays are for free(). */
typedef struct glm_pattern_tree {
    glm_part *parts;
    int64_t n_parts, parts_room;
    glm_char_set *sets; /* no two alike */
    int64_t n_sets, sets_room;
    glm_char_range *ranges; /* of a set ascending, none next to another */
    int64_t n_ranges, ranges_room;
    int32_t root;
} glm_pattern_tree;

/* RT_EUSAGE, RT_ENOMEM; glm_pattern_tree_free() also after those. */
RT_MUST_CHECK rt_status glm_pattern_parse(
        const char *expression, const char *where, glm_pattern_tree *tree);
void glm_pattern_tree_free(glm_pattern_tree *tree);

/* The number of the set of the n ranges, in any order, which are changed; or of all but those. RT_ENOMEM.
 * (pattern_sets.c) */
RT_MUST_CHECK rt_status glm_pattern_add_set(
        glm_pattern_tree *tree, glm_char_range *ranges, int64_t n, bool is_negated, int32_t *set);

#endif

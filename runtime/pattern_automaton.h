/* The automaton of a pattern: states, and classes of characters that it does not tell apart. */
#ifndef GLM_PATTERN_AUTOMATON_H
#define GLM_PATTERN_AUTOMATON_H

#include "pattern_inside.h"

enum { GLM_PATTERN_DEAD = 0xffff, GLM_PATTERN_CLASSES = 256 };

/* Characters of one class. */
typedef struct glm_char_piece {
    int32_t first, last;
    int32_t class_;
} glm_char_piece;

struct glm_pattern {
    glm_char_piece *
            pieces; /* ascending; all characters that are written as glm_pattern_take() takes them */
    int64_t n_pieces, pieces_room;
    int32_t n_classes;
    int32_t n_states; /* 0 is the first */
    uint16_t *
            table; /* [n_states][n_classes]: the next state; GLM_PATTERN_DEAD where no string goes on */
    uint8_t *is_final; /* [n_states] */
};

/* The pieces and classes for the sets of a tree. `has`: [n_sets][GLM_PATTERN_CLASSES], whether a set has a class; new, for
 * free(). */
RT_MUST_CHECK rt_status glm_pattern_classify(const glm_pattern_tree *tree, const char *where,
        glm_pattern_budget *budget, glm_pattern *out, uint8_t **has);
/* States, table and finals of the strings that have a match; nothing is said yet of what leads nowhere. */
RT_MUST_CHECK rt_status glm_pattern_determine(const glm_pattern_tree *tree, const uint8_t *has,
        const char *where, glm_pattern_budget *budget, glm_pattern *out);

/* Spend n steps, or be refused. */
RT_MUST_CHECK rt_status glm_pattern_spend(
        glm_pattern_budget *budget, int64_t n_steps, const char *where);

#endif

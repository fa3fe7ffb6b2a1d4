/* Patterns that strings of JSON are kept to byte by byte: regular expressions as JSON Schema has them
 * (ECMA-262, of which one match anywhere in the string is enough), of which automata are made.
 *
 *   a . [a-z] [^a-z]        characters, of classes too
 *   \d \D \w \W \s \S       also in classes
 *   \t \n \r \f \v \0 \xHH \uHHHH \u{H...} \cX, and \ before what is no letter and no digit
 *   ( ) (?: ) (?<name> )    groups
 *   |                       one or the other
 *   * + ? {n} {n,} {n,m}    repetition; a ? behind it changes nothing
 *   ^ $                     anywhere
 *
 * Everything else is refused by name: what looks around, \b, back references, \p, \k. So is what would take
 * more time or memory than the budget, however it is written.
 *
 * Stricter than JSON: characters stand for themselves, with escapes only of " \ / \b \f \n \r \t. */
#ifndef GLM_PATTERN_H
#define GLM_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct glm_pattern glm_pattern;

/* What is left to spend on patterns; shared by those of a schema. */
typedef struct glm_pattern_budget {
    int64_t n_steps; /* of making automata */
    int64_t n_cells; /* of their tables, two bytes each */
} glm_pattern_budget;

/* About a tenth of a second, and two megabytes. */
static const glm_pattern_budget glm_pattern_budget_full = {30000000, 1000000};

/* An automaton of the strings of `least` to `most` characters (INT64_MAX: no bound) that the expression has a match in.
 *
 *   where  its place, for the message: "pattern at #/properties/a"
 *
 * Errors: RT_EUSAGE  the expression is none, or none of the above; too large; no string is left
 *         RT_ENOMEM */
RT_MUST_CHECK rt_status glm_pattern_compile(const char *expression, const char *where,
        int64_t least, int64_t most, glm_pattern_budget *budget, glm_pattern **out);
/* Accepts NULL. */
void glm_pattern_free(glm_pattern *pattern);

/* Where a string is: zero behind its opening quote. A plain value. */
typedef int64_t glm_pattern_place;

/* One more byte between the quotes, of JSON that is right so far. False: no string of the pattern goes on so. */
bool glm_pattern_take(const glm_pattern *pattern, glm_pattern_place *place, uint8_t byte);
/* The closing quote may follow. */
bool glm_pattern_is_whole(const glm_pattern *pattern, glm_pattern_place place);

#endif

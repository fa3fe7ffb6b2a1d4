/* JSON as it is written, byte by byte: whether a text can still become one JSON object. What a strict
 * parser takes, bounded: nesting of at most GLM_JSON_DEPTH, and no endless white space. A state is a plain
 * value: a copy of it tries bytes out. Source: RFC 8259. */
#ifndef GLM_JSON_STATE_H
#define GLM_JSON_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum { GLM_JSON_DEPTH = 32, GLM_JSON_SPACES = 128 };

/* Zero: nothing is written yet. */
typedef struct glm_json_state {
    int place;           /* what may come next: json_state.c */
    int depth;           /* of open arrays and objects */
    uint32_t objects;    /* bit i: the one at depth i + 1 is an object */
    bool is_key;         /* the open string is a name */
    const char *literal; /* what is left of true, false, null */
    int n_left;          /* hex digits of an escape, or bytes of a character */
    unsigned code;       /* of the escape */
    uint8_t low, high;   /* bounds of the character's next byte */
    int n_spaces;        /* in a row */
} glm_json_state;

/* One more byte. False: no JSON object goes on like that, and the state is of no use any more. */
bool glm_json_take(glm_json_state *state, uint8_t byte);
/* Where the next byte stands. Between tokens (up to GLM_JSON_BEHIND) it may be white space. */
typedef enum glm_json_place {
    GLM_JSON_VALUE, /* a value's first, or the end of an array that is empty */
    GLM_JSON_NAME,  /* a name's first, or the end of an object that is empty */
    GLM_JSON_COLON,
    GLM_JSON_BEHIND, /* behind a value: a comma, or the end of what is open */
    GLM_JSON_IN_NAME,
    GLM_JSON_IN_STRING,
    GLM_JSON_IN_NUMBER, /* or behind one */
    GLM_JSON_IN_LITERAL,
    GLM_JSON_END /* the object is whole */
} glm_json_place;
glm_json_place glm_json_where(const glm_json_state *state);
/* The next byte begins a character of a string, an escape of one too, or ends the string. */
bool glm_json_is_between_characters(const glm_json_state *state);
/* What is open last is an array. */
bool glm_json_is_in_array(const glm_json_state *state);
/* The object is whole: only white space may follow. */
bool glm_json_is_whole(const glm_json_state *state);

#endif

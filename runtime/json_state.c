#include "json_state.h"

#include <string.h>

/* BEGIN is zero. */
enum place {
    BEGIN,        /* the object */
    VALUE,        /* a value, behind a colon or a comma */
    FIRST_VALUE,  /* a value, or the array's end */
    FIRST_NAME,   /* a name, or the object's end */
    NAME,         /* a name, behind a comma */
    COLON,        /* behind a name */
    BEHIND_VALUE, /* a comma, or the end of what is open */
    STRING,
    CHARACTER, /* of several bytes, in a string */
    ESCAPE,
    HEX,
    LOW_ESCAPE, /* the second half of a surrogate pair: its backslash, */
    LOW_U,      /* and its u */
    LITERAL,
    MINUS,
    ZERO, /* a number's integer is 0 */
    INTEGER,
    POINT,
    FRACTION,
    EXPONENT, /* behind e */
    EXPONENT_SIGN,
    EXPONENT_DIGITS,
    WHOLE
};

static bool is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}

static bool go(glm_json_state *state, enum place place) {
    state->place = place;
    return true;
}

static bool is_in_object(const glm_json_state *state) {
    return state->objects >> (state->depth - 1) & 1u;
}

/* ---- structure ------------------------------------------------------------------------------- */

static bool open(glm_json_state *state, bool is_object) {
    if (state->depth == GLM_JSON_DEPTH) return false;
    const uint32_t bit = UINT32_C(1) << state->depth++;
    state->objects = is_object ? state->objects | bit : state->objects & ~bit;
    return go(state, is_object ? FIRST_NAME : FIRST_VALUE);
}

static bool close(glm_json_state *state, bool is_object) {
    if (is_in_object(state) != is_object) return false;
    return go(state, --state->depth == 0 ? WHOLE : BEHIND_VALUE);
}

static bool begin_string(glm_json_state *state, bool is_key) {
    state->is_key = is_key;
    return go(state, STRING);
}

static bool begin_literal(glm_json_state *state, const char *rest) {
    state->literal = rest;
    return go(state, LITERAL);
}

static bool take_value(glm_json_state *state, uint8_t byte) {
    switch (byte) {
    case '{':
        return open(state, true);
    case '[':
        return open(state, false);
    case '"':
        return begin_string(state, false);
    case 't':
        return begin_literal(state, "rue");
    case 'f':
        return begin_literal(state, "alse");
    case 'n':
        return begin_literal(state, "ull");
    case '-':
        return go(state, MINUS);
    case '0':
        return go(state, ZERO);
    default:
        return is_digit(byte) && go(state, INTEGER);
    }
}

static bool take_behind_value(glm_json_state *state, uint8_t byte) {
    if (byte == '}' || byte == ']') return close(state, byte == '}');
    return byte == ',' && go(state, is_in_object(state) ? NAME : VALUE);
}

/* ---- strings --------------------------------------------------------------------------------- */

/* The first of a character's bytes, none of which is overlong, a surrogate's or beyond U+10FFFF. */
static bool begin_character(glm_json_state *state, uint8_t byte) {
    if (byte < 0xc2 || byte > 0xf4) return false;
    state->n_left = 1 + (byte >= 0xe0) + (byte >= 0xf0);
    state->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    state->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return go(state, CHARACTER);
}

static bool take_character(glm_json_state *state, uint8_t byte) {
    if (byte < state->low || byte > state->high) return false;
    state->low = 0x80;
    state->high = 0xbf;
    return --state->n_left > 0 || go(state, STRING);
}

static bool take_string(glm_json_state *state, uint8_t byte) {
    if (byte == '"') return go(state, state->is_key ? COLON : BEHIND_VALUE);
    if (byte == '\\') return go(state, ESCAPE);
    if (byte < 0x20) return false;
    return byte < 0x80 || begin_character(state, byte);
}

static bool begin_hex(glm_json_state *state, unsigned high_half) {
    state->n_left = 4;
    state->code = high_half << 16;
    return go(state, HEX);
}

static bool take_escape(glm_json_state *state, uint8_t byte) {
    if (byte == 'u') return begin_hex(state, 0);
    return byte && strchr("\"\\/bfnrt", byte) && go(state, STRING);
}

/* code: the first half of a pair, if any, in its upper 16 bits. No NUL, and no half alone. */
static bool end_hex(glm_json_state *state) {
    const unsigned unit = state->code & 0xffffu;
    const bool is_low = unit >= 0xdc00 && unit <= 0xdfff;
    if (state->code >> 16) return is_low && go(state, STRING);
    if (unit >= 0xd800 && unit <= 0xdbff) return go(state, LOW_ESCAPE);
    return !is_low && unit != 0 && go(state, STRING);
}

/* Whether what is left can make a whole escape of it: of a pair both halves, and each at its place. */
static bool is_hex_on_its_way(const glm_json_state *state) {
    const unsigned unit = state->code & 0xffffu;
    if (state->n_left == 3 && state->code >> 16) return unit == 0xd;
    if (state->n_left == 2) return (unit >= 0xdc && unit <= 0xdf) == (state->code >> 16 != 0);
    return true;
}

static bool take_hex(glm_json_state *state, uint8_t byte) {
    const uint8_t lower = byte | 0x20;
    unsigned digit = 0;
    if (is_digit(byte))
        digit = (unsigned)(byte - '0');
    else if (lower >= 'a' && lower <= 'f')
        digit = 10u + (unsigned)(lower - 'a');
    else
        return false;
    state->code = (state->code & 0xffff0000u) | ((state->code << 4 | digit) & 0xffffu);
    return --state->n_left > 0 ? is_hex_on_its_way(state) : end_hex(state);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* What follows one belongs to what it is in. */
static bool end_number(glm_json_state *state, uint8_t byte) {
    (void)go(state, BEHIND_VALUE);
    state->n_spaces = 0;
    return glm_json_take(state, byte);
}

static bool take_number(glm_json_state *state, uint8_t byte) {
    const enum place place = (enum place)state->place;
    const bool is_exponent = byte == 'e' || byte == 'E';
    switch (place) {
    case MINUS:
        return is_digit(byte) && go(state, byte == '0' ? ZERO : INTEGER);
    case ZERO:
    case INTEGER:
        if (is_digit(byte)) return place == INTEGER;
        if (byte == '.') return go(state, POINT);
        return is_exponent ? go(state, EXPONENT) : end_number(state, byte);
    case POINT:
        return is_digit(byte) && go(state, FRACTION);
    case FRACTION:
        if (is_digit(byte)) return true;
        return is_exponent ? go(state, EXPONENT) : end_number(state, byte);
    case EXPONENT:
        if (byte == '+' || byte == '-') return go(state, EXPONENT_SIGN);
        return is_digit(byte) && go(state, EXPONENT_DIGITS);
    case EXPONENT_SIGN:
        return is_digit(byte) && go(state, EXPONENT_DIGITS);
    default:
        return is_digit(byte) || end_number(state, byte);
    }
}

/* ---- all ------------------------------------------------------------------------------------- */

static bool is_between_tokens(const glm_json_state *state) {
    return state->place <= BEHIND_VALUE || state->place == WHOLE;
}

bool glm_json_take(glm_json_state *state, uint8_t byte) {
    if (is_between_tokens(state)) {
        const bool is_space = byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
        if (is_space) return ++state->n_spaces <= GLM_JSON_SPACES;
        state->n_spaces = 0;
    }
    switch ((enum place)state->place) {
    case BEGIN:
        return byte == '{' && open(state, true);
    case VALUE:
        return take_value(state, byte);
    case FIRST_VALUE:
        return byte == ']' ? close(state, false) : take_value(state, byte);
    case FIRST_NAME:
        return byte == '}' ? close(state, true) : byte == '"' && begin_string(state, true);
    case NAME:
        return byte == '"' && begin_string(state, true);
    case COLON:
        return byte == ':' && go(state, VALUE);
    case BEHIND_VALUE:
        return take_behind_value(state, byte);
    case STRING:
        return take_string(state, byte);
    case CHARACTER:
        return take_character(state, byte);
    case ESCAPE:
        return take_escape(state, byte);
    case HEX:
        return take_hex(state, byte);
    case LOW_ESCAPE:
        return byte == '\\' && go(state, LOW_U);
    case LOW_U:
        return byte == 'u' && begin_hex(state, 1);
    case LITERAL:
        if (byte != (uint8_t)*state->literal) return false;
        return *++state->literal || go(state, BEHIND_VALUE);
    case WHOLE:
        return false;
    default:
        return take_number(state, byte);
    }
}

bool glm_json_is_whole(const glm_json_state *state) {
    return state->place == WHOLE;
}

bool glm_json_is_between_characters(const glm_json_state *state) {
    return state->place == STRING;
}

bool glm_json_is_in_array(const glm_json_state *state) {
    return state->depth > 0 && !is_in_object(state);
}

glm_json_place glm_json_where(const glm_json_state *state) {
    const enum place place = (enum place)state->place;
    if (place <= FIRST_VALUE) return GLM_JSON_VALUE;
    if (place <= NAME) return GLM_JSON_NAME;
    if (place == COLON) return GLM_JSON_COLON;
    if (place == BEHIND_VALUE) return GLM_JSON_BEHIND;
    if (place < LITERAL) return state->is_key ? GLM_JSON_IN_NAME : GLM_JSON_IN_STRING;
    if (place == LITERAL) return GLM_JSON_IN_LITERAL;
    return place == WHOLE ? GLM_JSON_END : GLM_JSON_IN_NUMBER;
}

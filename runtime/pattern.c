/* Patterns: compiled, bounded in length, and followed byte by byte.
 *
 * A place is one number:
 *
 *   bits  0..15   the state
 *   bits 16..36   what came of a character of several bytes
 *   bits 37..38   how many of its bytes are left
 *   bit  39       behind a backslash */
#include "pattern.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "pattern_automaton.h"

/* ---- lengths --------------------------------------------------------------------------------- */

/* State q after n characters is n * n_states + q; beyond `least` none counts where there is no `most`. */
static rt_status bound_length(glm_pattern *p, const char *where, int64_t least, int64_t most,
        glm_pattern_budget *budget) {
    const bool has_most = most < INT64_MAX;
    const int64_t n_counts = (has_most ? most : least) + 1;
    const int64_t row = p->n_classes;
    const int64_t old = p->n_states;
    uint16_t *table = NULL;
    uint8_t *is_final = NULL;
    if (n_counts > GLM_PATTERN_DEAD / old || n_counts * old * row > budget->n_cells)
        return rt_fail(RT_EUSAGE,
                "schema: %s with that minLength or maxLength is too large, with the patterns before "
                "it",
                where);
    budget->n_cells -= n_counts * old * row;
    RT_TRY(rt_calloc(n_counts * old, 1, "a pattern", &is_final));
    const rt_status status = rt_calloc(n_counts * old * row, sizeof *table, "a pattern", &table);
    for (int64_t n = 0; n < n_counts && status == RT_OK; n++) {
        const int64_t next = has_most ? n + 1 : rt_min64(n + 1, n_counts - 1);
        for (int64_t i = 0; i < old * row; i++)
            table[n * old * row + i] = next == n_counts || p->table[i] == GLM_PATTERN_DEAD
                                               ? (uint16_t)GLM_PATTERN_DEAD
                                               : (uint16_t)(next * old + p->table[i]);
        for (int64_t q = 0; q < old; q++) is_final[n * old + q] = p->is_final[q] && n >= least;
    }
    free(p->table);
    free(p->is_final);
    p->table = table;
    p->is_final = is_final;
    p->n_states = (int32_t)(n_counts * old);
    return status;
}

/* ---- what leads nowhere ---------------------------------------------------------------------- */

static bool leads_on(const glm_pattern *p, const uint8_t *is_live, int64_t state) {
    for (int64_t c = 0; c < p->n_classes; c++) {
        const uint16_t next = p->table[state * p->n_classes + c];
        if (next != GLM_PATTERN_DEAD && is_live[next]) return true;
    }
    return false;
}

/* From the last state to the first, as most go on to later ones, until none is found any more. */
static rt_status find_live(
        const glm_pattern *p, const char *where, glm_pattern_budget *budget, uint8_t *is_live) {
    memcpy(is_live, p->is_final, (size_t)p->n_states);
    for (bool has_changed = true; has_changed;) {
        has_changed = false;
        RT_TRY(glm_pattern_spend(budget, (int64_t)p->n_states * p->n_classes, where));
        for (int64_t i = p->n_states - 1; i >= 0; i--) {
            if (is_live[i] || !leads_on(p, is_live, i)) continue;
            is_live[i] = 1;
            has_changed = true;
        }
    }
    return RT_OK;
}

static rt_status trim(glm_pattern *p, const char *where, glm_pattern_budget *budget) {
    uint8_t *is_live = NULL;
    RT_TRY(rt_calloc(p->n_states, 1, "a pattern", &is_live));
    rt_status status = find_live(p, where, budget, is_live);
    for (int64_t i = 0; i < (int64_t)p->n_states * p->n_classes && status == RT_OK; i++)
        if (p->table[i] != GLM_PATTERN_DEAD && !is_live[p->table[i]])
            p->table[i] = GLM_PATTERN_DEAD;
    if (status == RT_OK && !is_live[0])
        status = rt_fail(RT_EUSAGE, "schema: %s leaves no string", where);
    free(is_live);
    return status;
}

/* ---- compiling ------------------------------------------------------------------------------- */

static rt_status compile(const char *expression, const char *where, int64_t least, int64_t most,
        glm_pattern_budget *budget, glm_pattern_tree *tree, uint8_t **has, glm_pattern *out) {
    RT_TRY(glm_pattern_parse(expression, where, tree));
    RT_TRY(glm_pattern_classify(tree, where, budget, out, has));
    RT_TRY(glm_pattern_determine(tree, *has, where, budget, out));
    if (least > 0 || most < INT64_MAX) RT_TRY(bound_length(out, where, least, most, budget));
    return trim(out, where, budget);
}

rt_status glm_pattern_compile(const char *expression, const char *where, int64_t least,
        int64_t most, glm_pattern_budget *budget, glm_pattern **out) {
    glm_pattern_tree tree = {0};
    uint8_t *has = NULL;
    glm_pattern *pattern = NULL;
    *out = NULL;
    RT_TRY(rt_calloc(1, sizeof *pattern, "a pattern", &pattern));
    const rt_status status = compile(expression, where, least, most, budget, &tree, &has, pattern);
    glm_pattern_tree_free(&tree);
    free(has);
    if (status == RT_OK)
        *out = pattern;
    else
        glm_pattern_free(pattern);
    return status;
}

void glm_pattern_free(glm_pattern *pattern) {
    if (!pattern) return;
    free(pattern->pieces);
    free(pattern->table);
    free(pattern->is_final);
    free(pattern);
}

/* ---- following ------------------------------------------------------------------------------- */

enum { CODE_AT = 16, CODE_BITS = 21, LEFT_AT = 37, ESCAPE_AT = 39 };

/* The first piece that ends at `code` or behind it. */
static int64_t find_piece(const glm_pattern *p, int32_t code) {
    int64_t low = 0;
    int64_t high = p->n_pieces;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (p->pieces[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint16_t next_of(const glm_pattern *p, uint16_t state, const glm_char_piece *piece) {
    return p->table[(int64_t)state * p->n_classes + piece->class_];
}

/* One of these characters may come. */
static bool may_come(const glm_pattern *p, uint16_t state, int32_t first, int32_t last) {
    for (int64_t i = find_piece(p, first); i < p->n_pieces && p->pieces[i].first <= last; i++)
        if (next_of(p, state, &p->pieces[i]) != GLM_PATTERN_DEAD) return true;
    return false;
}

static bool take_character(
        const glm_pattern *p, uint16_t state, int32_t code, glm_pattern_place *place) {
    const int64_t i = find_piece(p, code);
    if (i == p->n_pieces || p->pieces[i].first > code) return false;
    *place = next_of(p, state, &p->pieces[i]);
    return *place != GLM_PATTERN_DEAD;
}

/* Escapes of one letter, and what they say. */
static const char escape_letters[] = "\"\\/bfnrt";
static const char escaped[] = "\"\\/\b\f\n\r\t";

static bool take_escaped(
        const glm_pattern *p, uint16_t state, uint8_t byte, glm_pattern_place *place) {
    const char *letter = byte ? strchr(escape_letters, byte) : NULL;
    return letter && take_character(p, state, escaped[letter - escape_letters], place);
}

static bool begin_escape(const glm_pattern *p, uint16_t state, glm_pattern_place *place) {
    *place = (INT64_C(1) << ESCAPE_AT) | state;
    for (const char *c = escaped; *c; c++)
        if (may_come(p, state, *c, *c)) return true;
    return false;
}

/* Of a character of which `code` came, n_left bytes are to come. */
static bool take_part(
        const glm_pattern *p, uint16_t state, int32_t code, int n_left, glm_pattern_place *place) {
    static const int32_t least[] = {
            0, 0x80, 0x800, 0x10000}; /* with so many bytes behind the first */
    if (n_left == 0) return take_character(p, state, code, place);
    const int32_t first = code << (6 * n_left);
    const int32_t last = first | ((1 << (6 * n_left)) - 1);
    *place = ((glm_pattern_place)n_left << LEFT_AT) | ((glm_pattern_place)code << CODE_AT) | state;
    return may_come(p, state, (int32_t)rt_max64(first, least[n_left]), last);
}

bool glm_pattern_take(const glm_pattern *pattern, glm_pattern_place *place, uint8_t byte) {
    const uint16_t state = (uint16_t)(*place & 0xffff);
    const int32_t code = (int32_t)(*place >> CODE_AT & ((1 << CODE_BITS) - 1));
    const int n_left = (int)(*place >> LEFT_AT & 3);
    if (*place >> ESCAPE_AT) return take_escaped(pattern, state, byte, place);
    if (n_left > 0) return take_part(pattern, state, code << 6 | (byte & 0x3f), n_left - 1, place);
    if (byte == '\\') return begin_escape(pattern, state, place);
    if (byte < 0x80) return byte >= ' ' && take_character(pattern, state, byte, place);
    if (byte < 0xe0) return take_part(pattern, state, byte & 0x1f, 1, place);
    if (byte < 0xf0) return take_part(pattern, state, byte & 0x0f, 2, place);
    return take_part(pattern, state, byte & 0x07, 3, place);
}

bool glm_pattern_is_whole(const glm_pattern *pattern, glm_pattern_place place) {
    return place <= 0xffff && pattern->is_final[place];
}

/* Threads that read a text by a schema, side by side: one for each alternative that is still possible. What is
 * JSON at all json_state.c knows; a thread knows what is open, and ends where the schema has it otherwise.
 *
 *   a value begins    begin_value   a thread for each alternative that begins so
 *   an enum's value   follow_value  narrows the values that begin with what came
 *   a name            follow_name   narrows the names; at its end, what its value is bound to
 *   , ] }             behind_value  whether there may be more, or an end
 *   what is bounded   keeps_within  whether it may be longer, or over
 *
 * A thread that goes on can come to its end: names are begun, and objects opened, only where there is a value
 * flat enough for what depth is left. */
#include <stddef.h>
#include <string.h>

#include "base/size.h"
#include "schema_inside.h"

/* A test builds this file so that a comma may follow the last item. */
#ifndef GLM_MUTANT_ENDLESS_ITEMS
#define GLM_MUTANT_ENDLESS_ITEMS 0
#endif

typedef struct reader {
    const glm_schema *schema;
    glm_schema_state *out;
    glm_json_place before; /* where the byte stands */
    glm_json_place after;
    bool is_between_characters; /* of a string, before the byte */
    bool is_item;               /* what begins */
    uint8_t byte;
} reader;

/* ---- threads --------------------------------------------------------------------------------- */

static bool is_same(const glm_schema_thread *a, const glm_schema_thread *b) {
    if (a->node != b->node || a->lo != b->lo || a->hi != b->hi || a->pos != b->pos ||
            a->depth != b->depth || a->is_literal != b->is_literal || a->is_free != b->is_free ||
            a->is_integer != b->is_integer || a->is_bounded != b->is_bounded ||
            a->is_negative != b->is_negative || a->has_point != b->has_point ||
            a->n_whole != b->n_whole || a->n_fraction != b->n_fraction || a->so_far != b->so_far)
        return false;
    for (int i = 0; i < a->depth; i++)
        if (a->frames[i].node != b->frames[i].node || a->frames[i].seen != b->frames[i].seen)
            return false;
    return true;
}

static void copy_thread(glm_schema_thread *to, const glm_schema_thread *from) {
    const size_t n_bytes =
            offsetof(glm_schema_thread, frames) + (size_t)from->depth * sizeof from->frames[0];
    memcpy(to, from, n_bytes);
}

/* It goes on; two that are the same, as one. Beyond the bound the later alternatives are given up. */
static void keep(reader *r, const glm_schema_thread *thread) {
    glm_schema_state *out = r->out;
    for (int i = 0; i < out->n_threads; i++)
        if (is_same(&out->threads[i], thread)) return;
    if (out->n_threads < GLM_SCHEMA_THREADS) copy_thread(&out->threads[out->n_threads++], thread);
}

static const glm_schema_node *node_at(const reader *r, int index) {
    return &r->schema->nodes[index];
}

static bool fits(const reader *r, int node, int depth) {
    return node != GLM_SCHEMA_NONE && depth + node_at(r, node)->depth <= GLM_JSON_DEPTH;
}

/* Nothing counts any more of the value that is over. */
static void forget(glm_schema_thread *thread) {
    thread->node = thread->lo = thread->hi = thread->pos = 0;
    thread->is_literal = thread->is_free = thread->is_integer = false;
    thread->is_bounded = thread->is_negative = thread->has_point = false;
    thread->n_whole = thread->n_fraction = 0;
    thread->so_far = 0;
}

static void end_value(reader *r, glm_schema_thread *thread) {
    forget(thread);
    keep(r, thread);
}

/* ---- values of an enum ----------------------------------------------------------------------- */

static bool is_number(const char *text) {
    return *text == '-' || (*text >= '0' && *text <= '9');
}

/* Those of [lo, hi) whose byte at pos is this one: they stand together, as all before it is the same. */
static bool narrow(const reader *r, const char *const *texts, glm_schema_thread *thread) {
    while (thread->lo < thread->hi && (uint8_t)texts[thread->lo][thread->pos] != r->byte)
        thread->lo++;
    int16_t end = thread->lo;
    while (end < thread->hi && (uint8_t)texts[end][thread->pos] == r->byte) end++;
    thread->hi = end;
    thread->pos++;
    return thread->lo < end;
}

/* Only behind its last byte is a number whole. */
static void follow_value(reader *r, glm_schema_thread *thread) {
    const glm_schema_node *node = node_at(r, thread->node);
    if (!narrow(r, (const char *const *)node->values, thread)) return;
    const char *text = node->values[thread->lo];
    if (text[thread->pos] == '\0' && !is_number(text))
        end_value(r, thread);
    else
        keep(r, thread);
}

/* The number under way is over. False: it is none of the values. */
static bool end_number(const reader *r, glm_schema_thread *thread) {
    if (!thread->is_literal) return true;
    const char *text = node_at(r, thread->node)->values[thread->lo];
    if (!is_number(text)) return true; /* one inside of an object or array */
    const bool is_whole = text[thread->pos] == '\0';
    forget(thread);
    return is_whole;
}

/* ---- what is bounded ------------------------------------------------------------------------- */

static bool is_string_within(const reader *r, glm_schema_thread *thread) {
    const glm_schema_bounds *bounds = &node_at(r, thread->node)->bounds;
    const glm_pattern *pattern = node_at(r, thread->node)->pattern;
    const bool is_end = r->is_between_characters && r->byte == '"';
    if (pattern)
        return is_end ? glm_pattern_is_whole(pattern, thread->so_far)
                      : glm_pattern_take(pattern, &thread->so_far, r->byte);
    if (!r->is_between_characters) return true;
    if (r->byte == '"') return thread->so_far >= bounds->least_length;
    return ++thread->so_far <= bounds->most_length;
}

static bool is_integer_within(const reader *r, glm_schema_thread *thread) {
    const glm_schema_bounds *bounds = &node_at(r, thread->node)->bounds;
    if (r->after != GLM_JSON_IN_NUMBER)
        return glm_schema_is_in_range(bounds, thread->is_negative, thread->so_far);
    const int64_t digit = r->byte - '0';
    if (digit < 0 || digit > 9 || !rt_checked_mul(thread->so_far, 10, &thread->so_far) ||
            !rt_checked_add(thread->so_far, digit, &thread->so_far))
        return false;
    return glm_schema_begins_in_range(bounds, thread->is_negative, thread->so_far);
}

static bool is_number_within(const reader *r, glm_schema_thread *thread) {
    const glm_schema_decimals *decimals = node_at(r, thread->node)->bounds.decimals;
    const bool is_over = r->after != GLM_JSON_IN_NUMBER;
    const int64_t digit = r->byte - '0';
    if (!is_over && r->byte == '.') {
        thread->has_point = true;
    } else if (!is_over) {
        if (digit < 0 || digit > 9 || thread->n_whole + thread->n_fraction == GLM_SCHEMA_DIGITS)
            return false;
        thread->so_far = thread->so_far * 10 + digit;
        thread->n_fraction = (int8_t)(thread->n_fraction + thread->has_point);
        thread->n_whole = (int8_t)(thread->n_whole + !thread->has_point);
    }
    const glm_schema_number n = {.digits = thread->so_far,
            .n_whole = thread->n_whole,
            .n_fraction = thread->n_fraction,
            .is_negative = thread->is_negative,
            .has_point = thread->has_point};
    return is_over ? glm_schema_is_decimal(decimals, &n) : glm_schema_begins_decimal(decimals, &n);
}

/* What came of the value, with this byte, is within its bounds, or can come to be. */
static bool keeps_within(const reader *r, glm_schema_thread *thread) {
    if (r->before == GLM_JSON_IN_STRING) return is_string_within(r, thread);
    return thread->is_integer ? is_integer_within(r, thread) : is_number_within(r, thread);
}

static bool can_be_negative(const glm_schema_thread *thread, const glm_schema_bounds *bounds) {
    if (!thread->is_integer) return glm_schema_decimal_can_begin(bounds->decimals, true);
    for (int64_t digit = 0; digit < 10 && bounds->minimum < 0; digit++)
        if (glm_schema_begins_in_range(bounds, true, digit)) return true;
    return false;
}

/* The value that begins is bounded, if its node has bounds. */
static bool bind(const reader *r, glm_schema_thread *thread, int index) {
    const glm_schema_bounds *bounds = &node_at(r, index)->bounds;
    const bool is_string = r->byte == '"';
    const bool is_number = r->after == GLM_JSON_IN_NUMBER;
    if (is_string)
        thread->is_bounded = node_at(r, index)->pattern || glm_schema_has_length(bounds);
    else if (is_number)
        thread->is_bounded = thread->is_integer ? bounds->has_range : bounds->decimals != NULL;
    if (!thread->is_bounded) return true;
    thread->node = (int16_t)index;
    if (is_string) return true;
    thread->is_negative = r->byte == '-';
    return thread->is_negative ? can_be_negative(thread, bounds) : keeps_within(r, thread);
}

/* One more item; beyond what is asked of their number none counts. */
static bool add_item(const reader *r, glm_schema_thread *thread) {
    glm_schema_frame *frame = &thread->frames[thread->depth - 1];
    const glm_schema_bounds *bounds = &node_at(r, frame->node)->bounds;
    const bool has_most = bounds->most_items < INT64_MAX;
    if (has_most && (int64_t)frame->seen >= bounds->most_items) return false;
    if (has_most || (int64_t)frame->seen < bounds->least_items) frame->seen++;
    return true;
}

/* ---- values ---------------------------------------------------------------------------------- */

static unsigned types_of(uint8_t byte) {
    switch (byte) {
    case '{':
        return GLM_TYPE_OBJECT;
    case '[':
        return GLM_TYPE_ARRAY;
    case '"':
        return GLM_TYPE_STRING;
    case 't':
    case 'f':
        return GLM_TYPE_BOOLEAN;
    case 'n':
        return GLM_TYPE_NULL;
    default:
        return GLM_TYPE_NUMBER | GLM_TYPE_INTEGER;
    }
}

static void open(reader *r, glm_schema_thread *thread, int index) {
    const glm_schema_node *node = node_at(r, index);
    const int flattest = r->byte == '{' ? node->object_depth : node->array_depth;
    if (thread->depth + flattest > GLM_JSON_DEPTH) return;
    thread->frames[thread->depth++] = (glm_schema_frame){.node = (int16_t)index};
    thread->node = (int16_t)(r->byte == '[' ? node->items : GLM_SCHEMA_ANY);
    keep(r, thread);
}

static void begin_value(reader *r, glm_schema_thread *thread, int index) {
    const glm_schema_node *node = node_at(r, index);
    glm_schema_thread next;
    if (!fits(r, index, thread->depth)) return;
    for (int i = 0; i < node->n_any; i++) begin_value(r, thread, node->any[i]);
    if (node->n_any > 0) return;
    copy_thread(&next, thread);
    next.node = (int16_t)index;
    if (node->n_values > 0) {
        next.is_literal = true;
        next.lo = next.pos = 0;
        next.hi = (int16_t)node->n_values;
        follow_value(r, &next);
    } else if (node->types & types_of(r->byte)) {
        next.is_integer = r->after == GLM_JSON_IN_NUMBER && !(node->types & GLM_TYPE_NUMBER);
        next.node = GLM_SCHEMA_ANY;
        if (r->byte == '{' || r->byte == '[')
            open(r, &next, index);
        else if (bind(r, &next, index))
            keep(r, &next);
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

/* One of the names from lo to hi may still come. */
static bool has_name(const reader *r, const glm_schema_thread *thread, int lo, int hi) {
    const glm_schema_frame *frame = &thread->frames[thread->depth - 1];
    const glm_schema_node *node = node_at(r, frame->node);
    for (int i = lo; i < hi; i++)
        if (!(frame->seen >> i & 1U) && fits(r, node->names[i].node, thread->depth)) return true;
    return false;
}

static bool takes_other_names(const reader *r, const glm_schema_thread *thread) {
    return fits(r, node_at(r, thread->frames[thread->depth - 1].node)->additional, thread->depth);
}

static void begin_name(reader *r, glm_schema_thread *thread) {
    const glm_schema_node *node = node_at(r, thread->frames[thread->depth - 1].node);
    thread->lo = thread->pos = 0;
    thread->hi = (int16_t)node->n_names;
    thread->is_free = takes_other_names(r, thread);
    if (thread->is_free || has_name(r, thread, 0, node->n_names)) keep(r, thread);
}

/* What its value is bound to. */
static void end_name(reader *r, glm_schema_thread *thread) {
    glm_schema_frame *frame = &thread->frames[thread->depth - 1];
    const glm_schema_node *node = node_at(r, frame->node);
    const int i = thread->lo;
    const bool is_listed = i < thread->hi && node->names[i].text[thread->pos] == '\0';
    if (is_listed && (frame->seen >> i & 1U)) return;
    if (!is_listed && !thread->is_free) return;
    const int value = is_listed ? node->names[i].node : node->additional;
    if (!fits(r, value, thread->depth)) return;
    if (is_listed) frame->seen |= UINT64_C(1) << i;
    thread->lo = thread->hi = thread->pos = 0;
    thread->is_free = false;
    thread->node = (int16_t)value;
    keep(r, thread);
}

static void follow_name(reader *r, glm_schema_thread *thread) {
    const glm_schema_node *node = node_at(r, thread->frames[thread->depth - 1].node);
    if (r->after == GLM_JSON_COLON) {
        end_name(r, thread);
        return;
    }
    if (r->byte == '\\' && node->n_names > 0) thread->is_free = false;
    while (thread->lo < thread->hi && (uint8_t)node->names[thread->lo].text[thread->pos] != r->byte)
        thread->lo++;
    int16_t end = thread->lo;
    while (end < thread->hi && (uint8_t)node->names[end].text[thread->pos] == r->byte) end++;
    thread->hi = end;
    if (thread->lo == end) /* it is none of them */
        thread->lo = thread->hi = thread->pos = 0;
    else
        thread->pos++;
    if (thread->is_free || has_name(r, thread, thread->lo, thread->hi)) keep(r, thread);
}

/* ---- behind a value -------------------------------------------------------------------------- */

static void close_object(reader *r, glm_schema_thread *thread) {
    const glm_schema_frame *frame = &thread->frames[thread->depth - 1];
    if (node_at(r, frame->node)->required & ~frame->seen) return;
    thread->depth--;
    end_value(r, thread);
}

static void close_array(reader *r, glm_schema_thread *thread) {
    const glm_schema_frame *frame = &thread->frames[thread->depth - 1];
    if ((int64_t)frame->seen < node_at(r, frame->node)->bounds.least_items) return;
    thread->depth--;
    end_value(r, thread);
}

static bool takes_more_items(const reader *r, const glm_schema_thread *thread) {
    const glm_schema_frame *frame = &thread->frames[thread->depth - 1];
    return (int64_t)frame->seen < node_at(r, frame->node)->bounds.most_items;
}

static void behind_value(reader *r, glm_schema_thread *thread) {
    const glm_schema_node *node = node_at(r, thread->frames[thread->depth - 1].node);
    if (r->byte == '}') {
        close_object(r, thread);
    } else if (r->byte == ']') {
        close_array(r, thread);
    } else if (r->byte != ',') { /* white space behind a number */
        end_value(r, thread);
    } else if (r->after == GLM_JSON_VALUE) {
        thread->node = (int16_t)node->items;
        if (takes_more_items(r, thread) || GLM_MUTANT_ENDLESS_ITEMS) keep(r, thread);
    } else if (takes_other_names(r, thread) || has_name(r, thread, 0, node->n_names)) {
        thread->node = 0;
        keep(r, thread);
    }
}

/* ---- all ------------------------------------------------------------------------------------- */

static void follow(reader *r, glm_schema_thread *thread) {
    const bool ends_number = r->before == GLM_JSON_IN_NUMBER && r->after != GLM_JSON_IN_NUMBER;
    if (thread->is_bounded && !keeps_within(r, thread)) return;
    if (ends_number && !end_number(r, thread)) return;
    if (thread->is_literal) {
        follow_value(r, thread);
    } else if (ends_number) {
        forget(thread);
        behind_value(r, thread);
    } else if (r->before == GLM_JSON_VALUE && r->byte == ']') {
        behind_value(r, thread);
    } else if (r->before == GLM_JSON_VALUE) {
        if (r->is_item && !add_item(r, thread)) return;
        begin_value(r, thread, thread->depth > 0 ? thread->node : r->schema->root);
    } else if (r->before == GLM_JSON_NAME) {
        if (r->byte == '}')
            close_object(r, thread);
        else
            begin_name(r, thread);
    } else if (r->before == GLM_JSON_IN_NAME) {
        follow_name(r, thread);
    } else if (r->before == GLM_JSON_BEHIND) {
        behind_value(r, thread);
    } else if (r->before == GLM_JSON_IN_NUMBER && thread->is_integer &&
               (r->byte < '0' || r->byte > '9')) {
        return;
    } else if (r->after == GLM_JSON_BEHIND) {
        end_value(r, thread);
    } else {
        keep(r, thread);
    }
}

static bool is_space(uint8_t byte) {
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

bool glm_schema_take(
        const glm_schema *schema, glm_schema_state *state, glm_json_state *json, uint8_t byte) {
    glm_schema_state next;
    reader r = {.schema = schema,
            .out = &next,
            .before = glm_json_where(json),
            .is_between_characters = glm_json_is_between_characters(json),
            .is_item = glm_json_is_in_array(json),
            .byte = byte};
    next.n_threads = 0;
    if (state->n_threads == 0) { /* nothing came yet */
        memset(&state->threads[0], 0, sizeof state->threads[0]);
        state->n_threads = 1;
    }
    if (!glm_json_take(json, byte)) return false;
    r.after = glm_json_where(json);
    const bool is_between =
            (r.before <= GLM_JSON_BEHIND || r.before == GLM_JSON_END) && is_space(byte);
    for (int i = 0; i < state->n_threads; i++) {
        if (!is_between)
            follow(&r, &state->threads[i]);
        else if (!state->threads[i].is_literal)
            keep(&r, &state->threads[i]);
    }
    state->n_threads = next.n_threads;
    for (int i = 0; i < next.n_threads; i++) copy_thread(&state->threads[i], &next.threads[i]);
    return next.n_threads > 0;
}

/* Bounds of arrays, of strings' lengths and of integers: read, and of integers kept to digit by digit. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "schema_inside.h"

const glm_schema_bounds glm_schema_unbounded = {.most_items = INT64_MAX,
        .most_length = INT64_MAX,
        .minimum = -INT64_MAX,
        .maximum = INT64_MAX,
        .step = 1};

/* ---- reading --------------------------------------------------------------------------------- */

static const char *const range_keys[] = {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};

bool glm_schema_bounds_key(const char *key) {
    static const char *const keys[] = {"minItems", "maxItems", "minLength", "maxLength"};
    bool is_one = strcmp(key, "multipleOf") == 0;
    for (int i = 0; i < 4; i++)
        is_one = is_one || strcmp(key, keys[i]) == 0 || strcmp(key, range_keys[i]) == 0;
    return is_one;
}

static rt_status read_count(
        const json_t *source, const char *key, const char *where, int64_t *count) {
    const json_t *value = json_object_get(source, key);
    if (!value) return RT_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return rt_fail(
                RT_EUSAGE, "schema: %s at %s must be an integer, and not negative", key, where);
    *count = json_integer_value(value);
    return RT_OK;
}

/* Two counts, of which the first is no more than the second. */
static rt_status read_counts(const json_t *source, const char *least_key, const char *most_key,
        const char *where, int64_t *least, int64_t *most) {
    RT_TRY(read_count(source, least_key, where, least));
    RT_TRY(read_count(source, most_key, where, most));
    if (*least > *most)
        return rt_fail(RT_EUSAGE, "schema: %s at %s is more than %s", least_key, where, most_key);
    return RT_OK;
}

/* The integer next to the number, of those that are not beyond it; one further where the number itself is
 * excluded. `step`: 1 of a lower bound, -1 of an upper one. */
static rt_status read_integer(const json_t *value, const char *key, const char *where, int step,
        bool is_excluded, int64_t *out) {
    const double real = json_is_real(value) ? json_real_value(value) : 0.0;
    const double rounded = step > 0 ? ceil(real) : floor(real);
    if (!json_is_number(value) || fabs(real) > 0x1p53)
        return rt_fail(
                RT_EUSAGE, "schema: %s at %s must be a number of at most 64 bits", key, where);
    int64_t bound = json_is_real(value) ? (int64_t)rounded : json_integer_value(value);
    if (is_excluded && (json_is_integer(value) || rounded == real) &&
            !rt_checked_add(bound, step, &bound))
        return rt_fail(RT_EUSAGE, "schema: %s at %s leaves no integer of 64 bits", key, where);
    *out = step > 0 ? rt_max64(*out, bound) : rt_min64(*out, bound);
    return RT_OK;
}

/* Some integer is left, of either sign. */
static bool has_integer(const glm_schema_bounds *bounds) {
    for (int64_t digit = 0; digit < 10; digit++)
        if (glm_schema_begins_in_range(bounds, false, digit) ||
                glm_schema_begins_in_range(bounds, true, digit))
            return true;
    return false;
}

static rt_status read_integers(const json_t *source, const char *where, glm_schema_bounds *bounds) {
    const char *last = "multipleOf";
    RT_TRY(glm_schema_read_integer_step(source, where, &bounds->step));
    bounds->has_range = bounds->step > 1;
    for (int i = 0; i < 4; i++) {
        const json_t *value = json_object_get(source, range_keys[i]);
        const bool is_upper = i % 2 == 1;
        if (!value) continue;
        last = range_keys[i];
        bounds->has_range = true;
        RT_TRY(read_integer(value, last, where, is_upper ? -1 : 1, i >= 2,
                is_upper ? &bounds->maximum : &bounds->minimum));
    }
    if (has_integer(bounds)) return RT_OK;
    return rt_fail(RT_EUSAGE, "schema: %s at %s leaves no integer", last, where);
}

/* Of integers alone, or of all numbers. */
static rt_status read_range(
        const json_t *source, const char *where, unsigned types, glm_schema_bounds *bounds) {
    bool has_one = json_object_get(source, "multipleOf") != NULL;
    for (int i = 0; i < 4; i++) has_one = has_one || json_object_get(source, range_keys[i]) != NULL;
    if (!has_one) return RT_OK;
    if (!(types & GLM_TYPE_NUMBER)) return read_integers(source, where, bounds);
    RT_TRY(rt_calloc(1, sizeof *bounds->decimals, "bounds", &bounds->decimals));
    return glm_schema_read_decimals(source, where, bounds->decimals);
}

rt_status glm_schema_read_bounds(
        const json_t *source, const char *where, unsigned types, glm_schema_bounds *bounds) {
    RT_TRY(read_counts(
            source, "minItems", "maxItems", where, &bounds->least_items, &bounds->most_items));
    RT_TRY(read_counts(
            source, "minLength", "maxLength", where, &bounds->least_length, &bounds->most_length));
    return read_range(source, where, types, bounds);
}

/* ---- keeping to them ------------------------------------------------------------------------- */

bool glm_schema_has_length(const glm_schema_bounds *bounds) {
    return bounds->least_length > 0 || bounds->most_length < INT64_MAX;
}

/* A multiple of the step is in [least, most], of which neither is negative. */
static bool has_multiple(const glm_schema_bounds *bounds, int64_t least, int64_t most) {
    return least <= most && most / bounds->step * bounds->step >= least;
}

/* What digits may make behind a minus, or without one: [*least, *most]. Empty: false. */
static bool range_of(
        const glm_schema_bounds *bounds, bool is_negative, int64_t *least, int64_t *most) {
    *least = rt_max64(is_negative ? -bounds->maximum : bounds->minimum, 0);
    *most = is_negative ? -bounds->minimum : bounds->maximum;
    return *least <= *most;
}

bool glm_schema_is_in_range(const glm_schema_bounds *bounds, bool is_negative, int64_t digits) {
    int64_t least = 0;
    int64_t most = 0;
    return range_of(bounds, is_negative, &least, &most) && digits >= least && digits <= most &&
           digits % bounds->step == 0;
}

/* With some more digits it is one of [low, high]. */
bool glm_schema_begins_in_range(const glm_schema_bounds *bounds, bool is_negative, int64_t digits) {
    int64_t least = 0;
    int64_t most = 0;
    if (!range_of(bounds, is_negative, &least, &most)) return false;
    for (int64_t low = digits, high = digits; low <= most;) {
        if (has_multiple(bounds, rt_max64(low, least), rt_min64(high, most))) return true;
        if (low == 0 || !rt_checked_mul(low, 10, &low)) return false;
        if (!rt_checked_mul(high, 10, &high) || !rt_checked_add(high, 9, &high)) high = INT64_MAX;
    }
    return false;
}

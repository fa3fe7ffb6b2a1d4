/* Bounds of arrays, strings and integers: read, and kept to digit by digit. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "schema_inside.h"

const glm_schema_bounds glm_schema_unbounded = {.most_items = INT64_MAX,
        .most_length = INT64_MAX,
        .minimum = -INT64_MAX,
        .maximum = INT64_MAX};

/* ---- reading --------------------------------------------------------------------------------- */

static const char *const range_keys[] = {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};

bool glm_schema_bounds_key(const char *key) {
    static const char *const keys[] = {"minItems", "maxItems", "minLength", "maxLength"};
    bool is_one = false;
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

static rt_status read_range(
        const json_t *source, const char *where, unsigned types, glm_schema_bounds *bounds) {
    const char *last = "minimum";
    for (int i = 0; i < 4; i++) {
        const json_t *value = json_object_get(source, range_keys[i]);
        const bool is_upper = i % 2 == 1;
        if (!value) continue;
        last = range_keys[i];
        bounds->has_range = true;
        if (types & GLM_TYPE_NUMBER)
            return rt_fail(RT_EUSAGE,
                    "schema: \"%s\" at %s is not supported, but of integers alone: its type allows "
                    "other numbers",
                    last, where);
        RT_TRY(read_integer(value, last, where, is_upper ? -1 : 1, i >= 2,
                is_upper ? &bounds->maximum : &bounds->minimum));
    }
    if (bounds->minimum > bounds->maximum)
        return rt_fail(RT_EUSAGE, "schema: %s at %s leaves no integer", last, where);
    return RT_OK;
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

/* What digits may make behind a minus, or without one: [*least, *most]. Empty: false. */
static bool range_of(
        const glm_schema_bounds *bounds, bool is_negative, int64_t *least, int64_t *most) {
    *least = is_negative ? -bounds->maximum : rt_max64(bounds->minimum, 0);
    *most = is_negative ? -bounds->minimum : bounds->maximum;
    return *least <= *most;
}

bool glm_schema_is_in_range(const glm_schema_bounds *bounds, bool is_negative, int64_t digits) {
    int64_t least = 0;
    int64_t most = 0;
    return range_of(bounds, is_negative, &least, &most) && digits >= least && digits <= most;
}

/* With some more digits it is one of [low, high]. */
bool glm_schema_begins_in_range(const glm_schema_bounds *bounds, bool is_negative, int64_t digits) {
    int64_t least = 0;
    int64_t most = 0;
    if (!range_of(bounds, is_negative, &least, &most)) return false;
    for (int64_t low = digits, high = digits; low <= most;) {
        if (high >= least) return true;
        if (low == 0 || !rt_checked_mul(low, 10, &low)) return false;
        if (!rt_checked_mul(high, 10, &high) || !rt_checked_add(high, 9, &high)) high = INT64_MAX;
    }
    return false;
}

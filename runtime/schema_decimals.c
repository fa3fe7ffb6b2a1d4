/* Bounds of numbers that need not be integers. A bounded number is written without an exponent, with at most 15 digits
 * before and behind the point: so many are told apart by a double, too, and a bound, in the fewest digits that say it,
 * is compared with them exactly.
 *
 * With k digits behind the point a number is an integer, N, of 10^-k: for every k it is known which N there are. */
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "schema_inside.h"

static const int64_t limit = INT64_C(1000000000000000); /* 10^15: more than any N */

/* ---- reading --------------------------------------------------------------------------------- */

/* value 10^exponent */
typedef struct decimal {
    int64_t value;
    int64_t exponent;
} decimal;

/* What a text of JSON's says, which has at most 19 digits that count. */
static decimal parse(const char *text) {
    decimal d = {0};
    const bool is_negative = *text == '-';
    bool is_behind_point = false;
    for (text += is_negative; *text && *text != 'e' && *text != 'E'; text++) {
        if (*text == '.') {
            is_behind_point = true;
        } else if (!is_behind_point || *text != '0' || strspn(text, "0") < strcspn(text, "eE")) {
            d.value = d.value * 10 + (*text - '0');
            d.exponent -= is_behind_point;
        } else {
            break; /* nothing but zeros behind the point */
        }
    }
    text += strcspn(text, "eE");
    if (*text) d.exponent += strtoll(text + 1, NULL, 10);
    if (is_negative) d.value = -d.value;
    return d;
}

/* The largest integer that is not above d 10^k, but within the limit; whether it is that. */
static int64_t floor_of(decimal d, int k, bool *is_exact) {
    int64_t value = d.value < 0 ? -d.value : d.value;
    int64_t n = d.exponent + k;
    *is_exact = true;
    for (; n > 0 && value > 0 && value < limit; n--) value *= 10;
    for (; n < 0 && value > 0; n++) {
        *is_exact = *is_exact && value % 10 == 0;
        value /= 10;
    }
    value = rt_min64(value, limit);
    return d.value < 0 ? -value - !*is_exact : value;
}

static rt_status read_decimal(
        const json_t *value, const char *key, const char *where, decimal *out) {
    char *text = json_is_number(value) ? glm_schema_text_of(value) : NULL;
    if (!json_is_number(value))
        return rt_fail(RT_EUSAGE, "schema: %s at %s must be a number", key, where);
    if (!text) return rt_fail(RT_ENOMEM, "schema: no memory");
    *out = parse(text);
    free(text);
    return RT_OK;
}

static void bound(glm_schema_decimals *d, decimal by, bool is_upper, bool is_excluded) {
    for (int k = 0; k < GLM_SCHEMA_DIGITS; k++) {
        bool is_exact = false;
        const int64_t below = floor_of(by, k, &is_exact);
        if (is_upper)
            d->most[k] = rt_min64(d->most[k], below - (is_exact && is_excluded));
        else
            d->least[k] = rt_max64(d->least[k], below + (!is_exact || is_excluded));
    }
}

/* The least N above 0 that is a multiple of `of`, with k digits behind the point; no more than the limit. */
static int64_t step_of(decimal of, int k) {
    int64_t value = of.value;
    int64_t n = of.exponent + k;
    for (; n > 0 && value < limit; n--) value *= 10;
    for (int64_t twos = n; twos < 0 && value % 2 == 0; twos++) value /= 2;
    for (int64_t fives = n; fives < 0 && value % 5 == 0; fives++) value /= 5;
    return rt_min64(value, limit);
}

static rt_status read_step(const json_t *value, const char *where, decimal *of) {
    RT_TRY(read_decimal(value, "multipleOf", where, of));
    if (of->value > 0) return RT_OK;
    return rt_fail(RT_EUSAGE, "schema: multipleOf at %s must be more than 0", where);
}

rt_status glm_schema_read_integer_step(const json_t *source, const char *where, int64_t *step) {
    const json_t *value = json_object_get(source, "multipleOf");
    decimal of = {0};
    if (!value) return RT_OK;
    RT_TRY(read_step(value, where, &of));
    for (; of.exponent > 0 && rt_checked_mul(of.value, 10, &of.value); of.exponent--) continue;
    for (int64_t twos = of.exponent; twos < 0 && of.value % 2 == 0; twos++) of.value /= 2;
    for (int64_t fives = of.exponent; fives < 0 && of.value % 5 == 0; fives++) of.value /= 5;
    *step = of.exponent > 0 ? INT64_MAX : of.value;
    return RT_OK;
}

rt_status glm_schema_read_decimals(
        const json_t *source, const char *where, glm_schema_decimals *out) {
    static const char *const keys[] = {
            "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
    const json_t *multiple = json_object_get(source, "multipleOf");
    decimal by = {0};
    for (int k = 0; k < GLM_SCHEMA_DIGITS; k++) {
        out->least[k] = -limit;
        out->most[k] = limit;
        out->step[k] = 1;
    }
    for (int i = 0; i < 4; i++) {
        const json_t *value = json_object_get(source, keys[i]);
        if (!value) continue;
        RT_TRY(read_decimal(value, keys[i], where, &by));
        bound(out, by, i % 2 == 1, i >= 2);
    }
    if (multiple) RT_TRY(read_step(multiple, where, &by));
    for (int k = 0; multiple && k < GLM_SCHEMA_DIGITS; k++) out->step[k] = step_of(by, k);
    if (glm_schema_decimal_can_begin(out, false) || glm_schema_decimal_can_begin(out, true))
        return RT_OK;
    return rt_fail(RT_EUSAGE, "schema: the bounds at %s leave no number of at most %d digits",
            where, GLM_SCHEMA_DIGITS);
}

/* ---- keeping to them ------------------------------------------------------------------------- */

static int64_t power_of_ten(int n) {
    int64_t power = 1;
    for (; n > 0; n--) power *= 10;
    return power;
}

/* One of [first, last], with k digits behind the point, is within the bounds. */
static bool has_one(
        const glm_schema_decimals *d, bool is_negative, int k, int64_t first, int64_t last) {
    const int64_t least = is_negative ? -d->most[k] : d->least[k];
    const int64_t most = is_negative ? -d->least[k] : d->most[k];
    first = rt_max64(first, rt_max64(least, 0));
    last = rt_min64(last, most);
    return first <= last && last / d->step[k] * d->step[k] >= first;
}

bool glm_schema_is_decimal(const glm_schema_decimals *d, const glm_schema_number *n) {
    return has_one(d, n->is_negative, n->n_fraction, n->digits, n->digits);
}

/* It is enough to look at as many digits as there can be: with fewer there is nothing that those have not. */
bool glm_schema_begins_decimal(const glm_schema_decimals *d, const glm_schema_number *n) {
    if (n->has_point) {
        const int k = GLM_SCHEMA_DIGITS - n->n_whole;
        if (k < 1 || n->n_fraction > k) return false;
        const int64_t more = power_of_ten(k - n->n_fraction);
        return has_one(d, n->is_negative, k, n->digits * more, n->digits * more + more - 1);
    }
    for (int n_whole = n->n_whole; n_whole <= GLM_SCHEMA_DIGITS; n_whole++) {
        const int64_t more = power_of_ten(GLM_SCHEMA_DIGITS - n->n_whole);
        if (has_one(d, n->is_negative, GLM_SCHEMA_DIGITS - n_whole, n->digits * more,
                    n->digits * more + more - 1))
            return true;
        if (n->digits == 0) return false; /* nothing but a point follows a zero */
    }
    return false;
}

bool glm_schema_decimal_can_begin(const glm_schema_decimals *d, bool is_negative) {
    if (is_negative && d->least[GLM_SCHEMA_DIGITS - 1] >= 0) return false; /* -0 is none */
    for (int digit = 0; digit < 10; digit++) {
        const glm_schema_number n = {.digits = digit, .n_whole = 1, .is_negative = is_negative};
        if (glm_schema_begins_decimal(d, &n)) return true;
    }
    return false;
}

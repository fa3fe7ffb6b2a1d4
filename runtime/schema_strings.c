/* What strings are to be like: a pattern, or a format, which is one that is known by name. */
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "schema_inside.h"

/* ---- formats --------------------------------------------------------------------------------- */

/* Source: RFC 3339, section 5.6, but for leap seconds, and "t" and "z"; of February 29 those years that have one. */
#define DATE                                                                            \
    "(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|" \
    "02-(0[1-9]|1\\d|2[0-8]))|"                                                         \
    "(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
#define TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d+)?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
/* RFC 3339, appendix A */
#define OF_TIME "T(\\d+S|\\d+M(\\d+S)?|\\d+H(\\d+M(\\d+S)?)?)"
#define OF_DATE "(\\d+D|\\d+M(\\d+D)?|\\d+Y(\\d+M(\\d+D)?)?)"
/* RFC 1123, section 2.1 */
#define LABEL "[0-9A-Za-z]([-0-9A-Za-z]{0,61}[0-9A-Za-z])?"
#define HOST  LABEL "(\\." LABEL ")*"
/* RFC 5321, section 4.1.2, without quotes: at most 64 characters, or 32 and the points between them, and a host of at
 * most six labels of at most 30: in all no more than the 254 of section 4.5.3.1.3. */
#define ATOM        "[-0-9A-Za-z!#$%&'*+/=?^_`{|}~]"
#define LOCAL       "(" ATOM "{1,64}|" ATOM "(\\.?" ATOM "){0,31})"
#define SHORT_LABEL "[0-9A-Za-z]([-0-9A-Za-z]{0,28}[0-9A-Za-z])?"
#define OCTET       "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4        OCTET "(\\." OCTET "){3}"
/* RFC 3986, section 3.2.2 */
#define H16  "[0-9A-Fa-f]{1,4}"
#define LS32 "(" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                      \
    "((" H16 ":){6}" LS32 "|::(" H16 ":){5}" LS32 "|(" H16 ")?::(" H16 ":){4}" LS32 "|((" H16     \
    ":)?" H16 ")?::(" H16 ":){3}" LS32 "|((" H16 ":){0,2}" H16 ")?::(" H16 ":){2}" LS32 "|((" H16 \
    ":){0,3}" H16 ")?::" H16 ":" LS32 "|((" H16 ":){0,4}" H16 ")?::" LS32 "|((" H16 ":){0,5}" H16 \
    ")?::" H16 "|((" H16 ":){0,6}" H16 ")?::)"

typedef struct format {
    const char *name;
    const char *expression;
    int64_t most; /* characters */
} format;

static const format formats[] = {{"date-time", "^" DATE "T" TIME "$", INT64_MAX},
        {"date", "^" DATE "$", INT64_MAX}, {"time", "^" TIME "$", INT64_MAX},
        {"duration", "^P(\\d+W|" OF_TIME "|" OF_DATE "(" OF_TIME ")?)$", INT64_MAX},
        {"uuid", "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$", INT64_MAX},
        {"ipv4", "^" IPV4 "$", INT64_MAX}, {"ipv6", "^" IPV6 "$", INT64_MAX},
        {"hostname", "^" HOST "$", 253},
        {"email", "^" LOCAL "@" SHORT_LABEL "(\\." SHORT_LABEL "){0,5}$", INT64_MAX}};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static rt_status find_format(const json_t *value, const char *where, const format **out) {
    const char *name = json_string_value(value);
    for (int i = 0; i < N_FORMATS; i++) {
        *out = &formats[i];
        if (name && strcmp(formats[i].name, name) == 0) return RT_OK;
    }
    return rt_fail(RT_EUSAGE,
            "schema: format \"%.40s\" at %s is not supported: date-time, date, time, duration, uuid, "
            "ipv4, ipv6, hostname and email are",
            name ? name : "", where);
}

/* ---- both ------------------------------------------------------------------------------------ */

bool glm_schema_strings_key(const char *key) {
    return strcmp(key, "pattern") == 0 || strcmp(key, "format") == 0;
}

rt_status glm_schema_read_strings(const json_t *source, const char *where,
        glm_pattern_budget *budget, glm_schema_node *node) {
    const json_t *pattern = json_object_get(source, "pattern");
    const json_t *name = json_object_get(source, "format");
    const glm_schema_bounds *bounds = &node->bounds;
    format by = {.name = "pattern", .most = INT64_MAX};
    char place[240];
    if (pattern && name)
        return rt_fail(
                RT_EUSAGE, "schema: \"format\" beside \"pattern\" at %s is not supported", where);
    if (pattern && !json_is_string(pattern))
        return rt_fail(RT_EUSAGE, "schema: pattern at %s must be a string", where);
    if (name) {
        const format *found = NULL;
        RT_TRY(find_format(name, where, &found));
        by = *found;
    }
    if (pattern) by.expression = json_string_value(pattern);
    if (!by.expression || !(node->types & GLM_TYPE_STRING)) return RT_OK;
    (void)snprintf(place, sizeof place, "%s at %s", by.name, where);
    return glm_pattern_compile(by.expression, place, bounds->least_length,
            rt_min64(bounds->most_length, by.most), budget, &node->pattern);
}

/* A format is kept to exactly: each day of the calendar and no other, times, identifiers and addresses.
 *
 * Method: all month and day numbers of years of every kind beside a calendar; addresses drawn by chance beside the
 * C library's reader; lists by name. Walks along bytes that may follow, of every format, end in what is one. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "help_random.h"
#include "help_schema.h"

static uint64_t state = 7;

static bool is_of(const char *format, const char *text) {
    char source[200];
    char document[400];
    bool is_whole = false;
    glm_schema *schema = NULL;
    (void)snprintf(source, sizeof source, "{\"properties\":{\"n\":{\"format\":\"%s\"}}}", format);
    (void)snprintf(document, sizeof document, "{\"n\":\"%s\"}", text);
    json_t *root = json_loads(source, 0, NULL);
    require(glm_schema_compile(root, &schema), source);
    const bool is_taken = takes(schema, document, &is_whole) && is_whole;
    glm_schema_free(schema);
    json_decref(root);
    return is_taken;
}

static void check_all(const char *format, const char *const *texts, size_t n, bool is_taken) {
    for (size_t i = 0; i < n; i++)
        expect(is_of(format, texts[i]) == is_taken, is_taken ? "not taken" : "taken", texts[i]);
}

#define RIGHT(format, ...)                                \
    check_all(format, (const char *const[]){__VA_ARGS__}, \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), true)
#define WRONG(format, ...)                                \
    check_all(format, (const char *const[]){__VA_ARGS__}, \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), false)

/* ---- one schema for many texts --------------------------------------------------------------- */

static glm_schema *compile(const char *format, json_t **root) {
    glm_schema *schema = NULL;
    *root = json_pack("{s:{s:{s:s}}, s:[s], s:b}", "properties", "n", "format", format, "required",
            "n", "additionalProperties", 0);
    require(glm_schema_compile(*root, &schema), format);
    return schema;
}

static bool is_date(int year, int month, int day) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1) return false;
    return day <= days[month - 1] + (month == 2 && is_leap);
}

static void check_calendar(void) {
    static const int years[] = {1900, 1904, 1996, 2000, 2001, 2004, 2023, 2024, 2096, 2100, 2400};
    json_t *root = NULL;
    glm_schema *schema = compile("date", &root);
    for (size_t i = 0; i < sizeof years / sizeof *years; i++)
        for (int month = 0; month <= 13; month++)
            for (int day = 0; day <= 32; day++) {
                char text[80];
                bool is_whole = false;
                (void)snprintf(
                        text, sizeof text, "{\"n\":\"%04d-%02d-%02d\"}", years[i], month, day);
                expect(takes(schema, text, &is_whole) == is_date(years[i], month, day), "date",
                        text);
            }
    glm_schema_free(schema);
    json_decref(root);
}

/* Parts of an address, one behind the other. */
static void draw_address(char text[100]) {
    static const char *const parts[] = {
            ":", ":", ":", ":", "::", "0", "1f", "ABCD", "12345", "1.2.3.4", "256.1.1.1", "g"};
    text[0] = '\0';
    for (int64_t n = 1 + random_below(&state, 16); n > 0; n--)
        strcat(text, parts[random_below(&state, random_below(&state, 8) ? 8 : 12)]);
}

static void check_addresses(void) {
    json_t *root = NULL;
    glm_schema *schema = compile("ipv6", &root);
    int n_right = 0;
    for (int i = 0; i < 100000; i++) {
        char address[100];
        char text[120];
        unsigned char bytes[16];
        bool is_whole = false;
        draw_address(address);
        (void)snprintf(text, sizeof text, "{\"n\":\"%s\"}", address);
        const bool is_right = inet_pton(AF_INET6, address, bytes) == 1;
        n_right += is_right;
        expect(takes(schema, text, &is_whole) == is_right, is_right ? "not taken" : "taken", text);
    }
    expect(n_right > 500, "enough addresses", "");
    glm_schema_free(schema);
    json_decref(root);
}

/* ---- walks ----------------------------------------------------------------------------------- */

static bool is_address(int family, const char *text) {
    unsigned char bytes[16];
    return inet_pton(family, text, bytes) == 1;
}

/* What can be said of a text that was let through, by other means than the schema's. */
static bool is_right(const char *format, const char *text) {
    int year = 0;
    int month = 0;
    int day = 0;
    if (strcmp(format, "ipv4") == 0) return is_address(AF_INET, text);
    if (strcmp(format, "ipv6") == 0) return is_address(AF_INET6, text);
    if (strncmp(format, "date", 4) == 0)
        return sscanf(text, "%4d-%2d-%2d", &year, &month, &day) == 3 && is_date(year, month, day);
    if (strcmp(format, "hostname") == 0) return strlen(text) <= 253 && !strstr(text, "..");
    if (strcmp(format, "email") == 0) return strlen(text) <= 254 && strchr(text, '@') - text <= 64;
    return strlen(text) > 2;
}

static void walk(const char *format) {
    json_t *root = NULL;
    glm_schema *schema = compile(format, &root);
    binding b = {.schema = schema};
    char text[600] = "{\"n\":\"";
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        expect(glm_schema_take(schema, &b.by_schema, &b.json, (uint8_t)text[i]), "begin", text);
    while (n < sizeof text - 1) {
        uint8_t allowed[256];
        int n_allowed = 0;
        for (int byte = 1; byte < 256; byte++)
            if (byte != '"' && byte != '\\' && may_follow(&b, (uint8_t)byte))
                allowed[n_allowed++] = (uint8_t)byte;
        const bool can_end = may_follow(&b, '"');
        if (can_end && (n > 60 || n_allowed == 0 || random_below(&state, 4) == 0)) break;
        expect(n_allowed > 0, "nothing may follow", text);
        if (n_allowed == 0) break;
        text[n] = (char)allowed[random_below(&state, n_allowed)];
        (void)glm_schema_take(schema, &b.by_schema, &b.json, (uint8_t)text[n++]);
        text[n] = '\0';
    }
    expect(n == sizeof text - 1 || is_right(format, text + 6), "it is none", text);
    glm_schema_free(schema);
    json_decref(root);
}

int main(void) {
    static const char *const formats[] = {
            "date-time", "date", "time", "duration", "uuid", "ipv4", "ipv6", "hostname", "email"};
    check_calendar();
    check_addresses();
    RIGHT("time", "00:00:00Z", "23:59:59.123+05:30", "12:30:00-00:00");
    WRONG("time", "24:00:00Z", "12:60:00Z", "12:00:60Z", "12:00:00", "12:00Z", "12:00:00.Z",
            "12:00:00+24:00", "12:00:00+5:30");
    RIGHT("date-time", "2024-02-29T12:00:00Z", "1999-12-31T23:59:59.5+01:00");
    WRONG("date-time", "2023-02-29T12:00:00Z", "2024-02-29 12:00:00Z", "2024-02-29",
            "2024-2-9T12:00:00Z");
    RIGHT("duration", "P1Y2M3DT4H5M6S", "P4W", "PT36H", "P1Y", "PT1M30S");
    WRONG("duration", "P", "PT", "P1Y1D", "P1W2D", "1D", "PT1H30S", "P1.5D");
    RIGHT("uuid", "123e4567-e89b-12d3-a456-426614174000", "ABCDEFAB-0000-0000-0000-000000000000");
    WRONG("uuid", "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g", "");
    RIGHT("ipv4", "0.0.0.0", "255.255.255.255", "192.168.1.1");
    WRONG("ipv4", "256.0.0.0", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4/8");
    RIGHT("hostname", "a", "example.com", "xn--bcher-kva.example", "1.2.3");
    WRONG("hostname", "", "-a.com", "a-.com", "a..b", "a_b", ".a", "a.");
    RIGHT("email", "ada@example.com", "a.b+c@sub.example.org", "x@y");
    WRONG("email", "ada", "@example.com", "a@", ".a@b.c", "a..b@c", "a@b@c", "a b@c", "a@-b");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        for (int k = 0; k < 5; k++) walk(formats[i]);
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}

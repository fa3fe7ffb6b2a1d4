#include "wildcard.h"

#include <ctype.h>
#include <string.h>

#include "base/status.h"

enum { TEXT_MAX = 8192 };

/* Where in the text one may be with the glob read so far: in front of text[i], 0 <= i <= n_text. */
typedef struct spots {
    const char *text;
    int n_text;
    bool is_at[TEXT_MAX + 1];
} spots;

/* Characters that are as good. */
typedef struct set {
    bool has[256];
} set;

/* ---- steps ----------------------------------------------------------------------------------- */

/* Over one character; false: nowhere is one. */
static bool take_character(spots *s, char c) {
    bool is_somewhere = false;
    for (int i = s->n_text; i > 0; i--) {
        s->is_at[i] = s->is_at[i - 1] && s->text[i - 1] == c;
        is_somewhere = is_somewhere || s->is_at[i];
    }
    s->is_at[0] = false;
    return is_somewhere;
}

static bool take_one_of(spots *s, const set *wanted) {
    bool is_somewhere = false;
    for (int i = s->n_text; i > 0; i--) {
        s->is_at[i] = s->is_at[i - 1] && wanted->has[(unsigned char)s->text[i - 1]];
        is_somewhere = is_somewhere || s->is_at[i];
    }
    s->is_at[0] = false;
    return is_somewhere;
}

static void take_any(spots *s, bool with_slashes) {
    for (int i = 0; i < s->n_text; i++)
        if (s->is_at[i] && (with_slashes || s->text[i] != '/')) s->is_at[i + 1] = true;
}

/* Directories, or none. */
static void take_directories(spots *s) {
    bool before[TEXT_MAX + 1];
    const size_t n_bytes = (size_t)s->n_text + 1;
    memcpy(before, s->is_at, n_bytes);
    take_any(s, true);
    (void)take_character(s, '/');
    for (size_t i = 0; i < n_bytes; i++) s->is_at[i] = s->is_at[i] || before[i];
}

/* ---- brackets -------------------------------------------------------------------------------- */

typedef struct named_class {
    const char *name;
    int (*has)(int c);
} named_class;

static const named_class classes[] = {{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank},
        {"cntrl", iscntrl}, {"digit", isdigit}, {"graph", isgraph}, {"lower", islower},
        {"print", isprint}, {"punct", ispunct}, {"space", isspace}, {"upper", isupper},
        {"xdigit", isxdigit}};

/* [:NAME:], `at` being its [. Behind it; `at` itself: it is none; NULL: of no such name, or without end. */
static const char *add_class(const char *at, set *out) {
    const char *name = at + 2;
    const char *end = strchr(name, ']');
    if (!end) return NULL;
    if (end == name || end[-1] != ':') return at;
    const size_t n = (size_t)(end - 1 - name);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strlen(classes[i].name) != n || memcmp(classes[i].name, name, n) != 0) continue;
        for (int c = 0; c < 128; c++)
            if (classes[i].has(c)) out->has[c] = true;
        return end + 1;
    }
    return NULL;
}

/* One character, perhaps behind a \; NULL: the glob ends. */
static const char *read_one(const char *at, unsigned char *c) {
    if (*at == '\\') at++;
    if (*at == '\0') return NULL;
    *c = (unsigned char)*at;
    return at + 1;
}

/* A character, or a range of them. */
static const char *add_range(const char *at, set *out) {
    unsigned char first = 0;
    unsigned char last = 0;
    at = read_one(at, &first);
    if (!at) return NULL;
    last = first;
    if (at[0] == '-' && at[1] != ']' && at[1] != '\0') at = read_one(at + 1, &last);
    out->has[first] = true;
    for (int c = first; c <= last; c++) out->has[c] = true;
    return at;
}

/* `at` is behind the [. Behind the ]; NULL: there is none, or what is inside has no meaning. */
static const char *read_bracket(const char *at, set *out) {
    const bool is_negated = *at == '!' || *at == '^';
    if (is_negated) at++;
    const char *first = at;
    while (*at != ']' || at == first) {
        const char *next = at;
        if (at[0] == '[' && at[1] == ':') next = add_class(at, out);
        if (next == at) next = add_range(at, out);
        if (!next) return NULL;
        at = next;
    }
    for (int c = 0; is_negated && c < 256; c++) out->has[c] = !out->has[c];
    out->has['/'] = false;
    return at + 1;
}

static bool take_bracket(spots *s, const char **at) {
    set wanted = {.has = {false}};
    *at = read_bracket(*at, &wanted);
    return *at && take_one_of(s, &wanted);
}

static bool take_unknown(spots *s) {
    set wanted;
    memset(wanted.has, true, sizeof wanted.has);
    wanted.has['/'] = false;
    return take_one_of(s, &wanted);
}

/* ---- the glob -------------------------------------------------------------------------------- */

/* Where the wildcards begin counts as a name's begin, so that a**\/b is a\/b, too: git's own quirk. */
static const char *take_stars(spots *s, const char *glob, const char *at, bool is_path) {
    const char *end = at + strspn(at, "*");
    const bool is_name = is_path && end - at > 1 && (at == glob || at[-1] == '/');
    if (is_name && *end == '/') {
        take_directories(s);
        return end + 1;
    }
    take_any(s, !is_path || (is_name && (*end == '\0' || strncmp(end, "\\/", 2) == 0)));
    return end;
}

/* All of the text; `glob` begins with a wildcard. */
static bool rest_matches(const char *glob, const char *text, bool is_path) {
    spots s;
    bool is_somewhere = true;
    s.text = text;
    s.n_text = (int)strlen(text);
    rt_assert(s.n_text <= TEXT_MAX);
    memset(s.is_at, false, (size_t)s.n_text + 1);
    s.is_at[0] = true;
    for (const char *at = glob; at && *at && is_somewhere;) {
        const char c = *at;
        if (c == '*') {
            at = take_stars(&s, glob, at, is_path);
            continue;
        }
        at++;
        if (c == '?')
            is_somewhere = take_unknown(&s);
        else if (c == '[')
            is_somewhere = take_bracket(&s, &at);
        else if (c == '\\' && *at == '\0')
            is_somewhere = false;
        else
            is_somewhere = take_character(&s, c == '\\' ? *at++ : c);
    }
    return is_somewhere && s.is_at[s.n_text];
}

bool glm_wildcard_match(const char *glob, const char *text, bool is_path) {
    const size_t n_plain = strcspn(glob, "*?[\\");
    if (strncmp(glob, text, n_plain) != 0) return false;
    if (glob[n_plain] == '\0') return text[n_plain] == '\0';
    return rest_matches(glob + n_plain, text + n_plain, is_path);
}

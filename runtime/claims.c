#include "claims.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A quotation that has no end for so long, or to the paragraph's end, is none. */
enum { QUOTATION_MAX = 8192, NUMBER_MAX = 1000000000 };

typedef struct scan {
    const char *text;
    int64_t n;
    int64_t at;
    int64_t sentence; /* where it began; -1: between sentences */
    bool may_attach;  /* nothing but punctuation since the last claim: a number belongs to it */
    glm_claims *out;
} scan;

static const struct {
    const char *open;
    const char *close;
} marks[] = {{"\"", "\""}, {"\u201c", "\u201d"}, {"\u201e", "\u201c"}, {"\u201e", "\u201d"},
        {"\u00ab", "\u00bb"}, {"\u300c", "\u300d"}, {"\u300e", "\u300f"}};
static const char *const tags[] = {"<statement>", "</statement>", "<cite>", "</cite>"};

static bool begins_with(const scan *s, int64_t at, const char *word) {
    const int64_t n = (int64_t)strlen(word);
    return s->n - at >= n && memcmp(s->text + at, word, (size_t)n) == 0;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* ---- claims ---------------------------------------------------------------------------------- */

static rt_status add(scan *s, glm_claim_kind kind, int64_t begin, int64_t end) {
    glm_claims *out = s->out;
    while (begin < end && is_space(s->text[begin])) begin++;
    while (end > begin && is_space(s->text[end - 1])) end--;
    if (begin == end) return RT_OK;
    RT_TRY(rt_make_room(&out->claims, sizeof *out->claims, out->n_claims, &out->room, "claims"));
    out->claims[out->n_claims++] = (glm_claim){
            .kind = kind, .begin = begin, .end = end, .first_passage = -1, .last_passage = -1};
    s->may_attach = kind != GLM_CLAIM_PASSAGE;
    return RT_OK;
}

/* The sentence up to `end` is over. */
static rt_status end_sentence(scan *s, int64_t end) {
    const int64_t begin = s->sentence;
    s->sentence = -1;
    return begin < 0 ? RT_OK : add(s, GLM_CLAIM_SENTENCE, begin, end);
}

/* ---- what stands at one place ---------------------------------------------------------------- */

static int64_t read_number(const scan *s, int64_t *at) {
    int64_t value = 0;
    const int64_t begin = *at;
    for (; *at < s->n && s->text[*at] >= '0' && s->text[*at] <= '9'; (*at)++) {
        value = 10 * value + (s->text[*at] - '0');
        if (value > NUMBER_MAX) return -1;
    }
    return *at > begin ? value : -1;
}

/* "12]", "3-5]" or "3, 7]" behind a bracket: one number, or range, of the list. */
static bool read_passage(const scan *s, int64_t *at, int64_t *first, int64_t *last) {
    while (*at < s->n && s->text[*at] == ' ') (*at)++;
    *first = *last = read_number(s, at);
    if (*first < 0) return false;
    if (begins_with(s, *at, "-") || begins_with(s, *at, "\u2013")) {
        *at += s->text[*at] == '-' ? 1 : 3;
        *last = read_number(s, at);
    }
    return *last >= *first && *at < s->n && (s->text[*at] == ']' || s->text[*at] == ',');
}

/* Behind the bracket that closes a list of passages; -1: it is none. */
static int64_t passages_end(const scan *s, int64_t at) {
    int64_t first = 0;
    int64_t last = 0;
    do at++;
    while (read_passage(s, &at, &first, &last) && s->text[at] == ',');
    return first >= 0 && at < s->n && s->text[at] == ']' ? at + 1 : -1;
}

/* Behind a sentence or quotation the first number says where it is from; others stand alone. */
static rt_status take_passages(scan *s, int64_t end) {
    int64_t at = s->at;
    RT_TRY(end_sentence(s, s->at));
    do {
        int64_t first = 0;
        int64_t last = 0;
        at++;
        if (!read_passage(s, &at, &first, &last)) break;
        if (!s->may_attach) RT_TRY(add(s, GLM_CLAIM_PASSAGE, s->at, end));
        s->out->claims[s->out->n_claims - 1].first_passage = first;
        s->out->claims[s->out->n_claims - 1].last_passage = last;
        s->may_attach = false;
    } while (s->text[at] == ',');
    s->at = end;
    return RT_OK;
}

/* Where the quotation that is opened at `at` is closed; 0: it is none. */
static int64_t closing(const scan *s, int64_t at, int64_t *mark_bytes, int64_t *close_bytes) {
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (!begins_with(s, at, marks[i].open)) continue;
        *mark_bytes = (int64_t)strlen(marks[i].open);
        *close_bytes = (int64_t)strlen(marks[i].close);
        const int64_t end = s->n - at > QUOTATION_MAX ? at + QUOTATION_MAX : s->n;
        for (int64_t to = at + *mark_bytes; to < end; to++) {
            if (begins_with(s, to, "\n\n")) break;
            if (begins_with(s, to, marks[i].close)) return to;
        }
    }
    return 0;
}

/* Behind code, which may hold marks of its own; 0: there is none here. */
static int64_t code_end(const scan *s, const char *fence) {
    const int64_t n = (int64_t)strlen(fence);
    const bool is_line = n == 1;
    if (!begins_with(s, s->at, fence)) return 0;
    for (int64_t at = s->at + n; at < s->n; at++) {
        if (is_line && s->text[at] == '\n') return 0;
        if (begins_with(s, at, fence)) return at + n;
    }
    return 0;
}

static int64_t line_end(const scan *s, int64_t at) {
    const char *end = memchr(s->text + at, '\n', (size_t)(s->n - at));
    return end ? end - s->text : s->n;
}

/* Lines of code are looked for one by one. */
static rt_status take_fenced(scan *s, int64_t end) {
    RT_TRY(end_sentence(s, s->at));
    for (int64_t at = line_end(s, s->at) + 1; at < end - 3;) {
        int64_t to = line_end(s, at);
        if (to > end - 3) to = end - 3;
        RT_TRY(add(s, GLM_CLAIM_SENTENCE, at, to));
        at = to + 1;
    }
    s->at = end;
    return RT_OK;
}

static bool begins_line(const scan *s) {
    return s->at == 0 || s->text[s->at - 1] == '\n';
}

static rt_status take_quoted_line(scan *s) {
    const int64_t end = line_end(s, s->at);
    RT_TRY(end_sentence(s, s->at));
    RT_TRY(add(s, GLM_CLAIM_QUOTATION, s->at + 1, end));
    s->at = end;
    return RT_OK;
}

static rt_status take_quotation(scan *s, int64_t to, int64_t mark_bytes, int64_t close_bytes) {
    RT_TRY(end_sentence(s, s->at));
    RT_TRY(add(s, GLM_CLAIM_QUOTATION, s->at + mark_bytes, to));
    s->at = to + close_bytes;
    return RT_OK;
}

/* How long the full stop at `at` is; 0: the sentence goes on. */
static int64_t full_stop(const scan *s) {
    static const char *const wide[] = {"\u3002", "\uff01", "\uff1f"};
    const char c = s->text[s->at];
    if (c == '\n') return 1;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (begins_with(s, s->at, wide[i])) return (int64_t)strlen(wide[i]);
    const bool is_stop = c == '.' || c == '!' || c == '?';
    return is_stop &&
           (s->at + 1 == s->n || is_space(s->text[s->at + 1]) || s->text[s->at + 1] == '[');
}

static const char *tag_at(const scan *s) {
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (begins_with(s, s->at, tags[i])) return tags[i];
    return NULL;
}

static rt_status take_text(scan *s) {
    const int64_t stop = full_stop(s);
    const char c = s->text[s->at];
    if (stop > 0) {
        s->at += stop;
        return end_sentence(s, s->at);
    }
    if (!is_space(c) && !strchr(".,;:()*_", c)) {
        if (s->sentence < 0) s->sentence = s->at;
        s->may_attach = false;
    }
    s->at++;
    return RT_OK;
}

static rt_status take_any(scan *s) {
    int64_t mark_bytes = 0;
    int64_t close_bytes = 0;
    const char c = s->text[s->at];
    const char *tag = c == '<' ? tag_at(s) : NULL;
    if (tag) {
        RT_TRY(end_sentence(s, s->at));
        s->at += (int64_t)strlen(tag);
        return RT_OK;
    }
    if (c == '>' && begins_line(s)) return take_quoted_line(s);
    if (c == '`') {
        int64_t end = code_end(s, "```");
        if (end > 0) return take_fenced(s, end);
        end = code_end(s, "`");
        if (end > 0 && s->sentence < 0) s->sentence = s->at;
        s->at = end > 0 ? end : s->at + 1;
        return RT_OK;
    }
    const int64_t list_end = c == '[' ? passages_end(s, s->at) : -1;
    if (list_end > 0) return take_passages(s, list_end);
    const int64_t to = closing(s, s->at, &mark_bytes, &close_bytes);
    return to > 0 ? take_quotation(s, to, mark_bytes, close_bytes) : take_text(s);
}

rt_status glm_claims_find(const char *answer, int64_t n_bytes, glm_claims *out) {
    scan s = {.text = answer, .n = n_bytes, .sentence = -1, .out = out};
    rt_status status = RT_OK;
    *out = (glm_claims){0};
    while (s.at < s.n && status == RT_OK) status = take_any(&s);
    if (status == RT_OK) status = end_sentence(&s, s.n);
    if (status != RT_OK) glm_claims_free(out);
    return status;
}

void glm_claims_free(glm_claims *claims) {
    free(claims->claims);
    *claims = (glm_claims){0};
}

/* ---- showing --------------------------------------------------------------------------------- */

/* Bytes of the tag that begins here; 0: none does; -1: there are too few bytes to tell. */
static int64_t tag_bytes(const char *text, int64_t n_bytes) {
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        const int64_t n = (int64_t)strlen(tags[i]);
        const int64_t n_there = n < n_bytes ? n : n_bytes;
        if (memcmp(text, tags[i], (size_t)n_there) == 0) return n_there == n ? n : -1;
    }
    return 0;
}

int64_t glm_claims_show(
        const char *bytes, int64_t n_bytes, bool is_last, char *out, int64_t *n_used) {
    int64_t n_out = 0;
    for (*n_used = 0; *n_used < n_bytes;) {
        const int64_t n = tag_bytes(bytes + *n_used, n_bytes - *n_used);
        if (n < 0 && !is_last) break;
        if (n <= 0) out[n_out++] = bytes[*n_used];
        *n_used += n > 0 ? n : 1;
    }
    return n_out;
}

#include "help_reply.h"

#include <regex.h>

#include "help_random.h"
#include "help_tokenizer.h"

#define WHITE "[ \t\r\n]"
#define BLANK "[ \t\r]"

enum { N_TOOLS = 6, PART_BYTES = 4096, PARTS_MAX = 3, LOUD_MAX = 5 };

/* No name is another's, but they begin alike. */
static const glm_tool all_tools[N_TOOLS] = {
        {.kind = GLM_TOOL_FUNCTION, .name = "get"},
        {.kind = GLM_TOOL_FUNCTION, .name = "get_weather"},
        {.kind = GLM_TOOL_FUNCTION, .name = "天气"},
        {.kind = GLM_TOOL_FUNCTION, .name = "two words"},
        {.kind = GLM_TOOL_PYTHON, .name = "python"},
        {.kind = GLM_TOOL_BROWSER, .name = "simple_browser"},
};

/* The definition of a call of one tool. */
typedef struct patterns {
    regex_t call;      /* a call; what follows the match, or its last byte, are the arguments */
    regex_t beginning; /* could still become one */
    regex_t named;     /* only what follows the name is missing */
} patterns;

static void compile(regex_t *regex, const char *pattern) {
    CHECK(regcomp(regex, pattern, REG_EXTENDED) == 0);
}

static void compile_tool(const glm_tool *tool, patterns *out) {
    const bool is_function = tool->kind == GLM_TOOL_FUNCTION;
    const char *before = is_function ? WHITE : BLANK;
    const char *behind = is_function ? "(\n" WHITE "{0,63})?" : "";
    char text[1024];
    (void)snprintf(text, sizeof text, "^%s*%s" BLANK "{0,64}\n%s", before, tool->name,
            is_function ? WHITE "{0,63}[{]" : "");
    compile(&out->call, text);
    (void)snprintf(text, sizeof text, "^%s*%s" BLANK "{0,64}%s$", before, tool->name, behind);
    compile(&out->named, text);

    /* (g(e(t...)?)?)? */
    tokh_text nested = {0};
    tokh_printf(&nested, "^%s*", before);
    for (const char *byte = tool->name; *byte; byte++) tokh_printf(&nested, "(%c", *byte);
    tokh_printf(&nested, BLANK "{0,64}%s", behind);
    for (const char *byte = tool->name; *byte; byte++) tokh_printf(&nested, ")?");
    tokh_printf(&nested, "$");
    compile(&out->beginning, nested.bytes);
    free(nested.bytes);
}

static void free_patterns(patterns *of) {
    regfree(&of->call);
    regfree(&of->beginning);
    regfree(&of->named);
}

/* What must have come out of one part so far. */
typedef struct outcome {
    const char *text;
    const char *call;
    const char *arguments;
} outcome;

static const char *behind_space(const char *text) {
    return text + strspn(text, " \t\r\n");
}

/* `end`: 0 the part goes on, 1 it is over, 2 it is over and waits for a tool. */
static outcome define(const patterns *of, const bool *is_known, const char *part, int end) {
    bool is_open = false;
    outcome out = {"", NULL, ""};
    for (int i = 0; i < N_TOOLS; i++) {
        regmatch_t found;
        if (!is_known[i]) continue;
        const bool is_function = all_tools[i].kind == GLM_TOOL_FUNCTION;
        const bool is_call = regexec(&of[i].call, part, 1, &found, 0) == 0;
        const bool is_named = end == 2 && regexec(&of[i].named, part, 0, NULL, 0) == 0;
        if (is_call || is_named) out.call = all_tools[i].name;
        if (is_call) out.arguments = part + found.rm_eo - is_function;
        is_open |= end == 0 && regexec(&of[i].beginning, part, 0, NULL, 0) == 0;
    }
    if (!is_open && !out.call) out.text = behind_space(part);
    return out;
}

/* A reply under way, and what came out of it. */
typedef struct run {
    const patterns *of;
    bool is_known[N_TOOLS];
    glm_reply reply;
    char before[PARTS_MAX * PART_BYTES]; /* text that earlier parts must have given */
    char text[PARTS_MAX * PART_BYTES];
    const char *call; /* of this part */
    char arguments[PART_BYTES];
    bool is_wrong;
} run;

static void take(run *r, const glm_reply_piece *piece) {
    strncat(r->text, piece->text, (size_t)piece->text_bytes);
    strncat(r->arguments, piece->arguments, (size_t)piece->arguments_bytes);
    if (piece->call && r->call) r->is_wrong = true;
    if (piece->call) r->call = piece->call;
}

static bool is_same_name(const char *a, const char *b) {
    return (a == NULL) == (b == NULL) && (!a || strcmp(a, b) == 0);
}

/* Compare with the definition; leaves the text wanted in `wanted`. */
static void compare(run *r, const char *part, int end, char *wanted) {
    const outcome out = define(r->of, r->is_known, part, end);
    const bool is_joined = r->before[0] && out.text[0];
    strcpy(wanted, r->before);
    if (is_joined) strcat(wanted, "\n");
    strcat(wanted, out.text);
    if (strcmp(wanted, r->text) != 0 || strcmp(out.arguments, r->arguments) != 0 ||
            !is_same_name(out.call, r->call))
        r->is_wrong = true;
}

static void feed_part(run *r, uint64_t *random, const char *part) {
    char so_far[PART_BYTES] = "";
    char wanted[PARTS_MAX * PART_BYTES];
    const int64_t n_bytes = (int64_t)strlen(part);
    const int64_t cut_max = 1 + random_below(random, 12);
    glm_reply_piece piece;
    r->call = NULL;
    r->arguments[0] = '\0';
    for (int64_t at = 0; at < n_bytes;) {
        int64_t n = 1 + random_below(random, cut_max);
        if (n > n_bytes - at) n = n_bytes - at;
        /* Exactly those bytes, so that a sanitizer sees a read beyond them. */
        char *bytes = malloc((size_t)n);
        CHECK(bytes);
        memcpy(bytes, part + at, (size_t)n);
        strncat(so_far, part + at, (size_t)n);
        at += n;
        CHECK(glm_reply_feed(&r->reply, bytes, n, &piece) == RT_OK);
        take(r, &piece);
        free(bytes);
        compare(r, so_far, 0, wanted);
    }
    const bool waits = random_below(random, 2) == 1;
    glm_reply_end_part(&r->reply, waits, &piece);
    take(r, &piece);
    compare(r, part, waits ? 2 : 1, wanted);
    memcpy(r->before, wanted, sizeof wanted);
}

static void random_part(uint64_t *random, char part[PART_BYTES]) {
    static const char *const pieces[] = {"\n", "\n", " ", "{", "}", "\t", "\r\n", "\"city\": 1",
            "x", "天", "sim", "get_", "_weather", ".", "two ", "words"};
    enum { N_PIECES = sizeof pieces / sizeof pieces[0] };
    const int64_t n = random_below(random, 8);
    part[0] = '\0';
    if (random_below(random, 4) == 0) strcat(part, "\n");
    for (int64_t i = 0; i < n; i++) {
        const int64_t what = random_below(random, 10);
        if (what < 3 || (i == 0 && what < 8)) {
            strcat(part, all_tools[random_below(random, N_TOOLS)].name);
        } else if (what == 3) {
            /* Around the most that a call may have. */
            int64_t n_spaces = random_below(random, 5) == 0 ? 60 + random_below(random, 8) : 1;
            const char *space = random_below(random, 2) == 0 ? " " : "\n";
            while (n_spaces-- > 0) strcat(part, space);
        } else {
            strcat(part, pieces[random_below(random, N_PIECES)]);
        }
    }
}

static bool is_reply_wrong(const patterns *of, uint64_t *random, bool is_loud) {
    run r = {.of = of};
    glm_tool known[N_TOOLS];
    glm_tools tools = {known, 0};
    for (int i = 0; i < N_TOOLS; i++) {
        r.is_known[i] = random_below(random, 2) == 0;
        if (r.is_known[i]) known[tools.n_tools++] = all_tools[i];
    }
    r.reply.tools = tools.n_tools > 0 ? &tools : NULL;
    const int64_t n_parts = 1 + random_below(random, PARTS_MAX);
    for (int64_t i = 0; i < n_parts && !r.is_wrong; i++) {
        char part[PART_BYTES];
        random_part(random, part);
        feed_part(&r, random, part);
        if (r.is_wrong && is_loud)
            (void)printf("part %d of \"%s\": text \"%s\", call %s, arguments \"%s\"\n", (int)i,
                    part, r.text, r.call ? r.call : "none", r.arguments);
    }
    glm_reply_free(&r.reply);
    return r.is_wrong;
}

int64_t replyh_fuzz(int64_t n_replies, uint64_t seed, bool is_loud) {
    patterns of[N_TOOLS];
    for (int i = 0; i < N_TOOLS; i++) compile_tool(&all_tools[i], &of[i]);
    int64_t n_wrong = 0;
    for (int64_t i = 0; i < n_replies; i++)
        n_wrong += is_reply_wrong(of, &seed, is_loud && n_wrong < LOUD_MAX);
    for (int i = 0; i < N_TOOLS; i++) free_patterns(&of[i]);
    return n_wrong;
}

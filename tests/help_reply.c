#include "help_reply.h"

#include <regex.h>

#include "help_random.h"
#include "help_tokenizer.h"

#define WHITE "[ \t\r\n]"
#define BLANK "[ \t\r]"

enum { N_TOOLS = 6, PART_BYTES = 512, PARTS_MAX = 3 };

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
    uint8_t cuts; /* how pieces are cut; 0: not at all. Its highest bit: parts wait for a tool */
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

/* Exactly those bytes, so that a sanitizer sees a read beyond them. */
static void feed_piece(run *r, const char *text, int64_t n) {
    glm_reply_piece piece;
    char *bytes = malloc((size_t)n);
    CHECK(bytes);
    memcpy(bytes, text, (size_t)n);
    CHECK(glm_reply_feed(&r->reply, bytes, n, &piece) == RT_OK);
    take(r, &piece);
    free(bytes);
}

static void feed_part(run *r, const char *part) {
    char so_far[PART_BYTES] = "";
    char wanted[PARTS_MAX * PART_BYTES];
    uint64_t random = r->cuts;
    const int64_t n_bytes = (int64_t)strlen(part);
    const int64_t cut_max = 1 + r->cuts % 12;
    const bool waits = r->cuts & 0x80;
    glm_reply_piece piece;
    r->call = NULL;
    r->arguments[0] = '\0';
    for (int64_t at = 0; at < n_bytes;) {
        int64_t n = r->cuts ? 1 + random_below(&random, cut_max) : n_bytes;
        if (n > n_bytes - at) n = n_bytes - at;
        feed_piece(r, part + at, n);
        strncat(so_far, part + at, (size_t)n);
        at += n;
        compare(r, so_far, 0, wanted);
    }
    glm_reply_end_part(&r->reply, waits, &piece);
    take(r, &piece);
    compare(r, part, waits ? 2 : 1, wanted);
    memcpy(r->before, wanted, sizeof wanted);
}

/* ---- programs of bytes ----------------------------------------------------------------------- */

/* What the bytes below 0x20 stand for, but those that are white space: names, and what calls are
 * made of. 0 ends a part. */
static const char *const words[32] = {[1] = "get",
        [2] = "get_weather",
        [3] = "天气",
        [4] = "two words",
        [5] = "python",
        [6] = "simple_browser",
        [7] = "{",
        [8] = "get_",
        [11] = "_weather",
        [12] = "{\"city\": 1}",
        [14] = "\r\n",
        [15] = "sim",
        [16] = "two ",
        [17] = " \n",
        /* Around the most that a call may have. */
        [18] = "                                                               ",
        [19] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
        [20] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"};

/* The next part, written out; returns what is left of the program. */
static const uint8_t *write_part(const uint8_t *at, const uint8_t *end, char part[PART_BYTES]) {
    int64_t n = 0;
    for (; at < end && *at != 0; at++) {
        const char letter[2] = {(char)*at, '\0'};
        const char *word = *at < 32 && words[*at] ? words[*at] : letter;
        const int64_t n_word = (int64_t)strlen(word);
        if (n + n_word >= PART_BYTES) continue;
        memcpy(part + n, word, (size_t)n_word);
        n += n_word;
    }
    part[n] = '\0';
    return at < end ? at + 1 : at;
}

static patterns *compiled;

static void drop_patterns(void) {
    for (int i = 0; i < N_TOOLS; i++) free_patterns(&compiled[i]);
    free(compiled);
}

static void prepare(void) {
    if (compiled) return;
    compiled = calloc(N_TOOLS, sizeof *compiled);
    CHECK(compiled);
    for (int i = 0; i < N_TOOLS; i++) compile_tool(&all_tools[i], &compiled[i]);
    CHECK(atexit(drop_patterns) == 0);
}

bool replyh_is_right(const uint8_t *data, int64_t n_bytes) {
    prepare();
    if (n_bytes < 2) return true;
    run r = {.of = compiled, .cuts = data[1]};
    glm_tool known[N_TOOLS];
    glm_tools tools = {known, 0};
    for (int i = 0; i < N_TOOLS; i++) {
        r.is_known[i] = data[0] >> i & 1;
        if (r.is_known[i]) known[tools.n_tools++] = all_tools[i];
    }
    r.reply.tools = tools.n_tools > 0 ? &tools : NULL;
    const uint8_t *end = data + n_bytes;
    const uint8_t *at = data + 2;
    for (int i = 0; i < PARTS_MAX && at < end && !r.is_wrong; i++) {
        char part[PART_BYTES];
        at = write_part(at, end, part);
        feed_part(&r, part);
        if (r.is_wrong)
            (void)fprintf(stderr, "part %d of \"%s\": text \"%s\", call %s, arguments \"%s\"\n", i,
                    part, r.text, r.call ? r.call : "none", r.arguments);
    }
    glm_reply_free(&r.reply);
    return !r.is_wrong;
}

/* RULER's needle tasks: single_1..3, multikey_1..3, multivalue and multiquery.
 *
 * A context is a list of units (a line of noise, a sentence of an essay, or a needle for another
 * key) as long as fits; the needle asked for goes in front of the unit at the cell's depth, the
 * others, be they for other keys or asked for as well, at drawn depths.
 * Source: Hsieh et al. 2024, arXiv:2404.06654, appendix B and its data scripts. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "needle.h"

typedef enum units { NOISE, ESSAY, NEEDLES } units;

typedef struct ruler_task {
    const char *name;
    units units;
    bool is_key_uuid;
    bool is_value_uuid;
    int32_t n_needles; /* the one at the cell's depth included */
    bool is_one_key;   /* all needles are values of one key */
    bool asks_all;     /* for every needle's value, not for the first one's alone */
} ruler_task;

static const ruler_task tasks[] = {
        {"ruler:single_1", NOISE, false, false, 1, false, false},
        {"ruler:single_2", ESSAY, false, false, 1, false, false},
        {"ruler:single_3", ESSAY, false, true, 1, false, false},
        {"ruler:multikey_1", ESSAY, false, false, 4, false, false},
        {"ruler:multikey_2", NEEDLES, false, false, 1, false, false},
        {"ruler:multikey_3", NEEDLES, true, true, 1, false, false},
        {"ruler:multivalue", ESSAY, false, false, 4, true, true},
        {"ruler:multiquery", ESSAY, false, false, 4, false, true},
};

enum { N_TASKS = sizeof tasks / sizeof *tasks, NEEDLES_MAX = 4, QUERY_BYTES = 256 };

const char glm_needle_noise[] =
        "The grass is green. The sky is blue. The sun is yellow. Here we go. "
        "There and back again.";

const char *glm_needle_ruler_tasks(void) {
    return "single_1, single_2, single_3, multikey_1, multikey_2, multikey_3, "
           "multivalue, multiquery";
}

static const char *without(const char *name, const char *beginning) {
    const size_t n = strlen(beginning);
    return strncmp(name, beginning, n) == 0 ? name + n : name;
}

/* "ruler" alone is its first task. RULER's own names of them begin with niah_, for needle in a haystack. */
static const ruler_task *find_task(const char *protocol) {
    const char *name = without(protocol, "ruler:");
    if (strcmp(protocol, "ruler") == 0) return &tasks[0];
    const bool is_rulers = name != protocol || without(name, "niah_") != name;
    for (int i = 0; is_rulers && i < N_TASKS; i++)
        if (strcmp(without(name, "niah_"), without(tasks[i].name, "ruler:")) == 0) return &tasks[i];
    return NULL;
}

const char *glm_needle_ruler_name(const char *protocol) {
    const ruler_task *task = find_task(protocol);
    return task ? task->name : protocol;
}

bool glm_needle_is_ruler_task(const char *protocol) {
    return find_task(protocol) != NULL;
}

/* ---- needles --------------------------------------------------------------------------------- */

/* Which key the needle number i has. */
static uint64_t key_of(const ruler_task *kind, int64_t i) {
    return kind->is_one_key ? 0 : (uint64_t)i;
}

/* Key and value number i of a cell; 0 is at the cell's depth. Word keys follow one another in the
 * list of words, so that no two are alike. */
static void make_pair(const glm_needle_source *source, const glm_needle_cell *cell,
        const ruler_task *kind, int64_t i, char key[64], char value[64]) {
    const glm_needle_settings *settings = source->settings;
    const uint64_t salt = 16 * (uint64_t)i;
    const uint64_t first = glm_needle_draw(settings, cell, 3);
    if (kind->is_key_uuid)
        glm_needle_uuid(glm_needle_draw(settings, cell, salt + 4),
                glm_needle_draw(settings, cell, salt + 5), key);
    else
        glm_needle_words((int64_t)(first % (uint64_t)glm_needle_n_words() + key_of(kind, i)), key);
    if (kind->is_value_uuid)
        glm_needle_uuid(glm_needle_draw(settings, cell, salt + 6),
                glm_needle_draw(settings, cell, salt + 7), value);
    else
        glm_needle_number(glm_needle_draw(settings, cell, salt + 8), value);
}

static const char *value_word(const ruler_task *kind) {
    return kind->is_value_uuid ? "uuid" : "number";
}

static void print_needle(
        const ruler_task *kind, const char *key, const char *value, char text[GLM_NEEDLE_TEXT]) {
    (void)snprintf(text, GLM_NEEDLE_TEXT, "One of the special magic %ss for %s is: %s.",
            value_word(kind), key, value);
}

/* What is asked for, "a, b, c, and d", and the answers. */
static void list_asked(const glm_needle_source *source, const glm_needle_cell *cell,
        const ruler_task *kind, glm_needle_task *task, char query[QUERY_BYTES]) {
    char key[64];
    size_t used = 0;
    task->n_answers = kind->asks_all ? kind->n_needles : 1;
    for (int32_t i = 0; i < task->n_answers; i++) {
        make_pair(source, cell, kind, i, key, task->answers[i]);
        if (i > 0 && kind->is_one_key) continue;
        const char *between = i == 0 ? "" : i + 1 == task->n_answers ? ", and " : ", ";
        used += (size_t)snprintf(query + used, QUERY_BYTES - used, "%s%s", between, key);
    }
}

/* The template's words for one value and for several. */
static void write_question(const ruler_task *kind, const char *query, glm_needle_task *task) {
    const char *word = value_word(kind);
    const bool is_one = !kind->asks_all;
    const char *s = is_one ? "" : "s";
    (void)snprintf(task->before, sizeof task->before,
            "%s special magic %s%s %s hidden within the following text. Make sure to memorize it. I "
            "will quiz you about the %s%s afterwards.\n",
            is_one ? "A" : "Some", word, s, is_one ? "is" : "are", word, s);
    (void)snprintf(task->after, sizeof task->after,
            "\nWhat %s the special magic %s%s for %s mentioned in the provided text?",
            is_one ? "is" : "are all", word, s, query);
    (void)snprintf(task->prefix, sizeof task->prefix,
            " The special magic %s%s for %s mentioned in the provided text %s", word, s, query,
            is_one ? "is" : "are");
}

static rt_status make_task(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task) {
    const ruler_task *kind = find_task(source->settings->protocol);
    char query[QUERY_BYTES];
    char value[64];
    *task = (glm_needle_task){.max_new = 128, .counts_parts = kind->asks_all};
    list_asked(source, cell, kind, task, query);
    make_pair(source, cell, kind, 0, task->key, value);
    print_needle(kind, task->key, value, task->needle);
    print_needle(kind, task->key, "", task->sentence);
    task->sentence[strlen(task->sentence) - 1] = '\0'; /* the full stop behind the value */
    write_question(kind, query, task);
    return RT_OK;
}

/* ---- units ----------------------------------------------------------------------------------- */

/* Where the next unit comes from. */
typedef struct unit_source {
    const glm_needle_source *source;
    const glm_needle_cell *cell;
    const ruler_task *kind;
    int64_t n_taken;
    int64_t at; /* byte of the haystack */
} unit_source;

static bool ends_wide(const char *text, int64_t n) {
    return n >= 3 && memcmp(text + n - 3, "\u3002", 3) == 0;
}

/* The next sentence of the haystack, its white space squeezed, or as many whole characters of it as there is room for;
 * begins again at the end. */
static void next_sentence(unit_source *from, char text[GLM_NEEDLE_TEXT]) {
    const glm_haystack *haystack = from->source->haystack;
    int64_t used = 0;
    while (used < GLM_NEEDLE_TEXT - 2 && !ends_wide(text, used)) {
        if (from->at >= haystack->n_bytes) {
            from->at = 0;
            break;
        }
        const char c = haystack->text[from->at++];
        const bool is_space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        if (is_space && used > 0 && text[used - 1] == '.') break;
        if (is_space && (used == 0 || text[used - 1] == ' ')) continue;
        text[used++] = is_space ? ' ' : c;
    }
    for (; used > 1 && ((unsigned char)haystack->text[from->at] & 0xc0) == 0x80; from->at--) used--;
    text[used] = '\0';
}

static rt_status next_unit(unit_source *from, char text[GLM_NEEDLE_TEXT]) {
    const int64_t i = from->n_taken++;
    if (from->kind->units == NOISE) {
        (void)snprintf(text, GLM_NEEDLE_TEXT, "%s", glm_needle_noise);
        return RT_OK;
    }
    if (from->kind->units == ESSAY) {
        next_sentence(from, text);
        return RT_OK;
    }
    if (!from->kind->is_key_uuid && i + NEEDLES_MAX >= glm_needle_n_words())
        return rt_fail(RT_EUSAGE,
                "needle: %s at this length needs more than the %" PRId64
                " keys there are; use ruler:multikey_3 or a shorter length",
                from->kind->name, glm_needle_n_words());
    char key[64];
    char value[64];
    make_pair(from->source, from->cell, from->kind, NEEDLES_MAX + i, key, value);
    print_needle(from->kind, key, value, text);
    return RT_OK;
}

/* ---- context --------------------------------------------------------------------------------- */

/* Units as tokens, one after the other; unit i begins at starts.ids[i]. */
typedef struct unit_list {
    glm_ids ids;
    glm_ids starts;
} unit_list;

static rt_status append_text(
        const glm_needle_source *source, const char *text, const char *separator, glm_ids *out) {
    char joined[GLM_NEEDLE_TEXT + 2];
    const int n = snprintf(joined, sizeof joined, "%s%s", text, separator);
    return glm_tokenizer_encode(source->tokenizer, joined, n, false, out);
}

static rt_status collect_units(
        unit_source *from, const char *separator, int64_t n_tokens, unit_list *out) {
    for (;;) {
        char text[GLM_NEEDLE_TEXT];
        RT_TRY(next_unit(from, text));
        const int64_t start = out->ids.n;
        RT_TRY(append_text(from->source, text, separator, &out->ids));
        if (out->ids.n > n_tokens || out->ids.n == start) {
            out->ids.n = start;
            return RT_OK;
        }
        RT_TRY(glm_ids_push(&out->starts, (int32_t)start));
    }
}

/* The needles of a cell as tokens, and the unit each goes in front of. */
typedef struct insertion {
    glm_ids ids;
    int64_t unit;
} insertion;

static rt_status tokenize_needles(const glm_needle_source *source, const glm_needle_cell *cell,
        const ruler_task *kind, const char *separator, insertion needles[NEEDLES_MAX],
        int64_t *n_tokens) {
    for (int32_t i = 0; i < kind->n_needles; i++) {
        char key[64];
        char value[64];
        char text[GLM_NEEDLE_TEXT];
        make_pair(source, cell, kind, i, key, value);
        print_needle(kind, key, value, text);
        RT_TRY(append_text(source, text, separator, &needles[i].ids));
        *n_tokens += needles[i].ids.n;
    }
    return RT_OK;
}

static rt_status interleave(const unit_list *list, const insertion needles[NEEDLES_MAX],
        int32_t n_needles, glm_ids *context, int64_t *needle_at) {
    for (int64_t unit = 0; unit <= list->starts.n; unit++) {
        for (int32_t i = 0; i < n_needles; i++) {
            if (needles[i].unit != unit) continue;
            if (i == 0) *needle_at = context->n;
            RT_TRY(glm_ids_append(context, needles[i].ids.ids, needles[i].ids.n));
        }
        if (unit == list->starts.n) break;
        const int64_t begin = list->starts.ids[unit];
        const int64_t end = unit + 1 < list->starts.n ? list->starts.ids[unit + 1] : list->ids.n;
        RT_TRY(glm_ids_append(context, list->ids.ids + begin, end - begin));
    }
    return RT_OK;
}

static rt_status build(unit_source *from, int64_t n_tokens, unit_list *list,
        insertion needles[NEEDLES_MAX], double depth, glm_ids *context, int64_t *needle_at) {
    const char *separator = from->kind->units == ESSAY ? " " : "\n";
    int64_t needle_tokens = 0;
    RT_TRY(tokenize_needles(
            from->source, from->cell, from->kind, separator, needles, &needle_tokens));
    RT_TRY(collect_units(from, separator, rt_max64(n_tokens - needle_tokens, 0), list));
    for (int32_t i = 0; i < from->kind->n_needles; i++) {
        const uint64_t draw =
                glm_needle_draw(from->source->settings, from->cell, 16 * (uint64_t)i + 9);
        const uint64_t at = i == 0 ? (uint64_t)((double)list->starts.n * depth / 100.0)
                                   : draw % (uint64_t)(list->starts.n + 1);
        needles[i].unit = (int64_t)at;
    }
    return interleave(list, needles, from->kind->n_needles, context, needle_at);
}

static rt_status make_context(const glm_needle_source *source, const glm_needle_cell *cell,
        const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at) {
    (void)task;
    unit_source from = {
            .source = source, .cell = cell, .kind = find_task(source->settings->protocol)};
    unit_list list = {0};
    insertion needles[NEEDLES_MAX] = {0};
    const rt_status status =
            build(&from, n_tokens, &list, needles, cell->depth, context, needle_at);
    for (int i = 0; i < NEEDLES_MAX; i++) glm_ids_free(&needles[i].ids);
    glm_ids_free(&list.ids);
    glm_ids_free(&list.starts);
    return status;
}

const glm_needle_protocol glm_needle_ruler = {.name = "ruler",
        .repeats_haystack = true,
        .make_task = make_task,
        .make_context = make_context};

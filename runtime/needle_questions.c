#include "needle_questions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "text.h"

/* Of a question: a task's, less what RULER puts around it. */
enum { ASKED_BYTES = GLM_NEEDLE_QUESTION - GLM_NEEDLE_TEXT };

static rt_status fail_at(const char *where, const char *wanted) {
    return rt_fail(RT_EUSAGE, "needle: the file of questions: %s: %s is wanted", where, wanted);
}

/* ---- paragraphs ------------------------------------------------------------------------------ */

/* Takes over the text, NULL of which is no memory. */
static rt_status add_paragraph(glm_questions *q, char *text) {
    rt_status status = text ? RT_OK : rt_fail(RT_ENOMEM, "needle: no memory for a paragraph");
    if (status == RT_OK && q->n_paragraphs == INT32_MAX)
        status = fail_at("paragraphs", "fewer of them");
    if (status == RT_OK)
        status = rt_make_room(&q->paragraphs, sizeof *q->paragraphs, q->n_paragraphs,
                &q->paragraphs_room, "paragraphs");
    if (status == RT_OK)
        q->paragraphs[q->n_paragraphs++] = text;
    else
        free(text);
    return status;
}

static int by_text(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void sort_paragraphs(glm_questions *q) {
    int64_t n = 0;
    if (q->n_paragraphs > 0)
        qsort(q->paragraphs, (size_t)q->n_paragraphs, sizeof *q->paragraphs, by_text);
    for (int64_t i = 0; i < q->n_paragraphs; i++) {
        if (n > 0 && strcmp(q->paragraphs[n - 1], q->paragraphs[i]) == 0)
            free(q->paragraphs[i]);
        else
            q->paragraphs[n++] = q->paragraphs[i];
    }
    q->n_paragraphs = n;
}

/* Which of them: it is one. */
static int32_t find_paragraph(const glm_questions *q, const char *text) {
    char *const *found =
            bsearch(&text, q->paragraphs, (size_t)q->n_paragraphs, sizeof *q->paragraphs, by_text);
    rt_assert(found);
    return (int32_t)(found - q->paragraphs);
}

/* n of them, for as long as the questions are there. */
static rt_status new_list(glm_questions *q, size_t n, int32_t **list) {
    RT_TRY(rt_make_room(
            &q->lists, sizeof *q->lists, q->n_lists, &q->lists_room, "lists of paragraphs"));
    RT_TRY(rt_calloc((int64_t)n, sizeof **list, "a list of paragraphs", list));
    q->lists[q->n_lists++] = *list;
    return RT_OK;
}

/* ---- questions ------------------------------------------------------------------------------- */

static bool has_room_for(const char *text, int64_t n_bytes) {
    const int64_t n = (int64_t)strlen(text);
    return n > 0 && n < n_bytes;
}

/* False: it is left out. */
static bool add_answer(glm_question *question, const char *answer) {
    if (!has_room_for(answer, GLM_NEEDLE_TEXT)) return false;
    for (int32_t i = 0; i < question->n_answers; i++)
        if (strcmp(question->answers[i], answer) == 0) return true;
    if (question->n_answers == GLM_NEEDLE_ANSWERS) return false;
    question->answers[question->n_answers++] = answer;
    return true;
}

static rt_status add_question(glm_questions *q, const glm_question *question) {
    if (question->n_answers == 0 || !has_room_for(question->text, ASKED_BYTES)) {
        q->n_left_out++;
        return RT_OK;
    }
    RT_TRY(rt_make_room(&q->questions, sizeof *question, q->n, &q->room, "questions"));
    q->questions[q->n++] = *question;
    return RT_OK;
}

/* ---- SQuAD ----------------------------------------------------------------------------------- */

static const char *context_of(const json_t *paragraph) {
    return json_string_value(json_object_get(paragraph, "context"));
}

/* Those of all articles, which are checked on the way. */
static rt_status list_squad(glm_questions *q) {
    const json_t *articles = json_object_get(q->root, "data");
    size_t i = 0;
    size_t k = 0;
    const json_t *article = NULL;
    const json_t *paragraph = NULL;
    if (!json_is_array(articles)) return fail_at("SQuAD", "an object with a list, \"data\",");
    json_array_foreach(articles, i, article) {
        json_array_foreach(json_object_get(article, "paragraphs"), k, paragraph) {
            const char *text = context_of(paragraph);
            if (!text) return fail_at("SQuAD: a paragraph", "a string, \"context\",");
            RT_TRY(add_paragraph(q, strdup(text)));
        }
    }
    return RT_OK;
}

static rt_status read_squad_question(
        glm_questions *q, const json_t *source, const int32_t *near, int32_t n_near, size_t own) {
    const json_t *answers = json_object_get(source, "answers");
    const json_t *answer = NULL;
    size_t i = 0;
    glm_question question = {.text = json_string_value(json_object_get(source, "question")),
            .own = near + own,
            .n_own = 1,
            .near = near,
            .n_near = n_near};
    if (!question.text || !json_is_array(answers))
        return fail_at(
                "SQuAD: one of \"qas\"", "a string, \"question\", with a list, \"answers\",");
    bool is_taken = !json_is_true(json_object_get(source, "is_impossible"));
    json_array_foreach(answers, i, answer) {
        const char *text = json_string_value(json_object_get(answer, "text"));
        if (!text) return fail_at("SQuAD: one of \"answers\"", "a string, \"text\",");
        is_taken = is_taken && add_answer(&question, text);
    }
    if (!is_taken) question.n_answers = 0;
    return add_question(q, &question);
}

static rt_status read_article(glm_questions *q, const json_t *paragraphs) {
    const json_t *paragraph = NULL;
    const json_t *source = NULL;
    int32_t *near = NULL;
    const size_t n = json_array_size(paragraphs);
    size_t i = 0;
    size_t k = 0;
    RT_TRY(new_list(q, n, &near));
    json_array_foreach(paragraphs, i, paragraph) near[i] = find_paragraph(q, context_of(paragraph));
    json_array_foreach(paragraphs, i, paragraph) {
        json_array_foreach(json_object_get(paragraph, "qas"), k, source) {
            RT_TRY(read_squad_question(q, source, near, (int32_t)n, i));
        }
    }
    return RT_OK;
}

static rt_status read_squad(glm_questions *q) {
    const json_t *article = NULL;
    size_t i = 0;
    RT_TRY(list_squad(q));
    sort_paragraphs(q);
    json_array_foreach(json_object_get(q->root, "data"), i, article) {
        RT_TRY(read_article(q, json_object_get(article, "paragraphs")));
    }
    return RT_OK;
}

/* ---- HotpotQA -------------------------------------------------------------------------------- */

/* [title, [sentence...]] -> "title\nsentences"; for free(). */
static rt_status join_sentences(const json_t *pair, char **text) {
    const char *title = json_string_value(json_array_get(pair, 0));
    const json_t *sentences = json_array_get(pair, 1);
    glm_text joined = {0};
    if (!title || !json_is_array(sentences))
        return fail_at("HotpotQA: one of \"context\"", "[title, [sentence, ...]]");
    rt_status status = glm_text_add(&joined, title, (int64_t)strlen(title));
    if (status == RT_OK) status = glm_text_add(&joined, "\n", 1);
    for (size_t i = 0; i < json_array_size(sentences) && status == RT_OK; i++) {
        const char *sentence = json_string_value(json_array_get(sentences, i));
        status = sentence ? glm_text_add(&joined, sentence, (int64_t)strlen(sentence))
                          : fail_at("HotpotQA: a sentence", "a string");
    }
    *text = joined.bytes;
    if (status == RT_OK) return RT_OK;
    free(joined.bytes);
    *text = NULL;
    return status;
}

/* {"title": [title...], "sentences": [[sentence...]...]}, as Hugging Face's copy has it -> the same in pairs. */
static rt_status pair_up(json_t *source) {
    json_t *context = json_object_get(source, "context");
    json_t *titles = json_object_get(context, "title");
    json_t *sentences = json_object_get(context, "sentences");
    if (!json_is_object(context)) return RT_OK;
    if (!json_is_array(titles) || json_array_size(titles) != json_array_size(sentences))
        return fail_at("HotpotQA: \"context\", an object,",
                "\"title\" with \"sentences\", two lists of one length,");
    json_t *pairs = json_array();
    bool is_made = pairs != NULL;
    for (size_t i = 0; i < json_array_size(titles) && is_made; i++) {
        json_t *pair = json_pack("[OO]", json_array_get(titles, i), json_array_get(sentences, i));
        is_made = json_array_append_new(pairs, pair) == 0;
    }
    if (is_made) is_made = json_object_set(source, "context", pairs) == 0;
    json_decref(pairs);
    return is_made ? RT_OK : rt_fail(RT_ENOMEM, "needle: no memory for a file of questions");
}

static rt_status list_hotpotqa(glm_questions *q) {
    json_t *source = NULL;
    const json_t *pair = NULL;
    size_t i = 0;
    size_t k = 0;
    if (!json_is_array(q->root)) return fail_at("HotpotQA", "a list of questions");
    json_array_foreach(q->root, i, source) {
        RT_TRY(pair_up(source));
        json_array_foreach(json_object_get(source, "context"), k, pair) {
            char *text = NULL;
            RT_TRY(join_sentences(pair, &text));
            RT_TRY(add_paragraph(q, text));
        }
    }
    return RT_OK;
}

static rt_status find_pairs(glm_questions *q, const json_t *pairs, glm_question *question) {
    const json_t *pair = NULL;
    int32_t *own = NULL;
    size_t i = 0;
    RT_TRY(new_list(q, json_array_size(pairs), &own));
    json_array_foreach(pairs, i, pair) {
        char *text = NULL;
        RT_TRY(join_sentences(pair, &text));
        own[i] = find_paragraph(q, text);
        free(text);
    }
    question->own = own;
    question->n_own = (int32_t)json_array_size(pairs);
    return RT_OK;
}

static rt_status read_hotpotqa(glm_questions *q) {
    const json_t *source = NULL;
    size_t i = 0;
    RT_TRY(list_hotpotqa(q));
    sort_paragraphs(q);
    json_array_foreach(q->root, i, source) {
        const json_t *pairs = json_object_get(source, "context");
        const char *answer = json_string_value(json_object_get(source, "answer"));
        glm_question question = {.text = json_string_value(json_object_get(source, "question"))};
        if (!question.text || !answer || json_array_size(pairs) == 0)
            return fail_at("HotpotQA: a question",
                    "\"question\" and \"answer\", strings, with a list, \"context\",");
        (void)add_answer(&question, answer);
        RT_TRY(find_pairs(q, pairs, &question));
        RT_TRY(add_question(q, &question));
    }
    return RT_OK;
}

/* ---- both ------------------------------------------------------------------------------------ */

static rt_status read_root(
        glm_questions *q, glm_questions_kind kind, const char *text, int64_t n_bytes) {
    json_error_t error;
    q->root = json_loadb(text, (size_t)n_bytes, 0, &error);
    if (!q->root && json_error_code(&error) == json_error_out_of_memory)
        return rt_fail(RT_ENOMEM, "needle: no memory for a file of questions");
    if (!q->root)
        return rt_fail(RT_EUSAGE,
                "needle: the file of questions, as %s publishes it, is no JSON: line %d, column %d: %s",
                kind == GLM_QUESTIONS_SQUAD ? "SQuAD" : "HotpotQA", error.line, error.column,
                error.text);
    RT_TRY(kind == GLM_QUESTIONS_SQUAD ? read_squad(q) : read_hotpotqa(q));
    if (q->n > 0) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "needle: the file of questions has none, but %" PRId64 " without an answer "
            "or with more than there is room for",
            q->n_left_out);
}

rt_status glm_questions_read(
        glm_questions_kind kind, const char *text, int64_t n_bytes, glm_questions **out) {
    RT_TRY(rt_calloc(1, sizeof **out, "questions", out));
    return read_root(*out, kind, text, n_bytes);
}

void glm_questions_free(glm_questions *q) {
    if (!q) return;
    for (int64_t i = 0; i < q->n_lists; i++) free(q->lists[i]);
    for (int64_t i = 0; i < q->n_paragraphs; i++) free(q->paragraphs[i]);
    free(q->questions);
    free(q->paragraphs);
    free(q->lists);
    json_decref(q->root);
    free(q);
}

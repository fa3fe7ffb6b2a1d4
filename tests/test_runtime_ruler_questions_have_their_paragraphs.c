/* RULER's questions of SQuAD and HotpotQA: a prompt holds the question and the paragraphs it is about, each
 * once, among others, numbered from 1, those of its article before any others; where the file has too few
 * they are repeated. Any answer is right. What the file has wrong is said.
 *
 * Method: small files in both published forms, prompts of several lengths with the embedded model's
 * tokenizer, read as text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_expect.h"
#include "help_needle.h"

/* Three articles of two, one and four paragraphs; a question cannot be answered. */
static const char squad[] =
        "{\"version\":\"v2.0\",\"data\":[{\"title\":\"Bees\",\"paragraphs\":[{\"context\":\"Bees dance.\","
        "\"qas\":[{\"question\":\"Who hums?\",\"id\":\"0\",\"answers\":[],\"is_impossible\":true},"
        "{\"question\":\"Who dances?\",\"id\":\"1\",\"answers\":[{\"text\":\"Bees\",\"answer_start\":0},"
        "{\"text\":\"the bees\",\"answer_start\":0},{\"text\":\"Bees\",\"answer_start\":0}],"
        "\"is_impossible\":false}]},{\"context\":\"Bees sleep.\",\"qas\":[]}]},"
        "{\"paragraphs\":[{\"context\":\"Ants march.\",\"qas\":[{\"question\":\"Who marches?\","
        "\"answers\":[{\"text\":\"Ants\",\"answer_start\":0}]}]}]},"
        "{\"paragraphs\":[{\"context\":\"Moths fly.\",\"qas\":[]},{\"context\":\"Moths rest.\",\"qas\":[]},"
        "{\"context\":\"Moths eat.\",\"qas\":[]},{\"context\":\"Ants march.\",\"qas\":[]}]}]}";
static const char hotpotqa[] =
        "[{\"_id\":\"a\",\"question\":\"Is Oslo north of Rome?\",\"answer\":\"yes\",\"supporting_facts\":[],"
        "\"context\":[[\"Oslo\",[\"Oslo is cold.\",\" It snows.\"]],[\"Rome\",[\"Rome is warm.\"]]]},"
        "{\"_id\":\"b\",\"question\":\"Where is it warm?\",\"answer\":\"Rome\",\"context\":[[\"Rome\","
        "[\"Rome is warm.\"]],[\"Riga\",[\"Riga is wet.\"]]]}]";

static const char hotpotqa_in_columns[] =
        "[{\"id\":\"a\",\"question\":\"Is Oslo north of Rome?\",\"answer\":\"yes\",\"supporting_facts\":{},"
        "\"context\":{\"title\":[\"Oslo\",\"Rome\"],\"sentences\":[[\"Oslo is cold.\",\" It snows.\"],"
        "[\"Rome is warm.\"]]}},{\"id\":\"b\",\"question\":\"Where is it warm?\",\"answer\":\"Rome\","
        "\"context\":{\"title\":[\"Rome\",\"Riga\"],\"sentences\":[[\"Rome is warm.\"],[\"Riga is wet.\"]]}}]";

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

typedef struct run {
    int64_t length;
    double depth;
    glm_needle_settings settings;
    glm_tokenizer *tokenizer;
    glm_haystack haystack;
    glm_needle_source source;
} run;

static rt_status open_run(run *r, const char *model, const char *protocol, const char *file) {
    r->haystack = (glm_haystack){.text = (char *)(uintptr_t)file, .n_bytes = (int64_t)strlen(file)};
    r->settings = (glm_needle_settings){.protocol = protocol,
            .answer_prefix = "auto",
            .rounds = 2,
            .n_lengths = 1,
            .lengths = &r->length,
            .n_depths = 1,
            .depths = &r->depth};
    help_require(glm_tokenizer_load(model, &r->tokenizer), "tokenizer");
    return glm_needle_source_open(&r->settings, r->tokenizer, &r->haystack, &r->source);
}

static void close_run(run *r) {
    glm_needle_source_free(&r->source);
    glm_tokenizer_free(r->tokenizer);
}

/* The prompt's text, for free(). */
static char *make(run *r, int64_t length, int64_t round, glm_needle_task *task, int64_t *needle) {
    const glm_needle_cell cell = {.length = length, .round = round};
    glm_needle_prompt prompt;
    char *text = NULL;
    char *before = NULL;
    int64_t n = 0;
    help_require(glm_needle_prompt_make(&r->source, &cell, &prompt), "a prompt");
    expect(prompt.ids.n + prompt.task.max_new <= length, "it is longer than its cell", "");
    help_require(glm_tokenizer_decode(r->tokenizer, prompt.ids.ids, prompt.ids.n, false, &text, &n),
            "decode");
    help_require(glm_tokenizer_decode(
                         r->tokenizer, prompt.ids.ids, prompt.needle_token, false, &before, &n),
            "decode");
    *task = prompt.task;
    *needle = (int64_t)strlen(before);
    free(before);
    glm_needle_prompt_free(&prompt);
    return text;
}

static void check_squad(const char *model) {
    run r = {0};
    glm_needle_task task;
    int64_t needle = 0;
    help_require(open_run(&r, model, "ruler:qa_1", squad), "SQuAD");
    char *text = make(&r, 430, 0, &task, &needle);
    const char *context = strstr(text, "given documents.\n\nDocument 1:\n");
    expect(context && count(text, "Question: Who dances?") == 1 && strstr(text, " Answer:"),
            "the question, behind the documents", text);
    expect(count(text, "Bees dance.") == 1 && count(text, "Bees sleep.") == 1,
            "paragraphs of the article", text);
    expect(count(text, "Document ") > 2 && count(text, "Document ") < 6, "some of others", text);
    expect(strncmp(text + needle, "Document ", 9) == 0 &&
                    strncmp(text + needle + 12, "Bees dance.", 11) == 0,
            "where the paragraph begins", text + needle);
    expect(task.n_answers == 2, "each answer once", "");
    expect(glm_needle_score(&task, " BEES do") == 1.0, "any answer", "");
    expect(glm_needle_score(&task, "ants") == 0.0, "no answer", "");
    (void)strcpy(task.answers[1], "\303\211cole Normale");
    expect(glm_needle_score(&task, "an \303\251cole NORMALE.") == 1.0, "case beyond ASCII", "");
    expect(glm_needle_score(&task, "an \303\250cole normale") == 0.0, "another letter", "");
    expect(glm_needle_score(&task, "an \303\251cole norm") == 0.0, "the beginning of one", "");
    free(text);
    for (r.settings.seed = 1; r.settings.seed < 9; r.settings.seed++) {
        text = make(&r, 395, 0, &task, &needle);
        expect(count(text, "Bees sleep.") == 1 && count(text, "Document ") < 5,
                "before others that of its article", text);
        free(text);
    }
    text = make(&r, 420, 1, &task, &needle);
    expect(count(text, "Question: Who marches?") == 1 && count(text, "Ants march.") == 1,
            "the next question, in the next round", text);
    free(text);
    text = make(&r, 2000, 0, &task, &needle);
    expect(count(text, "Moths eat.") > 2 && count(text, "Ants march.") > 2, "repeated", text);
    const int n = count(text, "Document ");
    char last[40];
    (void)snprintf(last, sizeof last, "\n\nDocument %d:\n", n);
    expect(strstr(text, last) != NULL, "numbered to the last", text);
    free(text);
    close_run(&r);
}

static void check_hotpotqa(const char *model, const char *file) {
    run r = {0};
    glm_needle_task task;
    int64_t needle = 0;
    help_require(open_run(&r, model, "ruler:qa_2", file), "HotpotQA");
    char *text = make(&r, 430, 0, &task, &needle);
    expect(count(text, ":\nOslo\nOslo is cold. It snows.") == 1 &&
                    count(text, ":\nRome\nRome is warm.") == 1,
            "titles and sentences", text);
    expect(strcmp(task.answers[0], "yes") == 0 &&
                    count(text, "Question: Is Oslo north of Rome?") == 1,
            "the question and its answer", text);
    free(text);
    close_run(&r);
}

static void check_refusal(
        const char *model, const char *protocol, const char *file, const char *why) {
    run r = {0};
    expect(open_run(&r, model, protocol, file) == RT_EUSAGE, "not refused", file);
    expect(strstr(rt_error_text(), why) != NULL, rt_error_text(), why);
    close_run(&r);
}

int main(void) {
    const char *model = help_needle_model();
    check_squad(model);
    check_hotpotqa(model, hotpotqa);
    check_hotpotqa(model, hotpotqa_in_columns);
    check_refusal(model, "ruler:qa_1", hotpotqa, "SQuAD: an object with a list, \"data\"");
    check_refusal(model, "ruler:qa_2", squad, "HotpotQA: a list of questions");
    check_refusal(model, "ruler:qa_1", "{\"data\":[{\"paragraphs\":[{}]}]}", "\"context\"");
    check_refusal(model, "ruler:qa_1", "{\"data\":[]}", "has none");
    check_refusal(model, "ruler:qa_2",
            "[{\"question\":\"a\",\"answer\":\"b\",\"context\":[[\"t\",\"s\"]]}]",
            "[title, [sentence, ...]]");
    check_refusal(model, "ruler:qa_2", "[{\"question\":\"a\",\"context\":[[\"t\",[\"s\"]]]}]",
            "\"question\" and \"answer\"");
    check_refusal(model, "ruler:qa_2",
            "[{\"question\":\"a\",\"answer\":\"b\",\"context\":{\"title\":[\"t\"],\"sentences\":[]}}]",
            "two lists of one length");
    check_refusal(model, "ruler:qa_2", "[", "no JSON: line 1");
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}

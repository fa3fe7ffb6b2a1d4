/* RULER's tasks with several answers: the prompt holds them as the task says, and fits its length.
 *
 * Method: make prompts with the embedded model's tokenizer, and with GLM-4's where its files are,
 * and read them as text. multivalue: one key, four needles with the four values. multiquery: four
 * keys, all of them in the question. vt: five assignments behind the example, in the chain's order.
 * cwe: in the list behind the example each answer 30 times, every other word 3 times. fwe: each answer
 * as often, next to the others, as the zeta distribution has it. Two rounds ask for different things. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"

enum { LENGTH = 24000 };

static int n_failed;

static void check(bool is_right, const char *protocol, const char *what) {
    if (is_right) return;
    n_failed++;
    (void)printf("%s: %s\n", protocol, what);
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

/* "3. word " or, at a line's end, "3. word\n": how often in the list. */
static int count_entries(const char *list, const char *word) {
    char entry[128];
    (void)snprintf(entry, sizeof entry, ". %s ", word);
    int n = count(list, entry);
    (void)snprintf(entry, sizeof entry, ". %s\n", word);
    return n + count(list, entry);
}

static bool is_answer(const glm_needle_task *task, const char *word) {
    for (int32_t i = 0; i < task->n_answers; i++)
        if (strcmp(task->answers[i], word) == 0) return true;
    return false;
}

static void check_values(const char *protocol, const glm_needle_task *task, const char *text) {
    char needle[256];
    for (int32_t i = 0; i < task->n_answers; i++) {
        check(count(text, task->answers[i]) == 1, protocol, "a value does not stand there once");
        for (int32_t j = 0; j < i; j++)
            check(strcmp(task->answers[i], task->answers[j]) != 0, protocol,
                    "two values are alike");
    }
    (void)snprintf(
            needle, sizeof needle, "One of the special magic numbers for %s is: ", task->key);
    check(count(text, needle) == (strcmp(protocol, "ruler:multivalue") == 0 ? 4 : 1), protocol,
            "needles of the first key");
    check(count(text, "One of the special magic numbers for ") == 4, protocol, "four needles");
    check(count(task->after, "-") == (strcmp(protocol, "ruler:multivalue") == 0 ? 1 : 4), protocol,
            "keys in the question");
}

static void check_chain(const glm_needle_task *task, const char *text) {
    const char *at = text;
    char first[GLM_NEEDLE_TEXT + 160];
    (void)snprintf(first, sizeof first, "VAR %s = %s\n", task->answers[0], task->key);
    for (int32_t i = 0; i < task->n_answers; i++) {
        char next[2 * GLM_NEEDLE_TEXT + 32];
        if (i > 0)
            (void)snprintf(next, sizeof next, "VAR %s = VAR %s \n", task->answers[i],
                    task->answers[i - 1]);
        at = strstr(at, i == 0 ? first : next);
        check(at != NULL, "ruler:vt", "an assignment is missing or not behind the one before it");
        if (!at) return;
    }
    check(count(text, "VAR ") == 2 * (2 * task->n_answers - 1), "ruler:vt", "assignments in all");
}

static void check_list(const glm_needle_task *task, const char *text) {
    const char *list = strstr(text, " 10. ");
    list = list ? strstr(list, "\nBelow is a numbered list") : NULL;
    check(list != NULL, "ruler:cwe", "no list behind the example");
    if (!list) return;
    int n_others = 0;
    char word[64];
    for (int64_t i = 0; i < glm_needle_n_words(); i++) {
        glm_needle_words(i, word);
        const int n = count_entries(list, word);
        if (is_answer(task, word))
            check(n == 30, "ruler:cwe", "a common word stands there not 30 times");
        else if (n > 0)
            check(n == 3, "ruler:cwe", "another word stands there not 3 times"), n_others++;
    }
    check(n_others > 100, "ruler:cwe", "hardly any other words");
}

/* Words of ranks 2, 3 and 4 are the answers, 5 is the next: n / k^2 of each. */
static void check_frequencies(const glm_needle_task *task, const char *text) {
    const char *list = strstr(text, "coded words. ");
    check(list != NULL && strstr(list, " ... ") != NULL, "ruler:fwe", "no dots");
    if (!list) return;
    const char *end = strstr(list, "\nQuestion:");
    int n_words = 0;
    int n_first = 0;
    for (const char *at = list; at < end; at++) n_words += *at == ' ';
    for (int32_t i = 0; i < task->n_answers; i++) {
        const int n = count(list, task->answers[i]);
        const double share = 1.0 / (double)((i + 2) * (i + 2)) / 1.6449340668;
        /* Less than a word is lost of each rank; those beyond the last, 2 per cent of all or less, are not there. */
        check(n >= (int)(share * n_words) && n <= (int)(share * n_words * 1.05) + 1, "ruler:fwe",
                "a word is not as frequent as its rank has it");
        check(strlen(task->answers[i]) == 6, "ruler:fwe", "a word has other than six letters");
        check(i == 0 || n < n_first, "ruler:fwe", "a later answer is as frequent as the first");
        if (i == 0) n_first = n;
    }
}

/* A cell's text; its answers into `task`. */
static char *prompt_of(const glm_needle_source *source, int64_t round, glm_needle_task *task) {
    const char *protocol = source->settings->protocol;
    const glm_needle_cell cell = {.length = LENGTH, .depth = 50, .round = round};
    glm_needle_prompt prompt;
    char *text = NULL;
    int64_t n_bytes = 0;
    help_require(glm_needle_prompt_make(source, &cell, &prompt), protocol);
    const int64_t n = prompt.ids.n + prompt.task.max_new;
    check(n <= LENGTH && n > LENGTH - 600, protocol,
            "the prompt is longer or shorter than its cell");
    help_require(glm_tokenizer_decode(
                         source->tokenizer, prompt.ids.ids, prompt.ids.n, false, &text, &n_bytes),
            "decode");
    *task = prompt.task;
    glm_needle_prompt_free(&prompt);
    return text;
}

static void check_protocol(const char *model, const char *protocol) {
    static const int64_t length = LENGTH;
    static const double depth = 50;
    const glm_needle_settings settings = {.protocol = protocol,
            .seed = 7,
            .answer_prefix = "none",
            .rounds = 2,
            .n_lengths = 1,
            .lengths = &length,
            .n_depths = 1,
            .depths = &depth};
    glm_tokenizer *tokenizer = NULL;
    glm_haystack haystack;
    glm_needle_source source;
    glm_needle_task task;
    glm_needle_task other;
    help_require(glm_tokenizer_load(model, &tokenizer), "tokenizer");
    help_require(glm_haystack_load(NULL, 0, 7, glm_needle_haystack_bytes(&settings), &haystack),
            "haystack");
    help_require(glm_needle_source_open(&settings, tokenizer, &haystack, &source), "source");
    char *text = prompt_of(&source, 0, &task);
    if (strncmp(protocol, "ruler:multi", 11) == 0) check_values(protocol, &task, text);
    if (strcmp(protocol, "ruler:vt") == 0) check_chain(&task, text);
    if (strcmp(protocol, "ruler:cwe") == 0) check_list(&task, text);
    if (strcmp(protocol, "ruler:fwe") == 0) check_frequencies(&task, text);
    free(text);
    free(prompt_of(&source, 1, &other));
    check(strcmp(task.answers[0], other.answers[0]) != 0, protocol, "two rounds ask the same");
    check(glm_needle_score(&task, task.answers[1]) == 1.0 / task.n_answers, protocol,
            "one answer is not its share");
    glm_needle_source_free(&source);
    glm_haystack_free(&haystack);
    glm_tokenizer_free(tokenizer);
}

int main(void) {
    static const char *const protocols[] = {
            "ruler:multivalue", "ruler:multiquery", "ruler:vt", "ruler:cwe", "ruler:fwe"};
    const char *data = getenv("GLM_TEST_DATA");
    const char *embedded = help_needle_model();
    char real[4096] = "";
    if (data) (void)snprintf(real, sizeof real, "%s/glm-4-9b-chat-1m", data);
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        check_protocol(embedded, protocols[i]);
        if (data) check_protocol(real, protocols[i]);
    }
    return n_failed == 0 ? 0 : 1;
}

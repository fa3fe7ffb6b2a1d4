/* glm1m needle: what the command line asks for, checked before anything large is opened. */
#include "cmd_needle_settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_input.h"
#include "config.h"
#include "text.h"
#include "utf8.h"

typedef int order(const void *left, const void *right);

static int by_length(const void *left, const void *right) {
    const int64_t a = *(const int64_t *)left;
    const int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int by_depth(const void *left, const void *right) {
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Ascending, each once: a cell is evaluated once a round. */
static int64_t sort(void *values, int64_t n, size_t size, order *compare) {
    char *kept = values;
    int64_t n_kept = 0;
    qsort(values, (size_t)n, size, compare);
    for (const char *at = values; at < (char *)values + (size_t)n * size; at += size) {
        if (n_kept > 0 && compare(at, kept - size) == 0) continue;
        memmove(kept, at, size);
        kept += size;
        n_kept++;
    }
    return n_kept;
}

/* What is asked for all over the text has no depth: one row, of depth 0. */
static rt_status choose_depths(needle_choices *c, const char **depths) {
    const glm_needle_protocol *protocol = NULL;
    RT_TRY(glm_needle_find_protocol(c->settings.protocol, &protocol));
    c->settings.is_spread = protocol->is_spread;
    *depths = protocol->is_spread ? "0" : c->cli->depths ? c->cli->depths : "0,25,50,75,100";
    if (!protocol->is_spread || !c->cli->depths) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "--depths: what %s asks for is all over the text, not at a depth; --rounds gives more "
            "samples",
            protocol->name);
}

static rt_status parse_grid(needle_choices *c) {
    const char *lengths = c->cli->lengths ? c->cli->lengths : "1k,4k,16k";
    const char *depths = NULL;
    glm_needle_settings *s = &c->settings;
    RT_TRY(choose_depths(c, &depths));
    RT_TRY(glm_cli_parse_list(lengths, "--lengths", &c->lengths, &s->n_lengths));
    RT_TRY(glm_cli_parse_depths(depths, &c->depths, &s->n_depths));
    s->n_lengths = sort(c->lengths, s->n_lengths, sizeof *c->lengths, by_length);
    s->n_depths = sort(c->depths, s->n_depths, sizeof *c->depths, by_depth);
    s->lengths = c->lengths;
    s->depths = c->depths;
    return RT_OK;
}

static rt_status check_lengths(const needle_choices *c) {
    const int64_t longest = c->lengths[c->settings.n_lengths - 1];
    glm_config config;
    RT_TRY(glm_config_load(c->cli->engine.model_dir, &config));
    if (longest <= config.model_len) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "--lengths: %" PRId64 " is more than the model's own limit, %" PRId64 " tokens",
            longest, config.model_len);
}

static bool is_stdin(const char *name) {
    return name && strcmp(name, "-") == 0;
}

/* It is read once: whoever came second would find it empty. */
static rt_status check_stdin(const glm_cli *cli) {
    int n = is_stdin(cli->question);
    for (int i = 0; i < cli->n_haystacks; i++) n += is_stdin(cli->haystacks[i]);
    return n < 2 ? RT_OK
                 : rt_fail(RT_EUSAGE,
                           "needle: standard input is named twice, and can be read only once");
}

/* The results are JSON, and hold these texts as they are. */
static rt_status check_texts(const glm_cli *cli) {
    for (int i = 0; i < cli->n_needles; i++) RT_TRY(glm_utf8_check("--needle", cli->needles[i]));
    for (int i = 0; i < cli->n_answers; i++) RT_TRY(glm_utf8_check("--answer", cli->answers[i]));
    RT_TRY(glm_utf8_check("--question", cli->question));
    RT_TRY(glm_utf8_check("--answer-prefix", cli->answer_prefix));
    const size_t n_prefix = cli->answer_prefix ? strlen(cli->answer_prefix) : 0;
    if (n_prefix < GLM_NEEDLE_TEXT) return RT_OK;
    return rt_fail(RT_EUSAGE, "--answer-prefix: %zu bytes; at most %d are taken", n_prefix,
            GLM_NEEDLE_TEXT - 1);
}

static rt_status add_part(glm_text *text, const char *between, const char *part) {
    RT_TRY(glm_text_add(text, between, (int64_t)strlen(between)));
    return glm_text_add(text, part, (int64_t)strlen(part));
}

/* "NEEDLE | NEEDLE; QUESTION; ANSWER | ANSWER" */
static rt_status describe_own(needle_choices *c) {
    const glm_needle_own *own = &c->settings.own;
    glm_text text = {0};
    rt_status status = glm_text_add(&text, "", 0);
    const bool is_own = strcmp(c->settings.protocol, "own") == 0;
    for (int i = 0; is_own && status == RT_OK && i < own->n_needles; i++)
        status = add_part(&text, i ? " | " : "", own->needles[i]);
    if (is_own && status == RT_OK)
        status = add_part(&text, "; ", own->question ? own->question : "");
    for (int i = 0; is_own && status == RT_OK && i < own->n_answers; i++)
        status = add_part(&text, i ? " | " : "; ", own->answers[i]);
    c->settings.own.text = c->own_text = text.bytes;
    return status;
}

/* --needle, --question and --answer are a protocol of their own. */
static rt_status choose_protocol(needle_choices *c) {
    const glm_cli *cli = c->cli;
    glm_needle_settings *s = &c->settings;
    const char *flag = cli->n_needles   ? "--needle"
                       : cli->question  ? "--question"
                       : cli->n_answers ? "--answer"
                                        : NULL;
    s->protocol = cli->protocol ? cli->protocol : flag ? "own" : "lwm";
    s->protocol = glm_needle_ruler_name(s->protocol);
    if (flag && strcmp(s->protocol, "own") != 0)
        return rt_fail(RT_EUSAGE,
                "%s: --protocol %s has a needle of its own; leave one of them out", flag,
                s->protocol);
    if (is_stdin(cli->question)) RT_TRY(glm_cli_read_question("needle", &c->piped_question));
    if (c->piped_question) RT_TRY(glm_utf8_check("--question", c->piped_question));
    s->own = (glm_needle_own){.n_needles = cli->n_needles,
            .needles = cli->needles,
            .question = c->piped_question ? c->piped_question : cli->question,
            .n_answers = cli->n_answers,
            .answers = cli->answers};
    return describe_own(c);
}

/* Questions come from one file, whole: what of a haystack is put together cannot be read as them. */
static rt_status check_questions_file(const glm_cli *cli, const char *name) {
    const glm_needle_protocol *protocol = NULL;
    struct stat info;
    RT_TRY(glm_needle_find_protocol(name, &protocol));
    if (!protocol->open || cli->n_haystacks == 0) return RT_OK;
    const char *path = cli->haystacks[0];
    const size_t n = strlen(path);
    const char *what = cli->n_haystacks > 1                              ? "there are several"
                       : stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? "this is a directory"
                       : is_stdin(path)                                  ? "this is standard input"
                       : n >= 6 && strcmp(path + n - 6, ".jsonl") == 0 ? "this is JSON line by line"
                                                                       : NULL;
    if (!what) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "--haystack %s: %s takes one JSON file of questions, as %s publishes it, and %s", path,
            name,
            protocol == &glm_needle_qa_squad ? "SQuAD (dev-v2.0.json)"
                                             : "HotpotQA (hotpot_dev_distractor_v1.json)",
            what);
}

rt_status needle_choose(const glm_cli *cli, needle_choices *out) {
    glm_needle_settings *s = &out->settings;
    out->cli = cli;
    RT_TRY(check_texts(cli));
    RT_TRY(check_stdin(cli));
    RT_TRY(choose_protocol(out));
    RT_TRY(check_questions_file(cli, s->protocol));
    s->is_plain = cli->chat_template && strcmp(cli->chat_template, "none") == 0;
    s->seed = cli->seed >= 0 ? (uint64_t)cli->seed : 1234;
    s->is_fast = cli->mode && strcmp(cli->mode, "fast") == 0;
    s->answer_prefix = cli->answer_prefix ? cli->answer_prefix : "auto";
    s->rounds = cli->rounds > 0 ? cli->rounds : 1;
    RT_TRY(parse_grid(out));
    return check_lengths(out);
}

void needle_choices_free(needle_choices *choices) {
    free(choices->lengths);
    free(choices->depths);
    free(choices->own_text);
    free(choices->piped_question);
}

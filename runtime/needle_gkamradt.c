/* The original "needle in a haystack" pressure test. Its judge model is replaced by the two facts
 * that the needle states: both must be named.
 * Source: Kamradt 2023, LLMTest_NeedleInAHaystack. */
#include "base/size.h"
#include "needle.h"

static rt_status make_task(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task) {
    (void)source;
    (void)cell;
    *task = (glm_needle_task){
            .needle =
                    "\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores "
                    "Park on a sunny day.\n",
            .sentence = "The best thing to do in San Francisco is ",
            .system = "You are a helpful AI bot that answers questions for a user. Keep your "
                      "response short and direct",
            .after =
                    "What is the best thing to do in San Francisco? Don't give information outside "
                    "the document or repeat your findings",
            .is_after_apart = true,
            .n_answers = 2,
            .answers = {"Dolores Park", "sandwich"},
            .max_new = 64,
            .key = "San Francisco"};
    return RT_OK;
}

/* The haystack is repeated until it is long enough. */
static rt_status make_context(const glm_needle_source *source, const glm_needle_cell *cell,
        const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at) {
    int64_t n_needle = 0;
    glm_ids text = {0};
    RT_TRY(glm_needle_tokens(source, task->needle, &n_needle));
    rt_status status = glm_needle_stretch(source, cell, rt_max64(n_tokens - n_needle, 0), &text);
    if (status == RT_OK)
        status = glm_needle_insert(
                source, text.ids, text.n, task->needle, cell->depth, context, needle_at);
    glm_ids_free(&text);
    return status;
}

const glm_needle_protocol glm_needle_gkamradt = {.name = "gkamradt",
        .repeats_haystack = true,
        .make_task = make_task,
        .make_context = make_context};

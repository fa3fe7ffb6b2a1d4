/* The original "needle in a haystack" pressure test. Its judge model is replaced by the two facts
 * that the needle states: both must be named.
 * Source: Kamradt 2023, LLMTest_NeedleInAHaystack. */
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
const glm_needle_protocol glm_needle_gkamradt = {.name = "gkamradt",
        .repeats_haystack = true,
        .make_task = make_task,
        .make_context = glm_needle_hide};

/* The needle test of Large World Models, the one cited for GLM-4-9B-Chat-1M.
 * Source: Liu et al. 2024, arXiv:2402.08268, section 4.2 and its evaluation script. */
#include <stdio.h>

#include "needle.h"

static rt_status make_task(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task) {
    const char *city = glm_needle_city(glm_needle_draw(source->settings, cell, 1));
    char number[64];
    *task = (glm_needle_task){.n_answers = 1, .max_new = 64};
    glm_needle_number(glm_needle_draw(source->settings, cell, 2), number);
    (void)snprintf(task->answers[0], sizeof task->answers[0], "%s", number);
    (void)snprintf(task->key, sizeof task->key, "%s", city);
    (void)snprintf(task->needle, sizeof task->needle, "\nThe special magic %s number is: %s\n",
            city, number);
    (void)snprintf(task->sentence, sizeof task->sentence, "The special magic %s number is: ", city);
    (void)snprintf(task->after, sizeof task->after,
            " What is the special magic %s number? Don't give information outside the document or "
            "repeat your findings. Keep your response short and direct.",
            city);
    return RT_OK;
}

/* Rounds read disjoint stretches of the haystack; the needle counts towards the budget. */
const glm_needle_protocol glm_needle_lwm = {
        .name = "lwm", .make_task = make_task, .make_context = glm_needle_hide};

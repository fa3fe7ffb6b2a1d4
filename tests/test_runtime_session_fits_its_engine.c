/* A session, or a fork, of more tokens than its engine was opened for is refused, with both numbers; of as many it is
 * made. */
#include <stdio.h>
#include <string.h>

#include "help_needle.h"

enum { LENGTH = 300 };

static int n_wrong;

static void expect(rt_status status, rt_status expected, const char *what) {
    const bool is_told = status == RT_OK || (strstr(rt_error_text(), "room for 301 tokens") &&
                                                    strstr(rt_error_text(), "opened for 300"));
    if (status == expected && is_told) return;
    printf("FAIL %s: %s\n", what, status == RT_OK ? "made" : rt_error_text());
    n_wrong++;
}

int main(void) {
    const glm_options options = {.model_dir = help_needle_model(), .max_len = LENGTH};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_session *longer = NULL;
    glm_session *fork = NULL;
    help_require(glm_engine_open(&options, &engine), "opening");
    expect(glm_session_create(engine, LENGTH + 1, &longer), RT_EUSAGE, "a longer session");
    glm_session_free(longer); /* its pages are the next one's */
    help_require(glm_session_create(engine, LENGTH, &session), "a session");
    expect(glm_session_fork(session, 0, LENGTH + 1, &fork), RT_EUSAGE, "a longer fork");
    glm_session_free(fork);
    glm_session_free(session);
    glm_engine_close(engine);
    return n_wrong > 0;
}

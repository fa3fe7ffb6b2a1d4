/* Who waits for another's prefill gives that up when nothing has moved for a quarter of an hour of its waiting: not sooner, not while
 * the other says that it gets on or something more of the text is on disk, and not for time in which it did not wait itself, as
 * while it was stopped. Of several that give up one computes; the others wait for that one, and it is their turn when it ends.
 *
 * Method: sessions of engines in one process. The linker puts functions in front of nanosleep(), which lets the time go by that
 * it is asked for, and of the clock. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_said.h"
#include "help_turn.h"
#include "runtime/base/log.h"
#include "runtime/cli_turn.h"
#include "runtime/turn.h"

enum { SEGMENT = HELP_TURN_SEGMENT, N = HELP_TURN_N };

static const double patience_s = 15 * 60;
static const double longest_pause_s = 1.0;

typedef enum event { NOTHING, IT_TELLS, MORE_IS_KEPT, THE_CLOCK_JUMPS, IT_ENDS } event;

static int32_t ids[N + 1];
static pthread_t waiter;
static double slept_s;
static event next;
static double next_at_s;
static double clock_ahead_s;
static glm_session *other;  /* whose turn it is */
static glm_engine *a_third; /* that keeps a part of the text, and asks for no turn */

static void happen(event what) {
    if (what == IT_TELLS) glm_turn_begin(other);
    if (what == MORE_IS_KEPT) help_engine_keep(a_third, ids, SEGMENT, NULL);
    if (what == THE_CLOCK_JUMPS) clock_ahead_s += 3600.0;
    if (what == IT_ENDS) glm_turn_give_back(other);
}

int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left) {
    if (!pthread_equal(pthread_self(), waiter)) return __real_nanosleep(time, left);
    slept_s += (double)time->tv_sec + (double)time->tv_nsec * 1e-9;
    if (next == NOTHING || slept_s < next_at_s) return 0;
    const event what = next;
    next = NOTHING;
    happen(what);
    return 0;
}

double __real_rt_now(void);
double __wrap_rt_now(void);
double __wrap_rt_now(void) {
    return __real_rt_now() + clock_ahead_s;
}

static void expect(event what, double at_s) {
    next = what;
    next_at_s = at_s;
    slept_s = 0.0;
}

/* By `session`, which has found nothing so far. */
static void take_turn(glm_session *session) {
    const glm_cli cli = {.command = "ask", .keeps = true, .no_progress = true};
    glm_reuse reuse = {0};
    double waited_s = 0.0;
    CHECK(glm_cli_take_turn(&cli, session, ids, N + 1, N, &reuse, &waited_s) == RT_OK);
}

static bool is_about(double s) {
    return slept_s > s - longest_pause_s && slept_s < s + 2.0 * longest_pause_s;
}

/* Whose turn the text is for one who asks now. */
static glm_turn_state ask(glm_session *session) {
    glm_turn_state state = GLM_TURN_NONE;
    CHECK(glm_turn_take(session, ids, N, &state) == RT_OK);
    return state;
}

/* The other's turn stands still, after `what` has happened: it is given up when `wanted_s` were waited. */
static void check_given_up(glm_engine *engine, event what, double at_s, double wanted_s) {
    glm_session *waits = help_turn_session(engine);
    const int64_t n_said = help_said("and has not moved for 15 min", NULL);
    expect(what, at_s);
    take_turn(waits);
    if (!is_about(wanted_s)) printf("event %d: given up after %.2f s\n", (int)what, slept_s);
    CHECK(next == NOTHING && is_about(wanted_s));
    CHECK(help_said("and has not moved for 15 min", NULL) == n_said + 1);
    CHECK(ask(waits) == GLM_TURN_OURS); /* the one behind the other's */
    CHECK(glm_session_length(waits) == (what == MORE_IS_KEPT ? SEGMENT : 0));
    glm_session_free(waits);
}

static void lose_notes(const char *dir) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/.prefills", dir);
    CHECK(truncate(path, 0) == 0);
}

/* Who gives up when another has done so before waits for that one, though nobody says who that is. */
static void check_second(glm_engine *engine, const char *dir, bool is_told) {
    char whom[64] = "waiting for another process";
    glm_session *first = help_turn_session(engine);
    glm_session *second = help_turn_session(engine);
    glm_session *stopped = other;
    expect(NOTHING, 0.0);
    take_turn(first);
    other = first;
    if (is_told) (void)snprintf(whom, sizeof whom, "waiting for process %d on ", (int)getpid());
    if (!is_told) lose_notes(dir);
    const int64_t n_said = help_said(whom, NULL);
    expect(IT_ENDS, 1.5 * patience_s);
    take_turn(second);
    if (!is_about(1.5 * patience_s)) printf("the second one's turn: after %.2f s\n", slept_s);
    CHECK(is_about(1.5 * patience_s) && ask(second) == GLM_TURN_OURS);
    CHECK(help_said(whom, NULL) > n_said);
    CHECK(help_said("is at it no longer: this one goes on", NULL) > 0);
    other = stopped;
    glm_session_free(second);
    glm_session_free(first);
}

int main(void) {
    const char *dir = help_dir();
    help_engine_ids(ids, N + 1, 1);
    glm_engine *first = help_turn_engine(dir, NULL, 0);
    glm_engine *second = help_turn_engine(dir, NULL, 0);
    a_third = help_turn_engine(dir, NULL, 0);
    other = help_turn_session(first);
    CHECK(ask(other) == GLM_TURN_OURS);
    glm_turn_begin(other);
    waiter = pthread_self();
    help_listen();
    check_given_up(second, NOTHING, 0.0, patience_s);
    check_given_up(second, THE_CLOCK_JUMPS, 300.0, patience_s);
    check_given_up(second, IT_TELLS, patience_s - 60.0, 2.0 * patience_s - 60.0);
    check_second(second, dir, true);
    check_second(second, dir, false);
    check_given_up(second, MORE_IS_KEPT, patience_s - 60.0, 2.0 * patience_s - 60.0);
    glm_session_free(other);
    glm_engine_close(a_third);
    glm_engine_close(second);
    glm_engine_close(first);
    return 0;
}

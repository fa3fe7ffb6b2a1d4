/* Of sessions that are to compute one text in one directory one has its turn at a time: until it gives that back, ends, or
 * nothing more of it is kept. Texts that begin alike share a turn as far as they do; others, other types of KV, and what is
 * too short or nearly there have none in common. What was kept meanwhile is restored, the last, unfinished segment too. A
 * turn that is passed by is another's turn, once. What a note says that nobody can have written is not taken for one.
 *
 * Method: sessions of engines in one process, whose locks are each its own; a small model on the CPU. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_turn.h"
#include "runtime/turn.h"

enum { SEGMENT = HELP_TURN_SEGMENT, N = HELP_TURN_N };

static int32_t ids[N + 1];
static int32_t others[N + 1];
static int32_t alike[N + 1];

static glm_turn_state take(glm_session *session, const int32_t *text, int64_t n_kept) {
    glm_turn_state state = GLM_TURN_NONE;
    CHECK(glm_turn_take(session, text, n_kept, &state) == RT_OK);
    return state;
}

/* What a new session is told. */
static glm_turn_state ask(glm_engine *engine, const int32_t *text, int64_t n_kept) {
    glm_session *session = help_turn_session(engine);
    const glm_turn_state state = take(session, text, n_kept);
    glm_session_free(session);
    return state;
}

static void check_notes(glm_session *ours, const glm_session *another) {
    glm_turn_note note;
    CHECK(!glm_turn_look(another, &note));
    glm_turn_begin(ours);
    CHECK(glm_turn_look(another, &note));
    CHECK(note.process == getpid() && note.host[0]);
    CHECK(note.n_done == 0 && note.n_total == N && note.work_share < 0.0);
}

/* Another's note with its line replaced: what stands behind the key. */
static void check_damaged(const glm_session *another, const char *dir, const char *behind) {
    enum { LINE = 256 };
    char path[4096];
    char line[LINE + 1] = "";
    glm_turn_note note;
    (void)snprintf(path, sizeof path, "%s/.prefills", dir);
    FILE *file = fopen(path, "r+b");
    CHECK(file);
    int64_t at = 0;
    while (line[0] < '0') {
        CHECK(fread(line, LINE, 1, file) == 1);
        at += LINE;
    }
    const int n = 16 + snprintf(line + 16, LINE - 16, " %s", behind);
    memset(line + n, '\n', (size_t)(LINE - n));
    CHECK(fseek(file, (long)(at - LINE), SEEK_SET) == 0 && fwrite(line, LINE, 1, file) == 1);
    CHECK(fclose(file) == 0);
    CHECK(glm_turn_look(another, &note) == (strcmp(behind, "host 1 2 3 0.5 4") == 0));
}

static void check_damages(const glm_session *another, const char *dir) {
    static const char *const all[] = {"host 1 2 3 0.5 4", "host 1 2 3 nan 4", "host 1 2 3 inf 4",
            "host 1 2 3 1e300 4", "host 1 2 3 -2 4", "host 1 4 3 0.5 4", "host 1 -2 3 0.5 4",
            "h\033[2J 1 2 3 0.5 4", "host 1 2 3 0.5", ""};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) check_damaged(another, dir, all[i]);
}

static void check_whose(const char *dir, glm_engine *first, glm_engine *second, glm_engine *lossy) {
    glm_session *ours = help_turn_session(first);
    glm_session *waits = help_turn_session(second);
    CHECK(take(ours, ids, N) == GLM_TURN_OURS);
    CHECK(take(ours, ids, N) == GLM_TURN_OURS);
    CHECK(take(waits, ids, N) == GLM_TURN_ANOTHERS);
    CHECK(ask(second, alike, N) == GLM_TURN_ANOTHERS);
    CHECK(ask(second, others, N) == GLM_TURN_OURS);
    CHECK(ask(lossy, ids, N) == GLM_TURN_OURS);
    CHECK(ask(second, ids, SEGMENT - 1) == GLM_TURN_NONE);
    CHECK(ask(second, ids, SEGMENT) == GLM_TURN_ANOTHERS);
    check_notes(ours, waits);
    check_damages(waits, dir);
    glm_turn_pass_by(waits);
    CHECK(take(waits, ids, N) == GLM_TURN_OURS);
    glm_session *third = help_turn_session(second);
    CHECK(take(third, ids, N) == GLM_TURN_ANOTHERS);
    glm_turn_pass_by(third);
    CHECK(take(third, ids, N) == GLM_TURN_ANOTHERS);
    glm_session_free(third);
    glm_session_free(waits);
    CHECK(ask(second, ids, N) == GLM_TURN_ANOTHERS);
    glm_turn_give_back(ours);
    CHECK(ask(second, ids, N) == GLM_TURN_OURS);
    glm_session_free(ours);
}

/* Where the disk is full nobody is to wait for what will not be there. */
static void check_full_disk(glm_engine *full, glm_engine *second) {
    glm_session *ours = help_turn_session(full);
    CHECK(take(ours, ids, N) == GLM_TURN_OURS);
    help_turn_begin(ours, ids);
    CHECK(ask(second, ids, N) == GLM_TURN_OURS);
    CHECK(take(ours, ids, N) == GLM_TURN_NONE);
    glm_session_free(ours);
}

static void check_what_comes(glm_engine *first, glm_engine *second) {
    glm_session *ours = help_turn_session(first);
    glm_session *waits = help_turn_session(second);
    glm_session *parts = help_turn_session(second);
    glm_reuse reuse = {0};
    bool has_come = true;
    CHECK(take(ours, ids, N) == GLM_TURN_OURS);
    CHECK(take(waits, ids, N) == GLM_TURN_ANOTHERS && take(parts, alike, N) == GLM_TURN_ANOTHERS);
    CHECK(glm_turn_restore(waits, ids, N + 1, &reuse, &has_come) == RT_OK && !has_come);
    help_turn_prefill(ours, ids);
    CHECK(glm_turn_restore(waits, ids, N + 1, &reuse, &has_come) == RT_OK && has_come);
    CHECK(glm_session_length(waits) == 2 * SEGMENT);
    CHECK(take(waits, ids, N) == GLM_TURN_ANOTHERS);
    CHECK(glm_turn_restore(parts, alike, N + 1, &reuse, &has_come) == RT_OK && has_come);
    CHECK(glm_session_length(parts) >= SEGMENT && glm_session_length(parts) < 2 * SEGMENT);
    CHECK(take(parts, alike, N) == GLM_TURN_OURS);
    help_require(glm_session_keep(ours, NULL, NULL), "keep");
    CHECK(glm_turn_restore(waits, ids, N + 1, &reuse, &has_come) == RT_OK && has_come);
    CHECK(glm_session_length(waits) == N && take(waits, ids, N) == GLM_TURN_NONE);
    glm_turn_give_back(ours);
    glm_session_free(parts);
    glm_session_free(waits);
    glm_session_free(ours);
}

int main(void) {
    const char *dir = help_dir();
    help_engine_ids(ids, N + 1, 1);
    help_engine_ids(others, N + 1, 2);
    memcpy(alike, ids, sizeof ids);
    memcpy(alike + SEGMENT, others, (N - SEGMENT) * sizeof *alike);
    glm_engine *full = help_turn_engine(dir, NULL, 256 << 10);
    glm_engine *first = help_turn_engine(dir, NULL, 0);
    glm_engine *second = help_turn_engine(dir, NULL, 0);
    glm_engine *lossy = help_turn_engine(dir, "int8", 0);
    check_whose(dir, first, second, lossy);
    check_full_disk(full, second);
    check_what_comes(first, second);
    glm_engine_close(lossy);
    glm_engine_close(second);
    glm_engine_close(first);
    glm_engine_close(full);
    return 0;
}

/* The header of a step that does not hold together ends the group before anything is done by it: counts so large that their
 * bytes wrap around to the size that is told, negative ones, and arguments for which there is no memory.
 *
 * Method: this program is rank 1 of a group whose rank 0 tells what the test says. */
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "runtime/ranks.h"

/* As in ranks.c. */
typedef struct header {
    uint64_t magic;
    int64_t serial;
    int64_t session;
    int64_t numbers[3];
    int64_t n_sessions;
    int64_t n_ids;
    int64_t n_wanted;
    int64_t n_text[2];
    int64_t n_bytes;
    int32_t kind;
    int32_t zero;
} header;

static header told;
static int n_told;
static int n_ended;

static rt_status tell(par_comm *comm, void *bytes, int64_t n_bytes) {
    (void)comm;
    if (n_told++ > 0) return rt_fail(RT_EPEER, "test: lists are asked for");
    CHECK(n_bytes == sizeof told);
    memcpy(bytes, &told, sizeof told);
    return RT_OK;
}

static void end(par_comm *comm, const char *why) {
    (void)comm;
    (void)why;
    n_ended++;
}

static void check_refused(const char *what, header h, const char *said) {
    par_comm comm = {.rank = 1, .n_ranks = 2, .tell = tell, .abort = end};
    glm_engine *engine = calloc(1, sizeof *engine);
    CHECK(engine);
    engine->comm = &comm;
    h.magic = 0x676c6d3173746570;
    h.serial = 1;
    if (!h.kind) h.kind = GLM_STEP_RESTORE;
    told = h;
    n_told = n_ended = 0;
    const rt_status status = glm_ranks_follow(engine);
    free(engine);
    if (status == RT_EPEER && n_ended == 1 && n_told == 1 && strstr(rt_error_text(), said)) return;
    printf("FAIL %s: status %d, %d told, %d ended: %s\n", what, (int)status, n_told, n_ended,
            rt_error_text());
    exit(1);
}

int main(void) {
    check_refused("ids that wrap to nothing", (header){.n_ids = INT64_C(1) << 62},
            "a count of a step's is");
    check_refused("sessions that wrap to nothing", (header){.n_sessions = INT64_C(1) << 61},
            "a count of a step's is");
    check_refused("sessions and wanted that wrap to 8 bytes",
            (header){.n_sessions = INT64_MAX, .n_wanted = INT64_MAX - 6, .n_bytes = 8},
            "a count of a step's is");
    check_refused("texts that wrap", (header){.n_text = {INT64_MAX, INT64_MAX}, .n_bytes = 4},
            "a count of a step's is");
    check_refused("less than nothing", (header){.n_ids = 8, .n_text = {-32, 0}, .n_bytes = 0},
            "a count of a step's is");
    check_refused(
            "another size", (header){.n_ids = 8, .n_bytes = 31}, "a step's size is 31, due is 32");
    check_refused("more than any step has",
            (header){.n_text = {INT64_MAX - 8, 0}, .n_bytes = INT64_MAX - 8}, "a step's size is");
    check_refused("an unknown kind", (header){.kind = GLM_STEP_LAST + 1}, "a step's kind is");
    return 0;
}

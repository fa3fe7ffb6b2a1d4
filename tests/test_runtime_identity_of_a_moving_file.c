/* A file that is written to while it is identified has no identity; stopping leaves no trace.
 *
 * Method: change a shard between opening and hashing, and in the middle of hashing: whenever the
 * change was made before the last byte was read, the job must fail. Cancel jobs at once and in the
 * middle, and compare what is found afterwards. */
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "help_identity.h"
#include "runtime/base/log.h"

enum { TRIES = 200 };

static const char weights[] = "model/model.safetensors";

static glm_identity_job *begin(int64_t *n_bytes) {
    glm_checkpoint *checkpoint = NULL;
    glm_identity_job *job = NULL;
    identity_require(glm_checkpoint_open(identity_path("model"), &checkpoint), "model");
    *n_bytes = glm_checkpoint_bytes(checkpoint);
    identity_require(glm_identity_begin(checkpoint, "bf16", NULL, &job), "model");
    glm_checkpoint_close(checkpoint);
    return job;
}

static void expect_failure(glm_identity_job *job, rt_status wanted, const char *text) {
    glm_identity identity;
    for (int i = 0; i < 2; i++) {
        identity_expect(glm_identity_wait(job, &identity) == wanted, text);
        identity_expect(strstr(rt_error_text(), text) != NULL, text);
    }
}

static void check_changed_before(void) {
    glm_checkpoint *checkpoint = NULL;
    glm_identity_job *job = NULL;
    identity_require(glm_checkpoint_open(identity_path("model"), &checkpoint), "model");
    identity_shell("touch -d '2020-01-01' '%s'", identity_path(weights));
    identity_require(glm_identity_begin(checkpoint, "bf16", NULL, &job), "model");
    expect_failure(job, RT_EMODEL, "IO_CHANGED");
    glm_identity_end(job);
    identity_shell("cp '%s' '%s.new' && mv '%s.new' '%s'", identity_path(weights),
            identity_path(weights), identity_path(weights), identity_path(weights));
    identity_require(glm_identity_begin(checkpoint, "bf16", NULL, &job), "model");
    expect_failure(job, RT_EMODEL, "IO_CHANGED");
    glm_identity_end(job);
    glm_checkpoint_close(checkpoint);
}

/* Until something of a file is read that nobody has hashed as it is. */
static void wait_until_read(const glm_identity_job *job) {
    const double end = rt_now() + 100.0;
    while (glm_identity_bytes_read(job) == 0 && rt_now() < end) (void)sched_yield();
    identity_expect(glm_identity_bytes_read(job) > 0, "hashing begins");
}

/* Whether the change came in time, and was then noticed. */
static bool change_while_hashed(void) {
    int64_t n_bytes = 0;
    glm_identity_job *job = begin(&n_bytes);
    wait_until_read(job);
    const bool is_set = utimensat(0, identity_path(weights), NULL, 0) == 0;
    const bool is_in_time = glm_identity_bytes_read(job) < n_bytes;
    identity_expect(is_set, "utimensat");
    if (is_in_time) expect_failure(job, RT_EMODEL, "IO_CHANGED");
    glm_identity_end(job);
    return is_in_time;
}

static bool cancel_while_hashed(void) {
    int64_t n_bytes = 0;
    identity_shell("rm -f '%s'", identity_path("glm1m/hashes.json")); /* of one that ended before */
    glm_identity_job *job = begin(&n_bytes);
    wait_until_read(job);
    glm_identity_cancel(job);
    glm_identity identity;
    const rt_status status = glm_identity_wait(job, &identity);
    const int64_t n_read = glm_identity_bytes_read(job);
    identity_expect(status == (n_read < n_bytes ? RT_EINTERRUPTED : RT_OK), "a cancelled job");
    glm_identity_end(job);
    return n_read < n_bytes;
}

static void expect_once(bool (*attempt)(void), const char *what) {
    for (int i = 0; i < TRIES; i++)
        if (attempt()) return;
    identity_expect(false, what);
}

static void check_ended_at_once(void) {
    int64_t n_bytes = 0;
    for (int i = 0; i < 20; i++) glm_identity_end(begin(&n_bytes));
    glm_identity_end(NULL);
}

int main(void) {
    (void)identity_begin_test();
    identity_write_model("model", 40000, 0);
    const glm_identity before = identity_of("model", NULL);
    identity_settle("model"); /* from now on a whole hash would be remembered */
    expect_once(cancel_while_hashed, "a job could not be cancelled in time");
    check_ended_at_once();
    int64_t bytes_read = 0;
    const glm_identity after = identity_of("model", &bytes_read);
    identity_expect(identity_is_equal(&before, &after), "the same after cancelled jobs");
    identity_expect(bytes_read > 0, "a cancelled job is not remembered");
    check_changed_before();
    expect_once(change_while_hashed, "a file could not be changed in time");
    const glm_identity last = identity_of("model", NULL);
    identity_expect(identity_is_equal(&before, &last), "the same after changes that were none");
    return identity_end_test();
}

/* Whatever NCCL does, a rank gets an error that says who, where, when and what, NCCL is aborted once,
 * the other ranks are told why, and nothing hangs: not even a process whose NCCL never comes back.
 *
 * Method: a stand-in library returns each error code from each call, stays in progress or hangs in
 * each call, reports an error later; the control group ends meanwhile; the abort itself hangs. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "help_nccl.h"
#include "runtime/base/log.h"

#define CHECK(fact) expect(fact, #fact)

enum { N_CALLS = 8, CALL_INIT = 1, CALL_REDUCE = 2, CALL_FINALIZE = 7 };

static int n_failed;
static char what[128]; /* is being done */

static void expect(bool is_true, const char *fact) {
    if (is_true) return;
    (void)printf("FAIL, %s: %s\n", what, fact);
    n_failed++;
}

static void nap_ms(long ms) {
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Open, use, close; what went wrong, and its text. */
static rt_status live(help_nccl *help, double timeout_s, char text[512]) {
    par_comm *comm = NULL;
    rt_status status = help_nccl_open(help, timeout_s, &comm);
    if (status == RT_OK) status = help_nccl_use(comm);
    (void)snprintf(text, 512, "%s", status == RT_OK ? "" : rt_error_text());
    par_comm_close(comm);
    return status;
}

static void check_end(const help_nccl *help, rt_status status, const char *text) {
    CHECK(status == RT_EPEER);
    expect(strstr(text, "rank 0 on node0, step "), text);
    CHECK(help->n_aborted == 1 && strcmp(help->why, text) == 0);
    CHECK(help->nccl->n_aborts == 1 && help->nccl->n_destroyed == 0);
    expect(!help->nccl->misuse, help->nccl->misuse);
}

/* ncclGetUniqueId fails before there is anything to abort, ncclCommFinalize after everybody is done. */
static void check_code(int fail_at, nccl_result code, const char *meaning) {
    help_nccl help;
    char text[512];
    (void)snprintf(what, sizeof what, "call %d returns %d", fail_at, (int)code);
    (void)help_nccl_begin(&help);
    help.nccl->fail_at = fail_at;
    help.nccl->fail_with = code;
    const rt_status status = live(&help, 200.0, text);
    if (fail_at == CALL_FINALIZE) {
        CHECK(status == RT_OK && help.n_aborted == 1 && help.nccl->n_aborts == 1);
        CHECK(strstr(help.why, "ncclCommFinalize failed") && strstr(help.why, meaning));
    } else if (fail_at == 0) {
        CHECK(status == RT_EPEER && help.nccl->n_aborts == 0);
        CHECK(strstr(text, "ncclGetUniqueId") && strstr(text, meaning));
    } else {
        check_end(&help, status, text);
        expect(strstr(text, meaning), text);
        expect(strstr(text, "as the script said"), text);
        expect(strstr(text, fail_at == CALL_INIT ? "(start): ncclComm" : "step 17 (prefill): nccl"),
                text);
    }
}

static void check_codes(void) {
    static const char *const meanings[] = {"", "cuda error", "system error", "internal error",
            "invalid argument", "invalid usage", "remote process"};
    for (int call = 0; call < N_CALLS; call++)
        for (int code = NCCL_CUDA_ERROR; code <= NCCL_REMOTE_ERROR; code++)
            check_code(call, (nccl_result)code, meanings[code]);
}

static void check_time(double begin, double least_s, double most_s) {
    const double took_s = rt_now() - begin;
    if (took_s < least_s || took_s > most_s) (void)printf("%s: %.2f s\n", what, took_s);
    CHECK(took_s >= least_s && took_s <= most_s);
}

/* A call that never ends, by itself or in the background. */
static void check_endless(int call, bool hangs) {
    help_nccl help;
    char text[512];
    (void)snprintf(what, sizeof what, "call %d %s", call, hangs ? "hangs" : "lingers");
    (void)help_nccl_begin(&help);
    *(hangs ? &help.nccl->hang_at : &help.nccl->linger_at) = call;
    help.nccl->linger_polls = STANDIN_NEVER;
    const double begin = rt_now();
    const rt_status status = live(&help, 0.2, text);
    check_time(begin, 0.2, 100.0);
    check_end(&help, status, text);
    expect(strstr(text, "took longer than 0.2 s"), text);
}

typedef struct later {
    help_nccl *help;
    par_comm *comm; /* abort this; NULL: the control group ends */
} later;

static void *end_later(void *context) {
    const later *task = context;
    nap_ms(100);
    if (task->comm)
        task->comm->abort(task->comm, "rank 0 on node0, step 18: the user left");
    else
        atomic_store(&task->help->is_over, 1);
    return NULL;
}

/* The group ends while a call is under way. */
static void check_ended_meanwhile(bool by_us, bool hangs) {
    help_nccl help;
    par_comm *comm = NULL;
    pthread_t thread;
    (void)snprintf(what, sizeof what, "%s while a call %s", by_us ? "abort" : "another rank's end",
            hangs ? "hangs" : "lingers");
    (void)help_nccl_begin(&help);
    *(hangs ? &help.nccl->hang_at : &help.nccl->linger_at) = CALL_REDUCE;
    help.nccl->linger_polls = STANDIN_NEVER;
    CHECK(help_nccl_open(&help, 1000.0, &comm) == RT_OK);
    const double begin = rt_now();
    later task = {.help = &help, .comm = by_us ? comm : NULL};
    CHECK(pthread_create(&thread, NULL, end_later, &task) == 0);
    CHECK(help_nccl_use(comm) == RT_EPEER);
    const char *why = by_us ? "the user left" : "rank 2 is gone";
    expect(strstr(rt_error_text(), why), rt_error_text());
    check_time(begin, 0.1, 100.0);
    (void)pthread_join(thread, NULL);
    par_comm_close(comm);
    CHECK(help.nccl->n_aborts == 1 && help.n_aborted == 1);
    expect(strstr(help.why, why), help.why);
    expect(!help.nccl->misuse, help.nccl->misuse);
}

/* Nothing is called any more when NCCL finds out, or the control group ends: the stream's operations
 * must be cut short all the same. */
static void check_noticed_idle(bool by_nccl) {
    help_nccl help;
    par_comm *comm = NULL;
    (void)snprintf(what, sizeof what, "%s, found while idle", by_nccl ? "an error" : "an end");
    (void)help_nccl_begin(&help);
    CHECK(help_nccl_open(&help, 1000.0, &comm) == RT_OK);
    CHECK(help_nccl_use(comm) == RT_OK && comm->check(comm) == RT_OK);
    const double begin = rt_now();
    atomic_store(by_nccl ? &help.nccl->error : &help.is_over, NCCL_REMOTE_ERROR);
    while (!atomic_load(&help.nccl->n_aborts) && rt_now() - begin < 100.0) nap_ms(1);
    CHECK(atomic_load(&help.nccl->n_aborts) == 1);
    CHECK(comm->check(comm) == RT_EPEER);
    expect(strstr(rt_error_text(), by_nccl ? "remote process" : "rank 2 is gone"), rt_error_text());
    CHECK(help_nccl_use(comm) == RT_EPEER && comm->barrier(comm) == RT_EPEER);
    par_comm_close(comm);
    CHECK(help.nccl->n_aborts == 1);
    expect(!help.nccl->misuse, help.nccl->misuse);
}

/* Close does not wait for an abort that hangs; what it leaves behind is the process's. */
static void check_abort_hangs(void) {
    static help_nccl help; /* the watcher that is left behind goes on using it */
    char text[512];
    (void)snprintf(what, sizeof what, "ncclCommAbort hangs");
    (void)help_nccl_begin(&help);
    help.nccl->fail_at = CALL_REDUCE;
    help.nccl->fail_with = NCCL_SYSTEM_ERROR;
    atomic_store(&help.nccl->abort_hangs, 1);
    const double begin = rt_now();
    CHECK(live(&help, 1000.0, text) == RT_EPEER);
    check_time(begin, 0.0, 100.0);
    CHECK(help.n_aborted == 1 && help.n_closed == 0);
    atomic_store(&help.nccl->abort_hangs, 0);
    nap_ms(100);
}

/* The group ends by NCCL's error, or another rank's end, and NCCL hangs. What uses the group is idle for a while, as
 * at a prompt, and then waits for ever, as for a stream. */
static void wait_for_ever(bool by_nccl, int err) {
    help_nccl help;
    par_comm *comm = NULL;
    (void)alarm(60);
    (void)dup2(err, STDERR_FILENO);
    (void)help_nccl_begin(&help);
    help.leave_s = 0.3;
    help.nccl->abort_hangs = 1;
    if (help_nccl_open(&help, 1000.0, &comm) != RT_OK || help_nccl_use(comm) != RT_OK) _exit(99);
    atomic_store(&comm->is_idle, true);
    atomic_store(by_nccl ? &help.nccl->error : &help.is_over, NCCL_REMOTE_ERROR);
    nap_ms(1000);
    (void)fprintf(stderr, "still here\n");
    atomic_store(&comm->is_idle, false);
    for (;;) (void)pause();
}

/* Until nobody can write to it any more without waiting. */
static void fill_pipe(int end) {
    static const char bytes[4096];
    (void)fcntl(end, F_SETFL, O_NONBLOCK);
    while (write(end, bytes, sizeof bytes) > 0) continue;
    (void)fcntl(end, F_SETFL, 0);
}

/* What uses the group waits for ever, too: to be read. */
static void wait_to_be_read(int err) {
    help_nccl help;
    par_comm *comm = NULL;
    (void)alarm(60);
    (void)help_nccl_begin(&help);
    help.leave_s = 0.3;
    help.nccl->abort_hangs = 1;
    if (help_nccl_open(&help, 1000.0, &comm) != RT_OK || help_nccl_use(comm) != RT_OK) _exit(99);
    atomic_store(&help.is_over, 1);
    fill_pipe(err);
    (void)dup2(err, STDERR_FILENO);
    (void)fprintf(stderr, "nobody reads\n");
    _exit(98);
}

/* The process ends also where what it says is not read. (Under TSan none does: its _exit flushes standard error.) */
static void check_unread_process_ends(void) {
#if defined(__SANITIZE_THREAD__)
    return;
#endif
    int state = 0;
    int pipe_ends[2];
    (void)snprintf(what, sizeof what, "nothing comes back, and standard error is full");
    CHECK(pipe(pipe_ends) == 0);
    const pid_t child = fork();
    if (child == 0) wait_to_be_read(pipe_ends[1]);
    CHECK(waitpid(child, &state, 0) == child);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 6);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
}

static void check_process_ends(bool by_nccl) {
    char text[1024] = "";
    int state = 0;
    int pipe_ends[2];
    size_t n = 0;
    (void)snprintf(
            what, sizeof what, "%s, and nothing comes back", by_nccl ? "an error" : "an end");
    CHECK(pipe(pipe_ends) == 0);
    const pid_t child = fork();
    if (child == 0) wait_for_ever(by_nccl, pipe_ends[1]);
    (void)close(pipe_ends[1]);
    for (ssize_t got = 1; got > 0 && n < sizeof text - 1; n += (size_t)(got > 0 ? got : 0))
        got = read(pipe_ends[0], text + n, sizeof text - 1 - n);
    (void)close(pipe_ends[0]);
    CHECK(waitpid(child, &state, 0) == child);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 6);
    expect(strncmp(text, "still here\n", 11) == 0, text);
    expect(strstr(text, "rank 0 on node0, step 17 (prefill): NCCL has not come back for 0.3 s"),
            text);
    expect(strstr(text, by_nccl ? "remote process" : "rank 2 is gone"), text);
}

int main(void) {
    help_nccl help;
    if (!help_nccl_begin(&help)) {
        (void)printf("FAIL: the stand-in library was not built\n");
        return 1;
    }
    (void)alarm(500);
    check_codes();
    check_endless(CALL_INIT, false);
    check_endless(CALL_REDUCE, false);
    check_endless(CALL_INIT, true);
    check_endless(CALL_REDUCE, true);
    check_ended_meanwhile(false, false);
    check_ended_meanwhile(false, true);
    check_ended_meanwhile(true, false);
    check_ended_meanwhile(true, true);
    check_noticed_idle(true);
    check_noticed_idle(false);
    check_process_ends(true);
    check_process_ends(false);
    check_unread_process_ends();
    check_abort_hangs();
    return n_failed ? 1 : 0;
}

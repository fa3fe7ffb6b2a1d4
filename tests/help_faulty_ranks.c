#include "help_faulty_ranks.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "help_faults_ranks.h"
#include "runtime/base/log.h"
#include "runtime/ranks.h"

enum { N_IDS = 4300, N_DECODED = 3, PATH_BYTES = 4096 };

static void append_line(const char *path, const char *line) {
    FILE *file = fopen(path, "a");
    if (!file) _exit(98);
    (void)fputs(line, file);
    (void)fclose(file);
}

static void note_end(const char *log, int rank, rt_status status) {
    char line[64];
    (void)snprintf(line, sizeof line, "E %d %d %.6f\n", rank, (int)status, rt_now());
    append_line(log, line);
}

static rt_status join_launched(par_comm **comm) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    RT_TRY(glm_launcher_find(&world, address));
    return glm_launcher_join(&world, comm);
}

int help_faulty_rank(const char *fd) {
    help_fault fault;
    par_comm *comm = NULL;
    const char *log = getenv("GLM_TEST_LOG");
    const bool is_faulty = help_fault_parse(getenv("GLM_TEST_FAULT"), &fault);
    if (!log) return 97;
    if (fd && par_local_join((int)strtol(fd, NULL, 10), &comm) != RT_OK) return 97;
    if (!fd && join_launched(&comm) != RT_OK) return 97;
    const int rank = comm->rank;
    if (is_faulty) help_fault_install(comm, &fault, log);
    const int exit_code = glm_ranks_serve(comm);
    note_end(log, rank, exit_code == 6 ? RT_EPEER : RT_OK);
    return exit_code;
}

/* The scenario of rank 0. */
typedef struct scenario {
    const char *dir;
    glm_engine *engine;
    glm_session *session;
    glm_reuse reuse;
    const float *logits;
    int64_t n_rows;
} scenario;

static rt_status open_scenario(scenario *s, par_comm *comm, const glm_options *options) {
    RT_TRY(glm_engine_open_rank(options, comm, &s->engine));
    return glm_session_create(s->engine, N_IDS + N_DECODED, &s->session);
}

static rt_status run_scenario(scenario *s) {
    int32_t ids[N_IDS + N_DECODED];
    for (int i = 0; i < N_IDS + N_DECODED; i++)
        ids[i] = (int32_t)((i * 7919LL + i * (int64_t)i) % 300);
    RT_TRY(glm_session_restore(s->session, ids, N_IDS, &s->reuse));
    const int64_t done = s->reuse.n_tokens;
    RT_TRY(glm_prefill(s->session, ids + done, N_IDS - done));
    for (int i = 0; i < N_DECODED; i++) RT_TRY(glm_decode(&s->session, &ids[N_IDS + i], 1));
    RT_TRY(glm_session_logits(s->session, &s->logits, &s->n_rows));
    const rt_status kept = glm_engine_plan(s->engine)->kv_persists
                                   ? glm_session_keep(s->session, "b", "source=test\n")
                                   : RT_OK;
    if (kept == RT_EPEER) return kept;
    if (kept != RT_OK) (void)fprintf(stderr, "not kept: %s\n", rt_error_text());
    return RT_OK;
}

static void write_logits(const scenario *s, const char *dir) {
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/logits", dir);
    FILE *file = fopen(path, "wb");
    if (!file) _exit(98);
    (void)fwrite(s->logits, sizeof(float), (size_t)glm_engine_config(s->engine)->vocab, file);
    (void)fclose(file);
}

int help_faulty_zero(void) {
    const char *dir = getenv("GLM_TEST_DIR");
    const char *model = getenv("GLM_TEST_MODEL");
    const char *log = getenv("GLM_TEST_LOG");
    const char *ranks = getenv("GLM_TEST_RANKS");
    char kv[PATH_BYTES];
    const char *dirs[] = {kv};
    help_fault fault;
    scenario s = {0};
    if (!dir || !model || !log || !ranks) return 97;
    (void)snprintf(kv, sizeof kv, "%s/kv/r%%r", dir);
    const int n_ranks = (int)strtol(ranks, NULL, 10);
    const bool spills = getenv("GLM_TEST_SPILLS") != NULL;
    const glm_options options = {.model_dir = model,
            .tensor_parallel = n_ranks,
            .max_len = N_IDS + N_DECODED,
            .chunk = 1024,
            .threads = 1,
            .host_kv_bytes = spills ? INT64_C(3) << 20 : 0,
            .persists = !spills,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = dirs};
    par_comm *comm = NULL;
    rt_status status = glm_ranks_open(&options, &comm);
    if (status == RT_OK && help_fault_parse(getenv("GLM_TEST_FAULT"), &fault))
        help_fault_install(comm, &fault, log);
    if (status == RT_OK) status = open_scenario(&s, comm, &options);
    if (status == RT_OK) status = run_scenario(&s);
    note_end(log, 0, status);
    if (status == RT_OK) write_logits(&s, dir);
    if (status != RT_OK) (void)fprintf(stderr, "glm1m: %s\n", rt_error_text());
    (void)fprintf(stderr, "reused %" PRId64 "\n", s.reuse.n_tokens);
    glm_session_free(s.session);
    glm_engine_close(s.engine);
    (void)fprintf(stderr, "operations %d\n", help_fault_operations());
    return status == RT_OK ? 0 : status == RT_EPEER ? 6 : status == RT_ENOFIT ? 3 : 1;
}

int help_faulty_member(void) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    (void)signal(SIGTERM, SIG_IGN); /* mpirun's, a second before it kills */
    if (glm_launcher_find(&world, address) != RT_OK) return 97;
    return world.rank == 0 ? help_faulty_zero() : help_faulty_rank(NULL);
}

/* How a group begins: rank 0 starts the others, they compare builds, get rank 0's options, and open the
 * same engine. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "base/machine.h"
#include "base/slurm.h"
#include "build_id.h"
#include "command_line.h"
#include "linear_choice.h"
#include "ranks.h"

/* ---- options, from rank 0 to the others ------------------------------------------------------ */

enum { TEXTS_BYTES_MAX = 1 << 20 };

/* The struct as it is (all ranks are of one build), its texts behind it. */
typedef struct options_message {
    glm_options options;
    int64_t n_bytes; /* of texts, each with its NUL; absent ones are not there */
} options_message;

enum { N_SINGLE_TEXTS = 6 };

/* Where the texts of options are, in the order of the wire. */
static const char **single_text(glm_options *options, int i) {
    const char **const all[N_SINGLE_TEXTS] = {&options->model_dir, &options->device,
            &options->kv_dtype, &options->kv_io, &options->kv_packing, &options->linear};
    return all[i];
}

static int64_t texts_bytes(const glm_options *options) {
    glm_options copy = *options;
    int64_t n = 0;
    for (int i = 0; i < N_SINGLE_TEXTS; i++)
        if (*single_text(&copy, i)) n += (int64_t)strlen(*single_text(&copy, i)) + 1;
    for (int i = 0; i < options->n_kv_disk_dirs; i++)
        n += (int64_t)strlen(options->kv_disk_dirs[i]) + 1;
    return n;
}

static char *put_text(char *at, const char *text) {
    if (!text) return at;
    const size_t n = strlen(text) + 1;
    memcpy(at, text, n);
    return at + n;
}

static rt_status tell_options(par_comm *comm, const glm_options *options) {
    options_message message = {.options = *options, .n_bytes = texts_bytes(options)};
    char *texts = NULL;
    RT_TRY(rt_calloc(message.n_bytes + 1, 1, "options for other ranks", &texts));
    char *at = texts;
    for (int i = 0; i < N_SINGLE_TEXTS; i++) at = put_text(at, *single_text(&message.options, i));
    for (int i = 0; i < options->n_kv_disk_dirs; i++) at = put_text(at, options->kv_disk_dirs[i]);
    rt_status status = comm->tell(comm, &message, sizeof message);
    if (status == RT_OK) status = comm->tell(comm, texts, message.n_bytes);
    free(texts);
    return status;
}

/* Options as they came, and what they point to. */
typedef struct told_options {
    glm_options options;
    char *texts;
    const char **dirs;
} told_options;

static void free_options(told_options *told) {
    free(told->texts);
    free((void *)told->dirs);
}

/* The next text, and behind it; NULL where they end too early. */
static const char *next_text(char **at, const char *end) {
    const char *text = *at;
    const char *nul = *at < end ? memchr(*at, 0, (size_t)(end - *at)) : NULL;
    if (!nul) return NULL;
    *at += nul - text + 1;
    return text;
}

static rt_status point_to_texts(told_options *told, int64_t n_bytes) {
    glm_options *options = &told->options;
    char *at = told->texts;
    const char *end = told->texts + n_bytes;
    bool is_whole = true;
    for (int i = 0; i < N_SINGLE_TEXTS; i++) {
        const char **text = single_text(options, i);
        if (*text) *text = next_text(&at, end);
        is_whole = is_whole && (i > 0 || *text);
    }
    for (int i = 0; i < options->n_kv_disk_dirs; i++) {
        told->dirs[i] = next_text(&at, end);
        is_whole = is_whole && told->dirs[i];
    }
    options->kv_disk_dirs = told->dirs;
    return is_whole ? RT_OK : rt_fail(RT_EPEER, "ranks: rank 0's options do not hold together");
}

/* *is_dismissed: there is no engine to open. */
static rt_status hear_options(par_comm *comm, told_options *told, bool *is_dismissed) {
    options_message message;
    *told = (told_options){0};
    RT_TRY(comm->tell(comm, &message, sizeof message));
    *is_dismissed = message.n_bytes == 0;
    if (*is_dismissed) return comm->barrier(comm);
    if (message.n_bytes < 1 || message.n_bytes > TEXTS_BYTES_MAX ||
            message.options.n_kv_disk_dirs < 0 || message.options.n_kv_disk_dirs > message.n_bytes)
        return rt_fail(RT_EPEER, "ranks: rank 0's options have %" PRId64 " bytes of text",
                message.n_bytes);
    told->options = message.options;
    RT_TRY(rt_calloc(message.n_bytes, 1, "rank 0's options", &told->texts));
    RT_TRY(rt_calloc(
            message.options.n_kv_disk_dirs + 1, sizeof *told->dirs, "directories", &told->dirs));
    RT_TRY(comm->tell(comm, told->texts, message.n_bytes));
    return point_to_texts(told, message.n_bytes);
}

/* ---- agreement before work ------------------------------------------------------------------- */

/* One command line for all, where a launcher started them: rank 0's is what counts, and what another
 * rank was given besides would be lost without a word. */
static rt_status check_build(par_comm *comm) {
    char id[GLM_BUILD_ID_TEXT];
    char command[GLM_COMMAND_LINE_TEXT] = "";
    char facts[GLM_BUILD_ID_TEXT + GLM_COMMAND_LINE_TEXT + 32];
    if (strcmp(comm->transport, "local") != 0) RT_TRY(glm_command_line(command));
    (void)snprintf(facts, sizeof facts, "build=%s\noptions=%s\n", glm_build_id(id), command);
    return par_hello(comm, facts);
}

int32_t glm_ranks_place(const par_comm *comm, int32_t *n_here) {
    int32_t n = 0;
    int32_t place = 0;
    for (int32_t r = 0; r < comm->n_ranks; r++) {
        if (strncmp(comm->hosts[r], comm->hosts[comm->rank], PAR_NAME_BYTES) != 0) continue;
        place += r < comm->rank;
        n++;
    }
    if (n_here) *n_here = n;
    return place;
}

rt_status glm_ranks_cores(par_comm *comm, int32_t *cores) {
    rt_core_mask all[PAR_RANKS_MAX];
    rt_core_mask here;
    int32_t n_here = 0;
    (void)glm_ranks_place(comm, &n_here);
    rt_machine_core_mask(&here);
    RT_TRY(comm->share(comm, &here, sizeof here, all));
    for (int32_t r = 0; r < comm->n_ranks; r++) {
        if (strncmp(comm->hosts[r], comm->hosts[comm->rank], PAR_NAME_BYTES) != 0) continue;
        for (size_t i = 0; i < sizeof here.words / sizeof here.words[0]; i++)
            here.words[i] |= all[r].words[i];
    }
    const bool is_one_task = strcmp(comm->transport, "local") == 0; /* which started the others */
    *cores = rt_slurm_cores(rt_machine_cores_of(&here), is_one_task ? 1 : n_here);
    return RT_OK;
}

static const char *or_auto(const char *text) {
    return text ? text : "auto";
}

rt_status glm_ranks_check_model(par_comm *comm, const glm_options *options,
        const glm_config *config, const char *fingerprint) {
    char facts[1024];
    const glm_options *o = options;
    glm_linear_choice choice = {0};
    if (comm->n_ranks > 1)
        RT_TRY(par_agree(comm, glm_linear_choose(o->linear, config, &choice), NULL));
    const bool has_tiles = choice.by == GLM_LINEAR_OWN && glm_ops_has_tiles(rt_machine_isa());
    const char *linear = has_tiles ? "own, by tiles of AMX" : glm_linear_by_name(choice.by);
    (void)snprintf(facts, sizeof facts,
            "model=%s\nlinear=%s\nkv-cache-dtype=%s\ndevice=%s\nmax-model-len=%" PRId64
            "\nmax-num-batched-tokens=%" PRId64 "\nspan=%" PRId64 "\nhost-kv-space=%" PRId64
            "\nkv-disk-space=%" PRId64 "\nkeeps=%d\nmax-num-seqs=%" PRId32 "\n",
            fingerprint, linear, or_auto(o->kv_dtype), or_auto(o->device), o->max_len, o->chunk,
            o->span, o->host_kv_bytes, o->kv_disk_bytes, o->persists, o->max_seqs);
    return par_hello(comm, facts);
}

rt_status glm_ranks_tell(par_comm *comm, void *bytes, int64_t n_bytes) {
    return comm->n_ranks == 1 ? RT_OK : comm->tell(comm, bytes, n_bytes);
}

/* ---- rank 0 ---------------------------------------------------------------------------------- */

static rt_status start(const glm_options *options, par_comm *comm) {
    RT_TRY(check_build(comm));
    return tell_options(comm, options);
}

static rt_status make_group(const glm_options *options, par_comm **out) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    RT_TRY(glm_launcher_find(&world, address));
    if (world.transport != PAR_BY_SELF) return glm_launcher_join(&world, out);
    return par_local_launch(options->tensor_parallel, "/proc/self/exe", out);
}

rt_status glm_ranks_open(const glm_options *options, par_comm **out) {
    if (options->tensor_parallel <= 1) return par_comm_self_open(out);
    RT_TRY(make_group(options, out));
    const rt_status status = start(options, *out);
    if (status == RT_OK) return RT_OK;
    par_comm_close(*out);
    *out = NULL;
    return status;
}

rt_status glm_ranks_dismiss(par_comm *comm) {
    options_message nothing = {.n_bytes = 0};
    RT_TRY(check_build(comm));
    RT_TRY(comm->tell(comm, &nothing, sizeof nothing));
    return comm->barrier(comm);
}

/* ---- the others ------------------------------------------------------------------------------ */

static rt_status serve(par_comm *comm) {
    told_options told = {0};
    glm_engine *engine = NULL;
    bool is_dismissed = false;
    rt_status status = check_build(comm);
    if (status == RT_OK) status = hear_options(comm, &told, &is_dismissed);
    if (status != RT_OK || is_dismissed) {
        free_options(&told);
        par_comm_close(comm);
        return status;
    }
    status = glm_engine_open_rank(&told.options, comm, &engine);
    free_options(&told);
    if (status != RT_OK) return status;
    status = glm_ranks_follow(engine);
    while (engine->ranks.sessions) glm_session_free(engine->ranks.sessions);
    const rt_status left = glm_engine_leave(engine);
    return status != RT_OK ? status : left;
}

/* What is wrong is rank 0's to say; where rank 0 itself is lost, nobody else can. */
static void report(rt_status status) {
    const char *text = rt_error_text();
    if (status == RT_EPEER && strstr(text, "rank 0 on "))
        (void)fprintf(stderr, "glm1m: %s\n", text);
}

int glm_ranks_serve(par_comm *comm) {
    char name[24];
    (void)snprintf(name, sizeof name, "rank %d", comm->rank);
    rt_log_name(name);
    const rt_status status = serve(comm);
    report(status);
    return status == RT_OK ? 0 : status == RT_EPEER ? 6 : 1;
}

bool glm_rank_is_asked(int argc, char **argv, int *exit_code) {
    par_comm *comm = NULL;
    if (argc != 3 || strcmp(argv[1], "rank") != 0) return false;
    (void)prctl(PR_SET_NAME, "glm1m-rank");
    const int fd = (int)strtol(argv[2], NULL, 10);
    rt_status status = rt_log_init();
    if (status == RT_OK) status = par_local_join(fd, &comm);
    if (status != RT_OK) {
        (void)fprintf(stderr, "glm1m: %s\n", rt_error_text());
        *exit_code = 2;
        return true;
    }
    *exit_code = glm_ranks_serve(comm);
    return true;
}

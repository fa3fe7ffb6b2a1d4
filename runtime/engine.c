/* Opening: checkpoint -> plan -> threads, ops, weights, store, buffers. Nothing large later. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapter.h"
#include "backend.h"
#include "base/file.h"
#include "base/log.h"
#include "hub.h"
#include "linear_choice.h"
#include "plan_kv.h"
#include "rank_dirs.h"
#include "ranks.h"

/* ---- open and close -------------------------------------------------------------------------- */

/* In the identity of what is kept: what its numbers are, but not in which order sums were added, which instruction sets and
 * numbers of ranks differ by. */
static const char *kv_type_text(rt_dtype dtype) {
    if (dtype == RT_FP8) return "fp8 e4m3, pages of 128, a power of two for each";
    if (dtype == RT_INT8) return "int8, pages of 128, groups of 64";
    return dtype == RT_INT4 ? "int4, pages of 128, groups of 64" : rt_dtype_name(dtype);
}

/* Likewise; NULL: our kernels. */
static const char *linear_text(glm_linear_by by) {
    return by == GLM_LINEAR_ONEDNN ? "onednn, bf16 rows" : NULL;
}

static kv_io_choice io_choice(const char *name) {
    if (name && strcmp(name, "uring") == 0) return KV_IO_ONLY_URING;
    return name && strcmp(name, "pread") == 0 ? KV_IO_ONLY_PREAD : KV_IO_CHOOSE;
}

static kv_packing_choice packing_choice(const char *name) {
    if (name && strcmp(name, "dense") == 0) return KV_PACKING_DENSE;
    return name && strcmp(name, "plain") == 0 ? KV_PACKING_PLAIN : KV_PACKING_CHOOSE;
}

static rt_status copy_dirs(glm_engine *engine, const glm_options *options) {
    const int32_t rank = engine->comm->rank;
    const int64_t n = rt_max64(options->n_kv_disk_dirs, 1);
    RT_TRY(rt_calloc(n, sizeof(char *), "directories", &engine->kv_dirs));
    if (options->n_kv_disk_dirs == 0) {
        engine->n_kv_dirs = 1;
        return glm_cache_path(&engine->kv_dirs[0]);
    }
    for (; engine->n_kv_dirs < n; engine->n_kv_dirs++)
        RT_TRY(glm_rank_dir(options->kv_disk_dirs[engine->n_kv_dirs], rank,
                &engine->kv_dirs[engine->n_kv_dirs]));
    return glm_rank_dirs_found(options->kv_disk_dirs, options->n_kv_disk_dirs, rank,
            engine->comm->n_ranks, &engine->other_dirs, &engine->n_other_dirs);
}

static void free_dirs(glm_engine *engine) {
    glm_rank_dirs_free(engine->kv_dirs, engine->n_kv_dirs);
    glm_rank_dirs_free(engine->other_dirs, engine->n_other_dirs);
}

static void log_overflow(const glm_engine *engine) {
    const glm_plan *plan = &engine->plan;
    rt_log(RT_LOG_INFO, "kvstore",
            "overflow dir=%s io=\"%s\" extent_tokens=%" PRId32 " window_extents=%" PRId32
            " pinned_tokens=%" PRId64 " host_bytes=%" PRId64 " disk_bytes_max=%" PRId64,
            engine->kv_dirs[0], kv_store_io_text(engine->store), plan->kv_extent_tokens,
            plan->kv_window_extents, plan->kv_pinned_tokens, plan->kv_host_bytes,
            plan->kv_disk_bytes);
}

/* Before anything is read or written there. */
static rt_status check_dirs(const glm_options *options) {
    char *cache = NULL;
    if (options->n_kv_disk_dirs == 0) RT_TRY(glm_cache_directory(&cache));
    free(cache);
    return RT_OK;
}

/* Scratch files are in `scratch_dir` or, where it is NULL, where what is kept is. */
static rt_status try_store(
        glm_engine *engine, const glm_options *options, const char *scratch_dir) {
    if (engine->plan.kv_persists || engine->plan.kv_overflows) RT_TRY(check_dirs(options));
    kv_config kv = glm_plan_kv_config(&engine->part, &engine->plan);
    kv.device = engine->device;
    if (engine->part.n_kv_heads < engine->config.n_kv_heads) {
        kv.shape.first_kv_head = engine->shard.first_kv_head;
        kv.shape.all_kv_heads = engine->config.n_kv_heads;
    }
    if (engine->plan.kv_overflows) {
        kv.overflow.dirs = scratch_dir ? &scratch_dir : (const char *const *)engine->kv_dirs;
        kv.overflow.n_dirs = scratch_dir ? 1 : engine->n_kv_dirs;
        kv.overflow.io = io_choice(options->kv_io);
        kv.overflow.packing = packing_choice(options->kv_packing);
    }
    return kv_store_open(&kv, &engine->store);
}

/* A directory that is there and may not be written: somebody else's books, a disk that is mounted read-only. */
static bool is_read_only(const char *dir) {
    return access(dir, W_OK) != 0 && (errno == EROFS || errno == EACCES) &&
           access(dir, R_OK | X_OK) == 0;
}

/* One, and something to read in each. */
static bool has_read_only_dir(const glm_engine *engine) {
    bool is_found = false;
    for (int32_t i = 0; i < engine->n_kv_dirs; i++) {
        char *vault = NULL;
        if (!is_read_only(engine->kv_dirs[i])) continue;
        is_found =
                rt_path_join(engine->kv_dirs[i], "vault", &vault) == RT_OK && rt_file_exists(vault);
        free(vault);
        if (!is_found) return false;
    }
    return is_found;
}

/* For rank 0 alone to say, where it is of all ranks. */
static void warn_of_store(const glm_engine *engine, const char *what, const char *why) {
    if (engine->comm->rank == 0) rt_log(RT_LOG_WARN, "kvstore", "%s: %s", what, why);
}

/* Memory holds all of it: what is kept there can be read, though nothing be added; the few cells of scratch that there
 * are all the same find room elsewhere, on each rank whose directory it is. `mine`: what became of this rank's store;
 * `failure`: of all. */
static rt_status open_read_only(
        glm_engine *engine, const glm_options *options, rt_status mine, rt_status failure) {
    const glm_plan *plan = &engine->plan;
    if (!plan->kv_persists || options->keeps_all || plan->kv_pinned_tokens < plan->max_len)
        return failure;
    char why[512];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    if (mine != RT_OK && has_read_only_dir(engine))
        mine = try_store(engine, options, rt_temporary_dir());
    if (par_agree(engine->comm, mine, NULL) != RT_OK) return rt_fail(failure, "%s", why);
    warn_of_store(engine, "what is kept on disk is read, and nothing is added to it", why);
    return RT_OK;
}

/* Memory holds all of it: a disk that does not work is no reason to fail, unless a book is named. */
static rt_status go_without_disk(
        glm_engine *engine, const glm_options *options, rt_status failure) {
    glm_plan *plan = &engine->plan;
    const bool is_needed = options->needs_kept || plan->kv_pinned_tokens < plan->max_len;
    if (!plan->kv_persists || is_needed || (failure != RT_EIO && failure != RT_ENOFIT))
        return failure;
    warn_of_store(engine, "nothing is kept on disk", rt_error_text());
    plan->kv_persists = plan->kv_overflows = false;
    kv_store_close(engine->store); /* where another rank's failed */
    engine->store = NULL;
    return try_store(engine, options, NULL);
}

/* Nobody chose the directory that failed: who could not know how is told. */
static rt_status hint_at_dirs(const glm_options *options, rt_status status) {
    if (status != RT_EIO || options->n_kv_disk_dirs > 0) return status;
    char why[512];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    return rt_fail(RT_EIO, "%s (--kv-disk-dir DIR names another place than our own)", why);
}

static rt_status open_store(glm_engine *engine, const glm_options *options) {
    const rt_status mine = hint_at_dirs(options, try_store(engine, options, NULL));
    rt_status status = par_agree(engine->comm, mine, NULL);
    if (status != RT_OK && status != RT_EPEER)
        status = open_read_only(engine, options, mine, status);
    if (status != RT_OK) RT_TRY(go_without_disk(engine, options, status));
    if (engine->plan.kv_overflows) log_overflow(engine);
    const char *way = kv_store_io_text(engine->store);
    if (strstr(way, "because")) rt_log(RT_LOG_WARN, "kvstore", "disk I/O by %s", way);
    return RT_OK;
}

/* Ranks that keep what they hold in the same directories: each counts all that is there. */
static int64_t sharers(const glm_engine *engine, const glm_options *options) {
    const int32_t n_here = options->ranks_here ? options->ranks_here : engine->comm->n_ranks;
    for (int i = 0; i < options->n_kv_disk_dirs; i++)
        if (glm_has_rank_sign(options->kv_disk_dirs[i])) return 1;
    return n_here;
}

/* What the vault found when it was opened. Whoever asks for the tokens finds nothing there, and would not learn why. */
static void warn_of_damage(const glm_engine *engine) {
    const kv_stats stats = kv_store_stats(engine->store);
    if (stats.n_stuck > 0)
        rt_log(RT_LOG_WARN, "kvstore",
                "damaged files=%" PRId64 ", of which %" PRId64
                " could not be put aside as .bad; the last: %s",
                stats.n_quarantined + stats.n_stuck, stats.n_stuck, stats.last_bad);
    else if (stats.n_quarantined > 0)
        rt_log(RT_LOG_WARN, "kvstore",
                "damaged files=%" PRId64 " were put aside as .bad; the last: %s",
                stats.n_quarantined, stats.last_bad);
}

static rt_status keep(
        glm_engine *engine, const glm_options *options, const glm_identity *identity) {
    const kv_keep keep = {.fingerprint = identity->hash,
            .fingerprint_text = identity->text,
            .dirs = (const char *const *)engine->kv_dirs,
            .n_dirs = engine->n_kv_dirs,
            .other_dirs = (const char *const *)engine->other_dirs,
            .n_other_dirs = engine->n_other_dirs,
            .bytes_max = engine->plan.kv_keep_max * sharers(engine, options),
            .is_on_top = options->kv_disk_bytes == 0,
            .keeps_forks = options->keeps_forks};
    return kv_store_keep(engine->store, &keep);
}

/* The overflow has what it needs: that nothing can be kept is no reason to fail, unless a book is named. */
static rt_status go_without_vault(
        glm_engine *engine, const glm_options *options, rt_status failure) {
    if (options->needs_kept || (failure != RT_EIO && failure != RT_ENOFIT)) return failure;
    warn_of_store(engine, "nothing is kept on disk", rt_error_text());
    engine->plan.kv_persists = false;
    kv_store_keep_nothing(engine->store); /* where another rank's failed */
    return RT_OK;
}

/* Nothing is kept before the model is known by its content, and nothing computed where ranks may have
 * others: the hashing runs beside the loading. */
static rt_status open_vault(glm_engine *engine, const glm_options *options) {
    glm_identity identity = {0};
    rt_status status = RT_OK;
    if (!engine->plan.kv_persists && !engine->compares_weights) return RT_OK;
    if (engine->identity) status = glm_identity_wait(engine->identity, &identity);
    RT_TRY(par_agree(engine->comm, status, NULL));
    RT_TRY(glm_ranks_compare_contents(engine->comm, engine->identity ? identity.text : NULL));
    if (!engine->plan.kv_persists) return RT_OK;
    status = par_agree(engine->comm, keep(engine, options, &identity), NULL);
    if (status != RT_OK) return go_without_vault(engine, options, status);
    warn_of_damage(engine);
    return RT_OK;
}

/* Of this rank's GPU, what may be taken, be it next to nothing: 0 is none, where the plan asks. */
static int64_t gpu_memory_of(const glm_options *options, int32_t place) {
    const int64_t free_bytes = glm_backend_gpu_free(options, place);
    return free_bytes > 0 ? rt_max64(glm_plan_gpu_limit(free_bytes), 1) : 0;
}

/* One plan for all: rank 0's, within the tightest of the ranks' limits. */
static rt_status make_plan(
        glm_engine *engine, const glm_checkpoint *checkpoint, const glm_options *options) {
    par_comm *comm = engine->comm;
    glm_options limited = *options;
    int32_t n_here = 0;
    const int32_t place = glm_ranks_place(comm, &n_here);
    if (!limited.ranks_here && comm->n_ranks > 1) limited.ranks_here = n_here;
    if (comm->n_ranks > 1) RT_TRY(glm_ranks_cores(comm, &limited.cores_here));
    RT_TRY(par_agree(comm, glm_plan_ask_limits(&limited, &limited), NULL));
    RT_TRY(par_agree(comm, RT_OK, &limited.memory_bytes));
    RT_TRY(par_agree(comm, RT_OK, &limited.disk_free_bytes));
    RT_TRY(par_agree(comm, RT_OK, &limited.disk_kept_bytes));
    if (comm->n_ranks > 1 && !limited.gpu_memory_bytes)
        limited.gpu_memory_bytes = gpu_memory_of(options, place);
    RT_TRY(par_agree(comm, RT_OK, &limited.gpu_memory_bytes));
    rt_status status = RT_OK;
    if (comm->rank == 0) {
        status = glm_plan_make(checkpoint, &limited, &engine->plan);
        if (status == RT_OK) status = glm_plan_require(&engine->plan);
    }
    RT_TRY(par_agree(comm, status, NULL));
    RT_TRY(glm_ranks_tell(comm, &engine->plan, sizeof engine->plan));
    return glm_plan_share(
            &engine->config, comm->rank, comm->n_ranks, &engine->shard, &engine->part);
}

/* What each rank does for itself. */
static rt_status open_parts(glm_engine *engine, const glm_checkpoint *checkpoint,
        const glm_options *options, bool is_hashed) {
    RT_TRY(rt_pool_create(engine->plan.threads, &engine->pool));
    if (engine->plan.kv_persists || is_hashed)
        RT_TRY(glm_identity_begin(checkpoint, kv_type_text(engine->plan.kv_dtype),
                linear_text(engine->plan.linear_by), &engine->identity));
    RT_TRY(engine->backend->open(engine, checkpoint));
    return copy_dirs(engine, options);
}

static rt_status open_with(
        glm_engine *engine, const glm_checkpoint *checkpoint, const glm_options *options) {
    par_comm *comm = engine->comm; /* until they meet */
    bool is_first = false;         /* of those that read its files */
    engine->config = *glm_checkpoint_config(checkpoint);
    rt_status status = glm_checkpoint_fingerprint(checkpoint, engine->fingerprint);
    RT_TRY(par_agree(comm, status, NULL));
    RT_TRY(glm_ranks_check_model(comm, options, &engine->config, engine->fingerprint));
    RT_TRY(glm_ranks_compare_files(comm, checkpoint, &engine->compares_weights, &is_first));
    RT_TRY(make_plan(engine, checkpoint, options));
    engine->backend = glm_backend_of(&engine->plan);
    if (engine->backend->meet) RT_TRY(engine->backend->meet(engine));
    comm = engine->comm;
    status = open_parts(engine, checkpoint, options, engine->compares_weights && is_first);
    RT_TRY(par_agree(comm, status, NULL));
    RT_TRY(open_store(engine, options));
    RT_TRY(open_vault(engine, options));
    return par_agree(comm, engine->backend->open_buffers(engine), NULL);
}

static void log_open(const glm_engine *engine) {
    const glm_plan *plan = &engine->plan;
    rt_log(RT_LOG_INFO, "engine",
            "open max_len=%" PRId64 " span=%" PRId64 " chunk=%" PRId64 " threads=%" PRId32
            " device=%s isa=%s linear=%s kv=%s hidden=%s bytes=%" PRId64 " gpu_bytes=%" PRId64
            " rank=%" PRId32 " ranks=%" PRId32,
            plan->max_len, plan->span, plan->chunk, plan->threads, engine->backend->name,
            rt_isa_name(rt_machine_isa()), glm_linear_by_name(plan->linear_by),
            rt_dtype_name(plan->kv_dtype), rt_dtype_name(plan->hidden_dtype), plan->total_bytes,
            plan->gpu_total_bytes, engine->comm->rank, engine->comm->n_ranks);
    if (engine->comm->rank == 0 && engine->config.warning[0])
        rt_log(RT_LOG_WARN, "config", "%s", engine->config.warning);
}

rt_status glm_engine_open_rank(const glm_options *options, par_comm *comm, glm_engine **out) {
    glm_checkpoint *checkpoint = NULL;
    glm_engine *engine = NULL;
    rt_status status = rt_calloc(1, sizeof *engine, "the engine", &engine);
    if (status != RT_OK) {
        par_comm_close(comm);
        return status;
    }
    engine->comm = comm;
    comm->step_name = "loading";
    status = par_agree(comm, glm_checkpoint_open(options->model_dir, &checkpoint), NULL);
    if (status == RT_OK) status = open_with(engine, checkpoint, options);
    glm_checkpoint_close(checkpoint);
    if (status != RT_OK) {
        engine->ranks.depth++; /* nobody listens to steps yet: all close by themselves */
        glm_engine_close(engine);
        return status;
    }
    log_open(engine);
    atomic_store(&engine->comm->is_idle, true); /* from step to step */
    *out = engine;
    return RT_OK;
}

/* A number of ranks that cannot be is refused before any is started. */
static rt_status check_ranks(const glm_options *options) {
    glm_config config;
    glm_config part;
    par_shard shard;
    if (options->tensor_parallel <= 1) return RT_OK;
    RT_TRY(glm_config_load(options->model_dir, &config));
    return glm_plan_share(&config, 0, options->tensor_parallel, &shard, &part);
}

rt_status glm_engine_open(const glm_options *options, glm_engine **out) {
    par_comm *comm = NULL;
    RT_TRY(check_ranks(options));
    RT_TRY(glm_ranks_open(options, &comm));
    RT_TRY(glm_engine_open_rank(options, comm, out));
    glm_adapter_warn(options->model_dir);
    return RT_OK;
}

/* The group ends in an orderly way, unless it is over already. */
static rt_status leave_group(glm_engine *engine) {
    par_comm *comm = engine->comm;
    const glm_step step = {.kind = GLM_STEP_CLOSE};
    rt_status status = glm_step_begin(engine, &step);
    if (status == RT_OK) {
        status = comm->barrier(comm);
        glm_step_end(engine);
    }
    par_comm_close(comm);
    return status;
}

rt_status glm_engine_leave(glm_engine *engine) {
    rt_assert(!engine->prefill.session);
    atomic_store(&engine->comm->is_idle, false);
    glm_identity_end(engine->identity);
    kv_store_close(engine->store);
    free_dirs(engine);
    if (engine->backend) engine->backend->close(engine);
    rt_pool_free(engine->pool);
    const rt_status status = leave_group(engine);
    free(engine);
    return status;
}

void glm_engine_close(glm_engine *engine) {
    if (!engine) return;
    const rt_status ignored = glm_engine_leave(engine); /* rank 0 has what it came for */
    (void)ignored;
}

void glm_engine_stop_if(glm_engine *engine, int (*stops)(void)) {
    engine->stops = stops;
}

rt_status glm_engine_ask_stop(const glm_engine *engine, const char *what) {
    if (!engine->stops || !engine->stops()) return RT_OK;
    return rt_fail(RT_EINTERRUPTED, "stopped in %s", what);
}

rt_status glm_engine_check(const glm_engine *engine) {
    par_comm *comm = engine->comm;
    char text[1024];
    const rt_status status = comm->check(comm);
    if (status == RT_OK) return RT_OK;
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    return rt_fail(status, "%s (after step %" PRId64 ", %s)", text, comm->step, comm->step_name);
}

const glm_config *glm_engine_config(const glm_engine *engine) {
    return &engine->config;
}

const glm_plan *glm_engine_plan(const glm_engine *engine) {
    return &engine->plan;
}

const char *glm_engine_overflow(const glm_engine *engine, char *text, int64_t room) {
    const glm_plan *plan = &engine->plan;
    char host[RT_SIZE_TEXT];
    char pinned[RT_SIZE_TEXT];
    char rows[RT_SIZE_TEXT];
    char before[96] = "";
    char part[64] = "it streams";
    text[0] = '\0';
    if (!plan->kv_overflows || plan->kv_pinned_tokens >= plan->max_len) return text;
    if (plan->kv_pinned_tokens > 0)
        (void)snprintf(part, sizeof part, "all but the first %s tokens stream",
                rt_format_tokens(plan->kv_pinned_tokens, pinned));
    if (plan->kv_rows_bytes > 0)
        (void)snprintf(before, sizeof before, "%s of the host's, and ",
                rt_format_bytes(plan->kv_rows_bytes, rows));
    (void)snprintf(text, (size_t)room, "the KV cache takes %s of memory: %s from %s%s%s (%s)",
            rt_format_bytes(glm_plan_kv_here(plan), host), part, before, engine->kv_dirs[0],
            engine->n_kv_dirs > 1 ? " and other directories" : "", kv_store_io_text(engine->store));
    return text;
}

const char *glm_engine_fingerprint(const glm_engine *engine) {
    return engine->fingerprint;
}

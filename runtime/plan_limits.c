/* Limits of the machine: memory, disk, cores, each divided by the ranks here. */
#include "plan_limits.h"

#include <stdlib.h>

#include "base/machine.h"
#include "base/size.h"
#include "hub.h"
#include "kvstore/kvstore.h"
#include "plan_kv.h"
#include "rank_dirs.h"

/* Caps are of this machine: its ranks share them. */
int32_t glm_ranks_here(const glm_options *options) {
    if (options->ranks_here) return options->ranks_here;
    return options->tensor_parallel ? options->tensor_parallel : 1;
}

/* What is kept in one directory; whoever opens it says why that cannot be known. */
static int64_t kept_bytes(const char *dir) {
    kv_books *books = NULL;
    int64_t bytes = 0;
    if (kv_books_open(&dir, 1, &books) != RT_OK || kv_books_bytes(books, &bytes) != RT_OK)
        bytes = 0;
    kv_books_close(books);
    return bytes;
}

/* Free on the disk that the options name, for rank 0 of those here, and kept there. */
static rt_status ask_disk(const glm_options *options, int64_t *free_bytes, int64_t *kept) {
    const int32_t n_here = glm_ranks_here(options);
    char *cache = NULL;
    RT_TRY(glm_cache_path(&cache));
    const char *const *dirs =
            options->n_kv_disk_dirs > 0 ? options->kv_disk_dirs : (const char *const *)&cache;
    rt_status status = RT_OK;
    int64_t bytes = 0;
    *kept = 0;
    for (int i = 0; i < rt_max64(options->n_kv_disk_dirs, 1) && status == RT_OK; i++) {
        char *dir = NULL;
        status = glm_rank_dir(dirs[i], 0, &dir);
        if (status == RT_OK) bytes += glm_plan_disk_free((const char *const *)&dir, 1);
        if (status == RT_OK && options->persists)
            *kept += kept_bytes(dir) / (glm_has_rank_sign(dirs[i]) ? 1 : n_here);
        free(dir);
    }
    *free_bytes = bytes / n_here;
    free(cache);
    return status;
}

/* Besides those that compute: of the disk (8), of HTTP (6), of what is hashed, of a group of ranks. */
enum { OTHER_THREADS = 16 };

/* ulimit is of each process, and counts what is reserved: stacks too. */
static int64_t left_of_own(const rt_machine_memory *memory, const glm_options *options) {
    if (!memory->own_name) return INT64_MAX;
    const int64_t stacks = (glm_threads_of(options) + OTHER_THREADS) * rt_machine_stack_bytes();
    return rt_max64(memory->own_bytes - stacks, 0);
}

static void limit_memory(const rt_machine_memory *memory, glm_options *out) {
    if (out->host_memory_bytes) {
        out->memory_bytes = out->host_memory_bytes / glm_ranks_here(out);
        out->memory_name = "--host-memory";
        return;
    }
    const int64_t own_bytes = left_of_own(memory, out);
    out->memory_bytes = memory->available_bytes / glm_ranks_here(out);
    if (own_bytes >= out->memory_bytes) return;
    out->memory_bytes = own_bytes;
    out->memory_name = memory->own_name;
}

rt_status glm_plan_ask_limits(const glm_options *options, glm_options *out) {
    rt_machine_memory memory;
    int64_t free_bytes = 0;
    int64_t kept = 0;
    RT_TRY(rt_machine_memory_read(&memory));
    if (!options->disk_free_bytes) RT_TRY(ask_disk(options, &free_bytes, &kept));
    *out = *options;
    if (!out->memory_bytes) limit_memory(&memory, out);
    if (out->disk_free_bytes) return RT_OK;
    out->disk_free_bytes = free_bytes;
    out->disk_kept_bytes = kept;
    return RT_OK;
}

int32_t glm_cores_here(const glm_options *options) {
    return options->cores_here ? options->cores_here : rt_machine_cores();
}

/* Threads of a rank: cores that we may use, shared among the ranks here. */
int32_t glm_threads_of(const glm_options *options) {
    if (options->threads) return options->threads;
    return (int32_t)rt_max64(glm_cores_here(options) / glm_ranks_here(options), 1);
}

/* Kept free of a GPU's memory: what the driver and libraries take beyond what is planned for them. */
static const int64_t gpu_reserve_bytes = 224 * RT_MIB;

int64_t glm_plan_gpu_limit(int64_t free_bytes) {
    return rt_max64(free_bytes - gpu_reserve_bytes, 0);
}

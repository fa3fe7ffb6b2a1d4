/* The memory bill: budgets -> span, chunk, pages, bytes, seconds; or a refusal.
 *
 * The engine allocates by this plan and by nothing else; `glm1m plan` is the same code, run dry. */
#ifndef GLM_PLAN_H
#define GLM_PLAN_H

#include "checkpoint.h"
#include "linear_by.h"
#include "parallel/parallel.h"

/* What the user asked for; zero means "choose". Strings are borrowed. */
typedef struct glm_options {
    const char *model_dir;
    const char *device; /* "auto", "cpu", "cuda"; NULL: auto */

    /* Tokens: */
    int64_t max_len;          /* -c: of one sequence, prompt and answer; 0: the most that fits */
    int64_t chunk;            /* -b: of one kernel call in prefill */
    int64_t span;             /* of the durable unit; a multiple of 4096 */
    int64_t extra_kv_tokens;  /* of KV, besides max_len: forks that share its prefix */
    int64_t kv_window_tokens; /* that stream through memory at a time, if its budget holds them */
    int64_t max_logits;       /* whose logits one prefill brings, at most; 0: 1 */
    int32_t max_seqs;         /* sequences decoded together; 0: 1 */
    int32_t n_speculative; /* tokens that glm_decode_ahead may draft, at most GLM_DRAFT_MAX; 0: none */

    /* How KV is kept, and who multiplies: */
    const char *kv_dtype; /* "bf16", "f32", "fp8", "int8", "int4"; NULL: bf16, of f32 weights f32 */
    const char *kv_io;    /* "auto", "uring", "pread"; NULL: auto */
    const char *kv_packing; /* "auto", "dense", "plain"; NULL: auto */
    const char *linear;     /* "auto", "own", "onednn": who multiplies on the CPU; NULL: auto */

    /* Hard caps, in bytes. The ranks of a machine share those of its memory and of its disk. */
    int64_t host_kv_bytes; /* --host-kv-space: KV in host memory; beside a GPU, what leaves the GPU */
    int64_t device_kv_bytes;      /* --device-kv-space: KV in a GPU's memory */
    int64_t device_weights_bytes; /* --device-weights-space: weights in a GPU's memory */
    int64_t kv_disk_bytes;        /* --kv-disk-space: KV on disk, all directories together */
    int n_kv_disk_dirs;           /* --kv-disk-dir; 0: our cache directory */
    const char *const *kv_disk_dirs;

    /* What sessions prefill: */
    bool persists;    /* is kept on disk, and found there again */
    bool needs_kept;  /* and that must be possible: a book is named */
    bool keeps_all;   /* and there must be room for all of it: a book is made */
    bool keeps_forks; /* and what forks of them prefill, too */

    int32_t threads;         /* of a rank; 0: its share of the cores that we may use */
    int32_t tensor_parallel; /* -tp: ranks; 0: 1 */
    int32_t ranks_here;      /* of them on this machine; 0: all */
    int32_t cores_here;      /* that those may use together; 0: those of this process */
    bool nccl;               /* --nccl: one GPU, too, sums by NCCL */

    /* What is planned for, where it is not what is here: */
    const char *gpu_name;      /* --gpu, of gpu_names.h; NULL: what the device says it is */
    int64_t host_memory_bytes; /* --host-memory: that its ranks share; 0: this machine's */

    /* What there is for a rank to take, in bytes; 0: the machine is asked. */
    int64_t gpu_memory_bytes; /* besides what CUDA has taken */
    int64_t memory_bytes;
    const char *
            memory_name; /* what leaves no more than that, if not the machine: "ulimit -v", "--host-memory" */
    int64_t disk_free_bytes;
    int64_t disk_kept_bytes; /* kept already, to be found again or to make way; asked for with disk_free_bytes */
} glm_options;

/* Bytes are one rank's. */
typedef struct glm_plan {
    bool on_gpu;          /* weights, KV, hidden states and scratch are in its memory */
    const char *gpu_name; /* planned for by its data sheet, and not asked; NULL: what is here */
    bool sums_on_gpu;     /* over ranks, by NCCL */
    int32_t n_ranks;      /* of tensor parallelism */
    int32_t kv_copies;    /* ranks that hold the same KV heads */
    int32_t threads;
    rt_dtype kv_dtype;
    rt_dtype hidden_dtype;
    glm_linear_by linear_by; /* who multiplies matrices of bf16 */

    int64_t max_len;
    int64_t kv_tokens; /* that the page pool holds, max_len and forks together */
    int64_t chunk;
    int64_t span;
    int32_t max_seqs;
    int32_t n_speculative; /* 0 on more than two GPUs */
    int64_t max_logits;

    int64_t tokenizer_bytes;     /* of the total */
    int64_t weights_bytes;       /* as the device holds them */
    int64_t weights_limit_bytes; /* --device-weights-space; 0: no cap of their own */
    int32_t n_streamed_layers;   /* whose weights come to the GPU once a span and once a token; */
    int64_t weights_host_bytes;  /* of those, in pinned memory; 0: all weights are on the GPU */

    /* KV in memory. On a GPU the pages are in the GPU's, what is staged for the disk in the host's. */
    int64_t kv_page_bytes;      /* of one layer, 128 tokens */
    int64_t kv_open_page_bytes; /* of a page that is not full, where pages are lossy; else 0 */
    int64_t kv_host_bytes;      /* pages, and what streaming takes, kv_staging_bytes included */
    int64_t kv_staging_bytes;
    int64_t kv_limit_bytes; /* --host-kv-space, on a GPU --device-kv-space; 0: no cap of its own */
    int64_t kv_rows_bytes;  /* beside a GPU: of the host's memory, pinned, in front of the disk */
    int64_t kv_rows_limit_bytes; /* --host-kv-space there; 0: half of what the memory leaves */
    bool kv_fits;                /* in the memory there is for it; what overflows goes to disk */

    /* How it overflows (kvstore.h, kv_overflow). */
    bool kv_overflows;
    int32_t kv_extent_tokens;
    int32_t kv_window_extents;
    int64_t kv_window_wanted; /* tokens of a window; 0: as the device and the budget suggest */
    int64_t kv_pinned_tokens;
    int64_t kv_disk_bytes; /* that it takes at most; 0: everything stays in memory */

    /* What is kept on disk. */
    const char *kv_disk_dir;     /* the options' first directory; NULL: our cache */
    int n_kv_disk_dirs;          /* 0: our cache */
    bool kv_persists;            /* what is computed is kept, */
    bool kv_keeps_all;           /* and all of it must be: a book is made */
    int64_t kv_keep_bytes;       /* that max_len tokens take, at most */
    int64_t kv_kept_bytes;       /* there already, where the limit does not count it */
    int64_t kv_must_bytes;       /* that the disk must hold, or max_len tokens do not fit */
    int64_t kv_disk_limit_bytes; /* --kv-disk-space, otherwise most of what is free; of it, at most: */
    int64_t kv_overflow_max;     /* for the overflow */
    int64_t kv_keep_max;         /* for what is kept */

    int64_t hidden_bytes;  /* residual stream of one span */
    int64_t scratch_bytes; /* activations of one chunk, logits, per-thread tiles */
    int64_t context_bytes; /* of a GPU's memory, gone for CUDA when it was asked what is free */
    int64_t graphs_bytes;  /* what the driver is taken to keep there of decode's graphs */
    int64_t driver_bytes; /* both, and what code and NCCL take: nothing of it is the engine's to take */
    int64_t pinned_bytes; /* on the host, for a GPU to copy from and to; 0 without one */
    int64_t lists_bytes;  /* token ids and page pointers of every sequence */
    int64_t load_bytes;   /* staging while weights are read; given back before the KV is taken */

    int64_t total_bytes; /* peak: all of the host's memory that is taken at once, the program too */
    int64_t limit_bytes; /* what the machine (or cgroup, or ulimit) grants */
    const char *limit_name;  /* rank 0's, as in the options */
    int64_t gpu_total_bytes; /* of a GPU's memory, all that lives there at once */
    int64_t gpu_limit_bytes; /* what is free there and what is CUDA's already, but for a reserve */
    int64_t fitting_len;     /* the largest max_len that would fit */
    int32_t ranks_here; /* that share caps of this machine; as the user gives them, for all of these, the smallest with */
    int64_t least_host_kv_bytes; /* which max_len fits: --host-kv-space; 0: with none, or nothing is wrong with it */
    int64_t least_disk_bytes; /* --kv-disk-space, likewise */
    bool fits;

    double prefill_flop; /* of max_len tokens */
    double machine_flops; /* of linear layers, measured in a few milliseconds on this machine, FLOP/s */
    double attention_flops; /* of attention in prefill, likewise; of a GPU, the same */
    double prefill_s;       /* expected */
    double decode_tps;      /* expected at max_len */
} glm_plan;

/* Work, the unit of progress and of expected times: FLOP, those of attention counted as what they take beside those of linear
 * layers. plan->machine_flops of it take a second. */
static inline double glm_plan_work(const glm_plan *plan, double flop, double attention_flop) {
    return flop + (plan->machine_flops / plan->attention_flops - 1.0) * attention_flop;
}

/* Of costs.h's prefills of tokens [pos, pos + n). */
double glm_plan_prefill_work(
        const glm_plan *plan, const glm_config *config, int64_t pos, int64_t n);
double glm_plan_prefill_all_work(
        const glm_plan *plan, const glm_config *config, int64_t pos, int64_t n);

/* Of kv_host_bytes, what is where the pages are: a GPU's memory, or the host's. */
static inline int64_t glm_plan_kv_here(const glm_plan *plan) {
    return plan->kv_host_bytes - (plan->on_gpu ? plan->kv_staging_bytes : 0);
}

/* Compute the plan. A refusal is not an error: plan->fits is false, the numbers are there.
 *
 *   options  borrowed for the call, but for its first directory, which the plan points to
 *
 * Takes some 80 ms, in which the CPU is measured, or asks the GPU.
 *
 * Errors: RT_EUSAGE  a length, budget, type or device that cannot be, or the model cannot be shared among so many ranks
 *         RT_EUNSUPPORTED  the device, or the library that is to multiply, is not to be used here: why
 *         RT_EMODEL  the device does not run this model
 *         RT_ENOFIT  there is less memory than any plan takes
 *         RT_EDEVICE; RT_EIO  the machine's memory cannot be read; RT_ENOMEM */
RT_MUST_CHECK rt_status glm_plan_make(
        const glm_checkpoint *checkpoint, const glm_options *options, glm_plan *out);

/* Fill memory_bytes, disk_free_bytes and disk_kept_bytes, where they are open, with this machine's, divided by the ranks
 * that share it. `out` may be `options`. Errors: RT_EIO, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_plan_ask_limits(const glm_options *options, glm_options *out);
/* Of what is free on a GPU, what may be taken. */
int64_t glm_plan_gpu_limit(int64_t free_bytes);

/* A rank's share of a model. RT_EUSAGE: it cannot be shared among so many. */
RT_MUST_CHECK rt_status glm_plan_share(const glm_config *config, int32_t rank, int32_t n_ranks,
        par_shard *shard, glm_config *part);

/* RT_ENOFIT with what would fit, when the plan does not. */
RT_MUST_CHECK rt_status glm_plan_require(const glm_plan *plan);

#endif

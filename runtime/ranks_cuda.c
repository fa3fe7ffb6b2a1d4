/* Ranks that are GPUs: which GPU is whose, and the three places where they meet on their compute streams.
 *
 * A rank's part of an update (of its heads, of its columns of the MLP) leaves cuBLASLt in fp32, is summed over ranks
 * in fp32 by NCCL, and is then rounded to bf16 once, as one rank rounds the whole: what differs between numbers
 * of ranks is the order of one fp32 sum. Rows of the embedding are summed with zeros, which is exact; logits
 * are gathered. All of it is queued: the host waits for no sum, and in decode the sums are part of the captured
 * graphs. NCCL's calls may be captured; what it sets up at the first call of a kind happens in the step that is
 * taken as it comes (graphs_cuda.c).
 *
 * A sum ends only if every rank has queued it. So what fails on one rank ends the group (glm_group_end), unless
 * all have agreed on it first, as they do on what the store found (glm_cuda_ranks_agree). A GPU that fails ends it in any case
 * (watch_cuda.c): others may wait for sums that are queued there before they come to agree. And a sum that was cut
 * short, because the group ended, leaves numbers and no error: after each wait the group is asked
 * (glm_cuda_ranks_settle), before what was waited for is used or kept.
 *
 * Source: NCCL user guide, "Using NCCL with CUDA Graphs"; Shoeybi et al. 2019, arXiv:1909.08053, section 3. */
#include <inttypes.h>
#include <string.h>

#include "engine_cuda.h"
#include "ranks.h"

/* NCCL's kernels: 2.28.9 takes 576 to 580 MiB of an H200 for one rank, when its communicator is made. Buffers of connections
 * are derived: 9.2 MiB for each of 3 in a channel (4 MiB, 4.7 and 0.5 for its three protocols; a ring's, and two of a
 * tree), of 16 channels. */
static const int64_t nccl_bytes = 640 * RT_MIB;
static const int64_t connections_bytes = 442 * RT_MIB;

int64_t glm_cuda_ranks_bytes(const glm_plan *plan) {
    if (!plan->sums_on_gpu) return 0;
    return nccl_bytes + (plan->n_ranks > 1 ? connections_bytes : 0);
}

/* Whether ranks sum on devices. */
static bool has_sums(const glm_engine *engine) {
    return engine->comm->memory == PAR_DEVICE;
}

/* ---- which GPU ------------------------------------------------------------------------------- */

static bool is_on_host_of(const par_comm *comm, int32_t a, int32_t b) {
    return strncmp(comm->hosts[a], comm->hosts[b], PAR_NAME_BYTES) == 0;
}

typedef struct seat {
    char bus[GLM_CUDA_BUS_BYTES];
} seat;

/* A launcher shows each rank all GPUs of its host, or only the rank's own: what counts is that no two ranks have
 * taken the same. */
static rt_status require_own(const par_comm *comm, const seat *seats) {
    for (int32_t r = 1; r < comm->n_ranks; r++) {
        int32_t n_ranks = 0;
        int32_t n_taken = 0; /* GPUs there */
        int32_t same = -1;
        for (int32_t i = 0; i < comm->n_ranks; i++) {
            bool is_first = true;
            if (!is_on_host_of(comm, i, r)) continue;
            for (int32_t k = 0; k < i; k++)
                if (is_on_host_of(comm, k, r) && strcmp(seats[k].bus, seats[i].bus) == 0)
                    is_first = false;
            n_ranks++;
            n_taken += is_first;
            if (i < r && strcmp(seats[i].bus, seats[r].bus) == 0) same = i;
        }
        if (same >= 0)
            return rt_fail(RT_EUNSUPPORTED,
                    "--device cuda: %" PRId32 " ranks on %s, which has %" PRId32
                    " GPU%s for them: ranks %" PRId32 " and %" PRId32
                    " would share %s, and each needs its own",
                    n_ranks, comm->hosts[r], n_taken, n_taken == 1 ? "" : "s", same, r,
                    seats[r].bus);
    }
    return RT_OK;
}

rt_status glm_cuda_ranks_open(glm_engine *engine, bool also_alone) {
    par_comm *comm = engine->comm;
    seat mine = {{0}};
    seat seats[PAR_RANKS_MAX];
    par_comm *sums = NULL;
    if (comm->n_ranks == 1 && !also_alone) return RT_OK;
    memcpy(mine.bus, engine->cuda->device.bus, sizeof mine.bus);
    RT_TRY(comm->share(comm, &mine, sizeof mine, seats));
    RT_TRY(require_own(comm, seats));
    RT_TRY(par_comm_nccl_open(comm, NULL, &sums));
    engine->comm = sums;
    return par_agree(sums, comm->n_ranks > 1 ? glm_cuda_watch_open(engine) : RT_OK, NULL);
}

/* ---- what ends, and what was waited for ------------------------------------------------------ */

rt_status glm_cuda_ranks_agree(glm_engine *engine, rt_status mine) {
    return glm_layer_agree(engine, glm_cuda_watch_look(engine->cuda, mine));
}

rt_status glm_cuda_ranks_settle(const glm_engine *engine, rt_status waited) {
    const rt_status sums = has_sums(engine) ? engine->comm->check(engine->comm) : RT_OK;
    return glm_group_end(engine, sums == RT_OK ? waited : sums);
}

/* ---- sums ------------------------------------------------------------------------------------ */

rt_status glm_cuda_ranks_update(
        glm_engine *engine, const glm_cuda_matrix *weight, const uint16_t *x, glm_cuda_rows rows) {
    const glm_cuda *cuda = engine->cuda;
    const rt_stream stream = cuda->device.compute;
    const int64_t n_numbers = rows.n * weight->n_out;
    if (!has_sums(engine))
        return glm_cuda_linear(cuda->cublas, weight, x, rows, cuda->update, false, stream);
    RT_TRY(glm_cuda_linear(cuda->cublas, weight, x, rows, cuda->sums, true, stream));
    RT_TRY(engine->comm->all_reduce(engine->comm, cuda->sums, n_numbers, stream));
    return glm_cuda_round(cuda->sums, n_numbers, cuda->update, stream);
}

rt_status glm_cuda_ranks_embed(
        glm_engine *engine, const int32_t *ids, int64_t n, uint16_t *hidden) {
    const glm_cuda *cuda = engine->cuda;
    const rt_stream stream = cuda->device.compute;
    const int64_t width = engine->config.hidden;
    if (!has_sums(engine))
        return glm_cuda_embed(cuda->weights.embedding, ids, n, width, hidden, stream);
    for (int64_t done = 0; done < n; done += cuda->rows) {
        const int64_t count = rt_min64(cuda->rows, n - done);
        RT_TRY(glm_cuda_embed_own(cuda->weights.embedding, engine->shard.first_vocab,
                engine->part.vocab, ids + done, count, width, cuda->sums, stream));
        RT_TRY(engine->comm->all_reduce(engine->comm, cuda->sums, count * width, stream));
        RT_TRY(glm_cuda_round(cuda->sums, count * width, hidden + done * width, stream));
    }
    return RT_OK;
}

rt_status glm_cuda_ranks_logits(glm_engine *engine, glm_cuda_rows rows) {
    const glm_cuda *cuda = engine->cuda;
    par_comm *comm = engine->comm;
    const rt_stream stream = cuda->device.compute;
    const glm_cuda_matrix *head = &cuda->weights.head;
    const int64_t n = rows.n;
    const int64_t share = n * engine->part.vocab;
    if (!has_sums(engine))
        return glm_cuda_linear(cuda->cublas, head, cuda->normed, rows, cuda->logits, true, stream);
    float *all = n == 1 ? cuda->logits : cuda->shares; /* one row's shares are a row already */
    float *mine = all + comm->rank * share;
    RT_TRY(glm_cuda_linear(cuda->cublas, head, cuda->normed, rows, mine, true, stream));
    RT_TRY(comm->all_gather(comm, mine, share * (int64_t)sizeof *mine, all, stream));
    if (n == 1) return RT_OK;
    return glm_cuda_join(all, comm->n_ranks, n, engine->part.vocab, cuda->logits, stream);
}

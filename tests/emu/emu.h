/* CUDA kernels on a CPU: every thread of a block is a fiber, every collective a meeting point,
 * every access to shared memory is checked.
 *
 *   fibers.cpp   threads, scheduling, meetings, barriers, the launch
 *   clocks.cpp   what threads know of one another
 *   shadow.cpp   shared memory: validity, happens-before, what is in flight
 *   global.cpp   numbers in global memory, from block to block
 *   copies.cpp   cp.async, mbarriers, bulk copies
 *   warp.cpp     shuffles, ldmatrix, mma
 *   wgmma.cpp    warpgroup matrices and their descriptors
 *   multiply.cpp products of both
 *   mutate.cpp   planted bugs: one call site of one primitive misbehaves
 *
 * Happens-before. An agent is a thread, a warpgroup's wgmma engine or an mbarrier's copy engine;
 * each access is stamped with (agent, its clock). A thread's vector clock says how far it knows
 * each agent; barriers, __syncwarp and mbarriers join clocks, shuffles and matrix collectives do
 * not. A read needs to know the write before it; a write needs to know the write and the reads
 * before it. A second clock, `fenced`, is what fence.proxy.async has carried into the async proxy:
 * reads by wgmma and bulk copies are checked against that one where the bytes were written by
 * ordinary stores, and bulk copies where they were read by ordinary loads.
 *
 * What hardware forbids and happens to go well is a finding too (test_cuda_strict_mutants.cpp has each rule broken): a
 * parity that may be of another phase, lanes that may miss a phase, a barrier with half a warp or two instructions,
 * operands written behind wgmma.fence, setmaxnreg the wrong way, vectors that are not aligned.
 *
 * Asynchronous copies happen as late as they may, wgmma results appear at the wait; in between the
 * bytes are poison and in flight. A block in which nobody can go on is a deadlock, reported with
 * what everyone waits for. Any finding ends the process with exit code 3. */
#ifndef EMU_H
#define EMU_H

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <vector>

enum {
    EMU_WARP = 32,
    EMU_GROUP = 128,
    EMU_THREADS_MAX = 640,
    EMU_MBARS_MAX = 32,
    EMU_AGENTS_MAX = EMU_THREADS_MAX + EMU_THREADS_MAX / EMU_GROUP + EMU_MBARS_MAX,
    EMU_SMEM_BYTES_MAX = 227 * 1024,
    EMU_EXIT_FOUND = 3
};

/* Where a primitive was called. */
struct emu_site {
    const char *file;
    int line;
    static emu_site here(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
        return emu_site{file, line};
    }
};
#define EMU_SITE emu_site site = emu_site::here()

/* The clocks of all agents, as far as somebody knows them. Those who know the same have the same one, and it does not change
 * any more: a barrier costs each thread a pointer. */
struct emu_known {
    uint32_t at[EMU_AGENTS_MAX];
    int n_owners;
};

/* One of them; at first that which knows nothing. */
class emu_knowledge {
  public:
    emu_knowledge() : known(&nothing) {}
    explicit emu_knowledge(emu_known *own) : known(own) {
        known->n_owners++;
    }
    emu_knowledge(const emu_knowledge &other) : emu_knowledge(other.known) {}
    emu_knowledge &operator=(const emu_knowledge &other) {
        other.known->n_owners++;
        drop();
        known = other.known;
        return *this;
    }
    ~emu_knowledge() {
        drop();
    }
    uint32_t of(int agent) const {
        return known->at[agent];
    }
    const emu_known *at() const {
        return known;
    }
    bool is_nothing() const {
        return known == &nothing;
    }
    bool operator==(const emu_knowledge &other) const {
        return known == other.known;
    }

  private:
    emu_known *known;
    static emu_known nothing;
    static void give_back(emu_known *known);
    void drop() {
        if (--known->n_owners == 0 && known != &nothing) give_back(known);
    }
};

/* What comes together where several threads meet; and the last that was added. */
struct emu_gathered {
    uint32_t at[EMU_AGENTS_MAX];
    bool is_some;
    emu_knowledge last;
};

struct emu_copy { /* cp.async, not yet done */
    uint32_t to;
    uint32_t group;
    const void *from;
    int src_bytes;
};

struct emu_thread {
    int index;
    int stack; /* -1: none, it has not begun */
    void *sp;
    void *fake_stack; /* ASan's, while switched away */
    bool is_done;
    bool has_waited;       /* for the kernels before, or none of them can still run */
    bool is_any;           /* what came of the last barrier's votes */
    const char *waits_for; /* NULL: can run */
    emu_site waits_at;
    uint32_t n_met; /* what all lanes of its warp have come to, so far: barriers and collectives */
    emu_knowledge known; /* of others; of itself: */
    uint32_t clock;
    emu_knowledge fenced; /* the same, */
    uint32_t fenced_clock;
    std::vector<emu_copy> copies; /* in the order of their groups, */
    uint32_t open_group;          /* of which those before this one are committed */
};

/* Whether it knows of an agent's doings at a clock; whether these are fenced. */
static inline bool emu_knows(const emu_thread *t, int agent, uint32_t clock) {
    return (agent == t->index ? t->clock : t->known.of(agent)) >= clock;
}
static inline bool emu_has_fenced(const emu_thread *t, int agent, uint32_t clock) {
    return (agent == t->index ? t->fenced_clock : t->fenced.of(agent)) >= clock;
}

/* ---- fibers.cpp ------------------------------------------------------------------------------ */

struct emu_launch {
    int64_t grid_x, grid_y;
    int threads;
    int smem_bytes;
    /* What the kernel is given, with zeros between its parts, during the call alone; 0 bytes: the compiler cannot clear
     * what lies between. */
    const void *params = NULL;
    size_t params_bytes = 0;
    bool is_early = false; /* the kernels before may not be over when it begins */
};

/* How the world goes: 0 is first come first served and copies as late as possible; any other seed
 * is a random schedule of threads, blocks and copies. */
void emu_seed(uint64_t seed);

/* Run only blocks with this x, in launches of more blocks than a test has time for; -1: all. */
void emu_only_block(int64_t x);

/* How many multiprocessors a kernel is told there are, 2 at first: a persistent one has so many
 * blocks. */
void emu_set_sm_count(int n);
int emu_sm_count();

/* In a kernel that begins early: the ones before are over. Whoever touches what is between kernels without having waited, or
 * ends so, for then the next kernel may begin, is a finding. */
void emu_wait_for_kernels(emu_site site);
void emu_require_waited(const char *what, emu_site site);

/* Run every block, one after the other. */
void emu_run(const emu_launch &launch, const std::function<void()> &kernel);

/* Why a launch is refused: an error of CUDA's, 0 where it is not. */
struct emu_refusal {
    int error;
    const char *words;
};
/* Where launches go instead: a stand-in for CUDA's runtime queues them. NULL: they run at once. `source`: the file
 * that was compiled. */
extern emu_refusal (*emu_launch_hook)(
        void *stream, const emu_launch &how, const char *source, std::function<void()> work);

extern emu_thread *emu_running;
static inline emu_thread *emu_self() {
    return emu_running;
}
int emu_n_threads();
int64_t emu_block_x();
int64_t emu_block_y();
uint64_t emu_random();
bool emu_is_random();

/* This thread waits until emu_wake; `what` is a string constant. */
void emu_park(const char *what, emu_site site);
void emu_wake(int thread);

/* Where the n threads [first, first + n) meet. */
struct emu_meeting {
    int n_here;
    const char *what;
    int immediate;
    emu_site site;
    void *args[EMU_GROUP];
    int parked[EMU_GROUP];
};
/* The meeting to which this thread is the last to come; NULL: another one was, and it is over. */
emu_meeting *emu_meet_last(int n, const char *what, int immediate, void *args, emu_site site);
void emu_meet_end(emu_meeting *meeting);

/* n threads meet: the last to come calls work(args of all). They must have come by the same call with the same
 * immediate. */
template <typename WORK>
static inline void emu_meet(
        int n, const char *what, int immediate, void *args, const WORK &work, emu_site site) {
    emu_meeting *meeting = emu_meet_last(n, what, immediate, args, site);
    if (!meeting) return;
    work(meeting->args);
    emu_meet_end(meeting);
}

/* Barrier `id` of n threads: wait there, or be counted only. Whether one of them votes for something. */
bool emu_barrier(int id, int n, const char *what, emu_site site, bool vote = false);
void emu_barrier_arrive(int id, int n, emu_site site);
void emu_syncwarp(emu_site site);

/* A finding: prints it with block, thread and site, and ends the process. */
[[noreturn]] void emu_found(emu_site site, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* ---- clocks.cpp ------------------------------------------------------------------------------ */

/* Begin with nothing. */
void emu_gather_none(emu_gathered *to);
/* What a thread knows, and its own clock. */
void emu_gather(emu_gathered *to, const emu_knowledge &known, int index, uint32_t clock);
emu_knowledge emu_share(const emu_gathered &from);
emu_knowledge emu_joined(const emu_knowledge &a, const emu_knowledge &b);
emu_knowledge emu_with(const emu_knowledge &known, int agent, uint32_t clock);

/* What this thread did so far gets an older stamp than what follows. */
static inline void emu_tick(emu_thread *thread) {
    thread->clock++;
}
static inline int emu_engine_agent(int group) {
    return EMU_THREADS_MAX + group;
}
static inline int emu_mbar_agent(int mbar) {
    return EMU_THREADS_MAX + EMU_THREADS_MAX / EMU_GROUP + mbar;
}

/* ---- shadow.cpp ------------------------------------------------------------------------------ */

void emu_smem_reset(int bytes);
uint32_t emu_smem_begin(); /* of the dynamic block; a multiple of 16, deliberately not of 1024 */
void emu_read(uint32_t at, int bytes, void *to, emu_site site);
void emu_write(uint32_t at, int bytes, const void *from, emu_site site);
/* By the wgmma engine of this thread's warpgroup, stamped with its clock. */
void emu_read_async(uint32_t at, int bytes, void *to, uint32_t engine_clock, emu_site site);
/* A copy into [at, at + bytes) begins: poison, in flight. Is over: the bytes, written by `agent` at
 * `clock`. */
void emu_copy_begins(uint32_t at, int bytes, bool is_async, emu_site site);
void emu_copy_ends(
        uint32_t at, int bytes, const void *from, int agent, uint32_t clock, bool is_async);
/* These bytes are an mbarrier; data accesses to them are wrong. */
void emu_smem_is_mbar(uint32_t at, emu_site site);

/* ---- global.cpp ------------------------------------------------------------------------------ */

/* Between blocks: numbers in global memory, known through tickets. */
/* What was written is not: who reads it from here on reads what is stale. */
void emu_forget_global();
/* A launch begins: what earlier ones have written is known to all. */
void emu_global_reset();
void emu_global_block_ends();
void emu_global_store(float *to, float value, emu_site site);
float emu_global_load(const float *from, emu_site site);
uint32_t emu_global_ticket(uint32_t *counter, emu_site site);

/* ---- copies.cpp ------------------------------------------------------------------------------ */

void emu_copies_reset();
void emu_cp_async(uint32_t to, const void *from, int src_bytes, emu_site site);
void emu_cp_async_commit(emu_site site);
void emu_cp_async_wait(int n, emu_site site);
void emu_mbar_init(uint32_t bar, int count, emu_site site);
void emu_fence_mbar_init(emu_site site);
void emu_mbar_arrive(uint32_t bar, int bytes, emu_site site);
void emu_mbar_wait(uint32_t bar, uint32_t parity, emu_site site);
void emu_bulk_load(uint32_t to, const void *from, int bytes, uint32_t bar, emu_site site);
void emu_fence_async(emu_site site);
/* Asked of cp.async and bulk copies so far; and of what stands for them. */
int64_t emu_bytes_copied();
void emu_count_copied(int64_t bytes);
/* Complete a bulk copy, a late one only where it is wanted; false: none is in flight. */
bool emu_copy_step(bool is_wanted);
void emu_copies_report();
void emu_copies_block_ends();

/* ---- warp.cpp, wgmma.cpp --------------------------------------------------------------------- */

float emu_shfl_xor(float v, int lane_mask, emu_site site);
bool emu_any(bool v, emu_site site);
void emu_ldmatrix(uint32_t *r, uint32_t at, bool is_trans, emu_site site);
/* The transposed of ldmatrix, columns of the matrices to where the lanes say. */
void emu_stmatrix_trans(const uint32_t *r, uint32_t at, emu_site site);
/* ldmatrix and stmatrix phases (8 rows) so far in which two rows fell on the same banks. */
int64_t emu_bank_conflicts();
uint32_t emu_movmatrix(uint32_t v, emu_site site);
void emu_mma(float *d, const uint32_t *a, uint32_t b0, uint32_t b1, emu_site site);

void emu_wgmma_reset();
void emu_wgmma_fence(emu_site site);
void emu_wgmma_commit(emu_site site);
void emu_wgmma_wait(int n, emu_site site);
/* What an instruction multiplies: m64nNk16. */
struct emu_product {
    int n;
    bool is_f16; /* or bf16 */
    bool is_a_mn_major;
    bool is_b_mn_major;
};
/* a_regs NULL: a is a descriptor. */
void emu_wgmma(const emu_product &product, float *d, const uint32_t *a_regs, uint64_t a, uint64_t b,
        int is_sum, emu_site site);
float emu_f16_number(uint16_t f16);
uint16_t emu_f16(float v);
void emu_set_registers(int n, bool is_take, emu_site site);
void emu_wgmma_block_ends();

/* ---- multiply.cpp ---------------------------------------------------------------------------- */

/* d[m][i] += a[m][k] b[k][i], for n_rows, a multiple of 4, and n columns, of 8; rows of d and b have so many numbers. */
enum { EMU_PRODUCT_K = 16 };
void emu_add_product(
        float *d, int width, const float *a, const float *b, int b_width, int n_rows, int n);

/* ---- mutate.cpp ------------------------------------------------------------------------------ */

/* Ways in which a call site can be wrong. */
enum emu_bug {
    EMU_NO_BUG,
    EMU_BUG_BARRIER_MISSING,
    EMU_BUG_BARRIER_WRONG, /* a named one: another */
    EMU_BUG_SYNCWARP_MISSING,
    EMU_BUG_COMMIT_MISSING,
    EMU_BUG_WAIT_MISSING,  /* cp.async.wait_group, wgmma.wait_group, mbarrier wait, for kernels */
    EMU_BUG_WAIT_WEAK,     /* one group too few */
    EMU_BUG_FENCE_MISSING, /* mbarrier init, proxy, wgmma */
    EMU_BUG_ARRIVE_MISSING,
    EMU_BUG_ARRIVE_TWICE,
    EMU_BUG_PARITY_WRONG,
    EMU_BUG_BYTES_SHORT,   /* expect_tx */
    EMU_BUG_SWIZZLE_WRONG, /* ldmatrix: the neighbouring 16 bytes; wgmma: the next 32 */
    EMU_BUG_TRANS_WRONG,   /* ldmatrix, movmatrix, wgmma's B */
    EMU_BUG_STRIDE_WRONG,  /* wgmma's leading byte offset */
    EMU_BUG_A_WRONG,       /* wgmma's A by a descriptor: the next 32 bytes */
    EMU_BUG_SHUFFLE_MISSING,
    EMU_BUG_COPY_MISSING, /* cp.async, bulk: not issued */
    EMU_BUG_ZERO_FILL_MISSING,
    EMU_BUG_TICKET_EARLY, /* the fence before the ticket is missing */
    EMU_N_BUGS
};
const char *emu_bug_name(int bug);

/* Whether this call is to be wrong that way; notes the place as one where it could be. */
bool emu_is_wrong(emu_bug bug, emu_site site);

/* Every place seen so far, in order; and the one that is wrong from now on (EMU_NO_BUG: none). */
struct emu_place {
    emu_bug bug;
    emu_site site;
};
std::vector<emu_place> emu_places();
void emu_mutate(emu_place place);

#endif

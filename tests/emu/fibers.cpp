/* Threads of a block as fibers: a fiber runs until it has to wait, then switches directly to the
 * next that can run. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <map>

#include "emu.h"

#if defined(EMU_WITH_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

emu_thread *emu_running;

namespace {

enum { STACK_BYTES = 256 * 1024, GUARD_BYTES = 4096 };

struct barrier {
    int n_here;
    int n;
    bool is_vote; /* bar.red; */
    bool is_any;  /* what came of it */
    uint32_t lanes[EMU_THREADS_MAX / EMU_WARP];
    emu_gathered known;
    emu_gathered fenced;
    int n_parked;
    int parked[EMU_THREADS_MAX];
};

/* Who can run, first come first served. */
struct line {
    enum { SIZE = 1024 };
    uint32_t n_taken, n_come;
    int places[SIZE];
    bool is_empty() const {
        return n_taken == n_come;
    }
    uint32_t n() const {
        return n_come - n_taken;
    }
    int &at(uint32_t i) {
        return places[(n_taken + i) % SIZE];
    }
    void come(int thread) {
        places[n_come++ % SIZE] = thread;
    }
    int take() {
        return places[n_taken++ % SIZE];
    }
};
static_assert((int)line::SIZE > (int)EMU_THREADS_MAX, "all of them can");

emu_launch launch;
const std::function<void()> *kernel;
int64_t block_x, block_y;
emu_thread threads[EMU_THREADS_MAX];
emu_thread host; /* who called emu_run */
emu_thread *&self = emu_running;
line runnable;
emu_meeting warp_meetings[EMU_THREADS_MAX / EMU_WARP];
emu_meeting group_meetings[EMU_THREADS_MAX / EMU_GROUP];
barrier barriers[16];
barrier warp_barriers[EMU_THREADS_MAX / EMU_WARP];
#if defined(EMU_WITH_ASAN)
const void *host_stack;
#endif
uint64_t random_state;
bool is_random;
int64_t only_block = -1;
int sm_count = 2;

/* ---- switching ------------------------------------------------------------------------------- */

#if defined(__x86_64__)
extern "C" void emu_switch_stack(void **save, void *load);
__asm__(".text\n.globl emu_switch_stack\n.type emu_switch_stack,@function\n"
        "emu_switch_stack:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size emu_switch_stack,.-emu_switch_stack\n");

void *first_frame(char *end, void (*entry)()) {
    uint64_t *top = (uint64_t *)end - 1; /* aligned as after a call */
    *--top = (uint64_t)(uintptr_t)entry;
    for (int i = 0; i < 6; i++) *--top = 0;
    return top;
}
#else
#error "the switch between fibers is written for x86-64"
#endif

char *stacks[EMU_THREADS_MAX + 1];
int spare_stacks[EMU_THREADS_MAX + 1], n_spare, n_stacks;

void stack_create(char **stack) {
    char *at = (char *)mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == (char *)MAP_FAILED || mprotect(at, GUARD_BYTES, PROT_NONE) != 0) abort();
    *stack = at + GUARD_BYTES;
}

void fiber_main();

/* A stack for a thread that begins while others wait on theirs. Where each has its first frames is another place of the
 * cache. */
void give_stack(emu_thread *t) {
    t->stack = n_spare > 0 ? spare_stacks[--n_spare] : n_stacks++;
    char **stack = &stacks[t->stack];
    if (!*stack) stack_create(stack);
    char *end = *stack + STACK_BYTES - t->stack % 32 * 1088;
#if defined(EMU_WITH_ASAN)
    /* The last frames of the fiber that ended here never returned. */
    enum { LAST_FRAMES_BYTES = 16384 };
    __asan_unpoison_memory_region(end - LAST_FRAMES_BYTES, LAST_FRAMES_BYTES);
#endif
    t->sp = first_frame(end, fiber_main);
}

void switch_to(emu_thread *to) {
    emu_thread *from = self;
    if (to == from) return; /* what it waits for has come while it looked for the next to run */
    if (to != &host && to->stack < 0) give_stack(to);
    if (from->is_done) spare_stacks[n_spare++] = from->stack;
    self = to;
#if defined(EMU_WITH_ASAN)
    __sanitizer_start_switch_fiber(from->is_done ? NULL : &from->fake_stack,
            to == &host ? host_stack : stacks[to->stack], to == &host ? 0 : STACK_BYTES);
#endif
    emu_switch_stack(&from->sp, to->sp);
#if defined(EMU_WITH_ASAN)
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &size);
#endif
}

/* ---- scheduling ------------------------------------------------------------------------------ */

[[noreturn]] void deadlock() {
    fprintf(stderr, "emu: deadlock in block (%lld, %lld):\n", (long long)block_x,
            (long long)block_y);
    std::map<std::pair<const char *, int>, int> waiting;
    for (int i = 0; i < launch.threads; i++)
        if (!threads[i].is_done) waiting[{threads[i].waits_for, threads[i].waits_at.line}]++;
    for (const auto &w : waiting)
        fprintf(stderr, "  %d threads wait in %s at line %d\n", w.second, w.first.first,
                w.first.second);
    emu_copies_report();
    _Exit(EMU_EXIT_FOUND);
}

emu_thread *next_thread() {
    if (is_random && emu_random() % 8 == 0) emu_copy_step(false);
    while (runnable.is_empty()) {
        bool is_over = true;
        for (int i = 0; i < launch.threads; i++) is_over = is_over && threads[i].is_done;
        if (is_over) return &host;
        if (!emu_copy_step(true)) deadlock();
    }
    if (is_random) std::swap(runnable.at(0), runnable.at((uint32_t)emu_random() % runnable.n()));
    emu_thread *next = &threads[runnable.take()];
    if (!runnable.is_empty()) __builtin_prefetch(threads[runnable.at(0)].sp); /* soon */
    return next;
}

void thread_ends() {
    self->is_done = true;
    emu_require_waited("a thread ends", emu_site{"", 0});
    if (!self->copies.empty())
        emu_found(emu_site{"", 0}, "the thread ends with cp.async copies nobody waited for");
}

/* A thread that has not begun is the next on the stack of one that ended. */
void fiber_main() {
#if defined(EMU_WITH_ASAN)
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (!host_stack) host_stack = bottom;
#endif
    for (;;) {
        (*kernel)();
        thread_ends();
        emu_thread *next = next_thread();
        if (next == &host || next->stack >= 0) switch_to(next);
        next->stack = self->stack;
        self = next;
    }
}

void thread_begin(int i) {
    emu_thread *t = &threads[i];
    t->index = i;
    t->stack = -1;
    t->is_done = false;
    t->has_waited = !launch.is_early;
    t->waits_for = NULL;
    t->fake_stack = NULL;
    t->n_met = 0;
    t->known = t->fenced = emu_knowledge();
    t->clock = 1;
    t->fenced_clock = 0;
    t->copies.clear();
    t->open_group = 0;
    runnable.come(i);
}

void run_block(int64_t x, int64_t y) {
    block_x = x;
    block_y = y;
    emu_smem_reset(launch.smem_bytes);
    emu_copies_reset();
    emu_wgmma_reset();
    for (auto &m : warp_meetings) m.n_here = 0;
    for (auto &m : group_meetings) m.n_here = 0;
    for (auto &b : barriers) b.n_here = 0; /* barrier_begin does the rest */
    for (auto &b : warp_barriers) b.n_here = 0;
    for (int i = 0; i < launch.threads; i++) thread_begin(i);
    self = &host;
    switch_to(next_thread());
    for (const auto &b : barriers)
        if (b.n_here) emu_found(emu_site{"", 0}, "threads left a barrier waiting");
    emu_copies_block_ends();
    emu_wgmma_block_ends();
    emu_global_block_ends();
}

} // namespace

void emu_wait_for_kernels(emu_site site) {
    if (emu_is_wrong(EMU_BUG_WAIT_MISSING, site)) return;
    self->has_waited = true;
}

void emu_require_waited(const char *what, emu_site site) {
    if (!self->has_waited)
        emu_found(site, "%s, while the kernels before this one may still run", what);
}

emu_refusal (*emu_launch_hook)(
        void *stream, const emu_launch &how, const char *source, std::function<void()> work) = NULL;

void emu_seed(uint64_t seed) {
    is_random = seed != 0;
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
}

void emu_only_block(int64_t x) {
    only_block = x;
}

void emu_set_sm_count(int n) {
    sm_count = n;
}
int emu_sm_count() {
    return sm_count;
}

bool emu_is_random() {
    return is_random;
}

uint64_t emu_random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void emu_run(const emu_launch &how, const std::function<void()> &what) {
    launch = how;
    kernel = &what;
    if (how.threads > EMU_THREADS_MAX || how.threads % EMU_WARP)
        emu_found(emu_site{"", 0}, "a launch of %d threads a block", how.threads);
    if (how.grid_x < 1 || how.grid_x > INT32_MAX || how.grid_y < 1 || how.grid_y > 65535)
        emu_found(emu_site{"", 0}, "a launch of %lld x %lld blocks", (long long)how.grid_x,
                (long long)how.grid_y);
    emu_global_reset();
    std::vector<int64_t> order;
    for (int64_t i = 0; i < how.grid_x * how.grid_y; i++)
        if (only_block < 0 || i % how.grid_x == only_block) order.push_back(i);
    if (is_random)
        for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[emu_random() % i]);
    for (const int64_t i : order) run_block(i % how.grid_x, i / how.grid_x);
}

int emu_n_threads() {
    return launch.threads;
}
int64_t emu_block_x() {
    return block_x;
}
int64_t emu_block_y() {
    return block_y;
}

void emu_park(const char *what, emu_site site) {
    self->waits_for = what;
    self->waits_at = site;
    switch_to(next_thread());
}

void emu_wake(int thread) {
    threads[thread].waits_for = NULL;
    runnable.come(thread);
}

void emu_found(emu_site site, const char *format, ...) {
    fprintf(stderr, "emu: block (%lld, %lld) thread %d, %s:%d: ", (long long)block_x,
            (long long)block_y, self ? self->index : -1, site.file, site.line);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    _Exit(EMU_EXIT_FOUND);
}

/* ---- meeting --------------------------------------------------------------------------------- */

emu_meeting *emu_meet_last(int n, const char *what, int immediate, void *args, emu_site site) {
    emu_meeting *m = n == EMU_WARP ? &warp_meetings[self->index / EMU_WARP]
                                   : &group_meetings[self->index / EMU_GROUP];
    if (m->n_here == 0) {
        m->what = what;
        m->immediate = immediate;
        m->site = site;
    } else if (m->what != what || m->immediate != immediate || m->site.line != site.line ||
               m->site.file != site.file) {
        emu_found(site, "%s %d, while others of the warp are at %s %d, line %d", what, immediate,
                m->what, m->immediate, m->site.line);
    }
    self->n_met++;
    m->args[self->index % n] = args;
    if (m->n_here == n - 1) return m;
    m->parked[m->n_here++] = self->index;
    emu_park(what, site);
    return NULL;
}

void emu_meet_end(emu_meeting *m) {
    for (int i = 0; i < m->n_here; i++) emu_wake(m->parked[i]);
    m->n_here = 0;
}

/* Hardware counts warps, each once: bar.sync, .red and .arrive are for all lanes together. */
static void barrier_count(barrier *b, emu_site site) {
    uint32_t *lanes = &b->lanes[self->index / EMU_WARP];
    const uint32_t lane = 1u << self->index % EMU_WARP;
    if (*lanes & lane) emu_found(site, "a thread is counted twice at a barrier");
    *lanes |= lane;
    if (++b->n_here < b->n) return;
    for (const uint32_t of_warp : b->lanes)
        if (of_warp != 0 && of_warp != 0xffffffffu)
            emu_found(site, "a barrier is complete with lanes %08x of a warp", of_warp);
}

static void barrier_begin(barrier *b, int n, bool is_vote) {
    b->n = n;
    b->is_vote = is_vote;
    b->is_any = false;
    memset(b->lanes, 0, sizeof b->lanes);
    emu_gather_none(&b->known);
    emu_gather_none(&b->fenced);
    b->n_parked = 0;
}

static void barrier_pass(
        barrier *b, int n, bool is_waiting, const char *what, emu_site site, bool vote = false) {
    const bool is_vote = strcmp(what, "bar.red") == 0;
    if (b->n_here == 0) barrier_begin(b, n, is_vote);
    if (b->n != n) emu_found(site, "barrier of %d threads, others say %d", n, b->n);
    if (b->is_vote != is_vote)
        emu_found(site, "%s at a barrier where others are with another instruction", what);
    emu_gather(&b->known, self->known, self->index, self->clock);
    emu_gather(&b->fenced, self->fenced, self->index, self->fenced_clock);
    emu_tick(self);
    b->is_any = b->is_any || vote;
    if (is_waiting) self->n_met++;
    if (is_waiting) b->parked[b->n_parked++] = self->index;
    barrier_count(b, site);
    if (b->n_here < n) {
        if (is_waiting) emu_park(what, site);
        return;
    }
    b->n_here = 0;
    if (b->n_parked == 0) emu_found(site, "a barrier is complete, and nobody waits at it");
    /* What they know is part of it since they came. */
    const emu_knowledge known = emu_share(b->known), fenced = emu_share(b->fenced);
    for (int i = 0; i < b->n_parked; i++) {
        emu_thread *t = &threads[b->parked[i]];
        t->known = known;
        t->fenced = fenced;
        t->is_any = b->is_any;
        if (t != self) emu_wake(t->index);
    }
}

static barrier *find_barrier(int id, int n, const char *what, emu_site site) {
    if (id < 0 || id > 15 || n % EMU_WARP || n > launch.threads)
        emu_found(site, "%s: no barrier %d of %d threads", what, id, n);
    return &barriers[id];
}

bool emu_barrier(int id, int n, const char *what, emu_site site, bool vote) {
    barrier *b = find_barrier(id, n, what, site);
    if (emu_is_wrong(EMU_BUG_BARRIER_MISSING, site)) return vote;
    if (id > 0 && emu_is_wrong(EMU_BUG_BARRIER_WRONG, site)) b = &barriers[id == 1 ? 2 : 1];
    barrier_pass(b, n, true, what, site, vote);
    return self->is_any;
}

void emu_barrier_arrive(int id, int n, emu_site site) {
    barrier *b = find_barrier(id, n, "bar.arrive", site);
    if (emu_is_wrong(EMU_BUG_BARRIER_MISSING, site)) return;
    if (emu_is_wrong(EMU_BUG_BARRIER_WRONG, site)) b = &barriers[id == 1 ? 2 : 1];
    barrier_pass(b, n, false, "bar.arrive", site);
}

void emu_syncwarp(emu_site site) {
    if (emu_is_wrong(EMU_BUG_SYNCWARP_MISSING, site)) return;
    barrier_pass(&warp_barriers[self->index / EMU_WARP], EMU_WARP, true, "__syncwarp", site);
}

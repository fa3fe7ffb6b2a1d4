/* Threads of a block as fibers: a fiber runs until it has to wait, then switches directly to the
 * next that can run. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <deque>
#include <map>

#include "emu.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

enum { STACK_BYTES = 256 * 1024, GUARD_BYTES = 4096 };

struct meeting {
    int n_here;
    const char *what;
    int immediate;
    emu_site site;
    void *args[EMU_GROUP];
    std::vector<int> parked;
};

struct barrier {
    int n_here;
    int n;
    bool is_vote; /* bar.red; */
    bool is_any;  /* what came of it */
    uint32_t lanes[EMU_THREADS_MAX / EMU_WARP];
    emu_clock clock;
    emu_clock fenced;
    std::vector<int> parked;
};

emu_launch launch;
const std::function<void()> *kernel;
int64_t block_x, block_y;
emu_thread threads[EMU_THREADS_MAX];
emu_thread host; /* who called emu_run */
emu_thread *self;
std::deque<int> runnable;
meeting warp_meetings[EMU_THREADS_MAX / EMU_WARP];
meeting group_meetings[EMU_THREADS_MAX / EMU_GROUP];
barrier barriers[16];
barrier warp_barriers[EMU_THREADS_MAX / EMU_WARP];
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

void *first_frame(void *stack, void (*entry)()) {
    uint64_t *top = (uint64_t *)((char *)stack + STACK_BYTES) - 1; /* aligned as after a call */
    *--top = (uint64_t)(uintptr_t)entry;
    for (int i = 0; i < 6; i++) *--top = 0;
    return top;
}
#else
#error "the switch between fibers is written for x86-64"
#endif

void stack_create(emu_thread *t) {
    char *at = (char *)mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == (char *)MAP_FAILED || mprotect(at, GUARD_BYTES, PROT_NONE) != 0) abort();
    t->stack = at + GUARD_BYTES;
}

void switch_to(emu_thread *to) {
    emu_thread *from = self;
    if (to == from) return; /* what it waits for has come while it looked for the next to run */
    self = to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(
            from->is_done ? NULL : &from->fake_stack, to->stack, to == &host ? 0 : STACK_BYTES);
#endif
    emu_switch_stack(&from->sp, to->sp);
#if defined(__SANITIZE_ADDRESS__)
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
    while (runnable.empty()) {
        bool is_over = true;
        for (int i = 0; i < launch.threads; i++) is_over = is_over && threads[i].is_done;
        if (is_over) return &host;
        if (!emu_copy_step(true)) deadlock();
    }
    if (is_random) std::swap(runnable[0], runnable[emu_random() % runnable.size()]);
    const int next = runnable.front();
    runnable.pop_front();
    return &threads[next];
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (!host.stack) host.stack = (void *)(uintptr_t)bottom;
#endif
    (*kernel)();
    self->is_done = true;
    emu_require_waited("a thread ends", emu_site{"", 0});
    for (const auto &group : self->copies)
        if (!group.empty())
            emu_found(emu_site{"", 0}, "the thread ends with cp.async copies nobody waited for");
    switch_to(next_thread());
    abort();
}

void thread_begin(int i) {
    emu_thread *t = &threads[i];
    if (!t->stack) stack_create(t);
#if defined(__SANITIZE_ADDRESS__)
    /* The last frames of the fiber that ended here never returned. */
    enum { LAST_FRAMES_BYTES = 16384 };
    __asan_unpoison_memory_region(
            (char *)t->stack + STACK_BYTES - LAST_FRAMES_BYTES, LAST_FRAMES_BYTES);
#endif
    t->index = i;
    t->is_done = false;
    t->has_waited = !launch.is_early;
    t->waits_for = NULL;
    t->fake_stack = NULL;
    t->n_met = 0;
    if (t->clock.has_others) t->clock = emu_clock{}; /* most threads of small kernels meet nobody */
    if (t->fenced.has_others) t->fenced = emu_clock{};
    t->clock.at[i] = 1;
    t->copies.assign(1, {});
    t->sp = first_frame(t->stack, fiber_main);
    runnable.push_back(i);
}

void run_block(int64_t x, int64_t y) {
    block_x = x;
    block_y = y;
    emu_smem_reset(launch.smem_bytes);
    emu_copies_reset();
    emu_wgmma_reset();
    for (auto &m : warp_meetings) m.n_here = 0, m.parked.clear();
    for (auto &m : group_meetings) m.n_here = 0, m.parked.clear();
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

emu_thread *emu_self() {
    return self;
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
    runnable.push_back(thread);
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

void emu_meet(int n, const char *what, int immediate, void *args,
        const std::function<void(void **)> &work, emu_site site) {
    meeting *m = n == EMU_WARP ? &warp_meetings[self->index / EMU_WARP]
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
    if (++m->n_here < n) {
        m->parked.push_back(self->index);
        emu_park(what, site);
        return;
    }
    work(m->args);
    m->n_here = 0;
    for (const int t : m->parked) emu_wake(t);
    m->parked.clear();
}

void emu_join(emu_clock *to, const emu_clock *from) {
    to->has_others = true;
    for (int i = 0; i < launch.threads; i++) to->at[i] = std::max(to->at[i], from->at[i]);
    for (int i = EMU_THREADS_MAX; i < EMU_AGENTS_MAX; i++)
        to->at[i] = std::max(to->at[i], from->at[i]);
}

void emu_tick(emu_thread *thread) {
    thread->clock.at[thread->index]++;
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

/* Small kernels pass many, and most clocks are as they were: nobody's. */
static void barrier_begin(barrier *b, int n, bool is_vote) {
    b->n = n;
    b->is_vote = is_vote;
    b->is_any = false;
    memset(b->lanes, 0, sizeof b->lanes);
    if (b->clock.has_others) b->clock = emu_clock{};
    if (b->fenced.has_others) b->fenced = emu_clock{};
    b->parked.clear();
}

static void barrier_join(barrier *b, const emu_thread *thread) {
    uint32_t *mine = &b->clock.at[thread->index];
    b->clock.has_others = true;
    if (thread->clock.has_others)
        emu_join(&b->clock, &thread->clock);
    else
        *mine = std::max(*mine, thread->clock.at[thread->index]);
    if (thread->fenced.has_others) emu_join(&b->fenced, &thread->fenced);
}

static void barrier_pass(
        barrier *b, int n, bool is_waiting, const char *what, emu_site site, bool vote = false) {
    const bool is_vote = strcmp(what, "bar.red") == 0;
    if (b->n_here == 0) barrier_begin(b, n, is_vote);
    if (b->n != n) emu_found(site, "barrier of %d threads, others say %d", n, b->n);
    if (b->is_vote != is_vote)
        emu_found(site, "%s at a barrier where others are with another instruction", what);
    barrier_join(b, self);
    emu_tick(self);
    b->is_any = b->is_any || vote;
    if (is_waiting) self->n_met++;
    if (is_waiting) b->parked.push_back(self->index);
    barrier_count(b, site);
    if (b->n_here < n) {
        if (is_waiting) emu_park(what, site);
        return;
    }
    b->n_here = 0;
    if (b->parked.empty()) emu_found(site, "a barrier is complete, and nobody waits at it");
    for (const int t : b->parked) {
        emu_join(&threads[t].clock, &b->clock);
        if (b->fenced.has_others) emu_join(&threads[t].fenced, &b->fenced);
        threads[t].is_any = b->is_any;
        if (&threads[t] != self) emu_wake(t);
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

#include "standin_machine.h"

#include <cuda_runtime_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "attention/ptx_launch.cuh"
#include "standin_rules.h"
#include "tests/emu/emu.h"

namespace standin {

std::recursive_mutex lock;
std::vector<cudaStream_t> streams;
bool is_broken;
bool is_making_graph;
static int64_t n_computed; /* kernels that the first stream has run */
static int64_t n_operations;
static uint64_t random_state;

[[noreturn]] void found(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "standin_cuda: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    _Exit(STANDIN_EXIT_FOUND);
}

int64_t number(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    return text ? atoll(text) : otherwise;
}

static standin_cuda make() {
    standin_cuda s = {};
    const char *order = getenv("STANDIN_CUDA_ORDER");
    s.n_devices = (int32_t)number("STANDIN_CUDA_DEVICES", 1);
    s.capability = (int32_t)number("STANDIN_CUDA_CAPABILITY", 80);
    s.memory_bytes = number("STANDIN_CUDA_MEMORY", (int64_t)4 << 30);
    s.context_bytes = number("STANDIN_CUDA_CONTEXT", 0);
    s.fail_at = number("STANDIN_CUDA_FAIL_AT", 0);
    s.refused_products = number("STANDIN_CUDA_REFUSED_PRODUCTS", 0);
    s.order = !order || strcmp(order, "late") == 0 ? STANDIN_LATE
              : strcmp(order, "early") == 0        ? STANDIN_EARLY
              : strcmp(order, "copies") == 0       ? STANDIN_COPIES
                                                   : STANDIN_RANDOM;
    s.seed = (uint64_t)number("STANDIN_CUDA_ORDER", 0);
    return s;
}

standin_cuda *state() {
    static standin_cuda s = make();
    return &s;
}

static uint64_t random_next() {
    if (!random_state) random_state = state()->seed * 0x9e3779b97f4a7c15u + 1;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static bool is_recording() {
    for (cudaStream_t stream : streams)
        if (stream->is_capturing) return true;
    return is_making_graph;
}

static thread_local bool is_watching;

void note_watching() {
    is_watching = true;
}

bool fails() {
    standin_cuda *s = state();
    if (is_watching || ++s->n_calls != s->fail_at) return false;
    s->fails_once_recording = is_recording();
    return !s->fails_in_kernel;
}

/* ---- running --------------------------------------------------------------------------------- */

static void run_front(cudaStream_t stream);

/* While there is one the device has its memory; it takes time to give it, and to take it back. */
struct turn {
    turn() {
        device_begins();
    }
    ~turn() {
        device_ends();
    }
};

void run_until(const std::shared_ptr<recorded> &place) {
    if (place->is_done) return;
    const turn ours;
    while (!place->is_done) run_front(place->stream);
}

/* A kernel, cuBLASLt's too; no copy. */
static bool computes(const operation &one) {
    return one.work && strcmp(one.what, "a copy") != 0;
}

/* The first stream waits for another one: for something that began when its last kernel had run, it stands still. */
static void note_exposed(cudaStream_t stream, const recorded &after) {
    if (stream != streams[0] || after.stream == stream || state()->order != STANDIN_COPIES) return;
    state()->n_exposed += n_computed > 0 && (!after.is_done || after.at_kernel == n_computed);
}

static void run_copies();

static void run_front(cudaStream_t stream) {
    if (stream->queue.empty()) found("an event waits for a stream that has nothing queued");
    if (stream->queue.front().after) {
        const std::shared_ptr<recorded> after = stream->queue.front().after;
        note_exposed(stream, *after);
        stream->is_awaited = true;
        if (!after->is_done) run_until(after);
        stream->is_awaited = false;
    }
    const operation one = stream->queue.front();
    stream->queue.pop_front();
    if (one.work && !is_broken) {
        const turn ours;
        check_copy(one);
        one.work();
        end_copy(one);
    }
    n_computed += stream == streams[0] && computes(one);
    if (one.marks) {
        one.marks->is_done = true;
        one.marks->at_kernel = n_computed;
    }
    if (state()->order == STANDIN_COPIES && stream == streams[0]) run_copies();
}

void drain(cudaStream_t stream) {
    if (stream->queue.empty()) return;
    const turn ours;
    while (!stream->queue.empty()) run_front(stream);
}

/* By an event that is not past. */
static bool is_held(cudaStream_t stream) {
    const operation &front = stream->queue.front();
    return front.after && !front.after->is_done;
}

static void run_copies() {
    for (size_t i = 1; i < streams.size(); i++)
        while (!streams[i]->is_awaited && !streams[i]->queue.empty() && !is_held(streams[i]))
            run_front(streams[i]);
}

/* Some of what could run does. */
static void run_ahead(cudaStream_t stream) {
    const standin_cuda *s = state();
    if (s->order == STANDIN_EARLY) drain(stream);
    if (s->order == STANDIN_COPIES) run_copies();
    if (s->order != STANDIN_RANDOM) return;
    for (int i = (int)(random_next() % 4); i > 0; i--) {
        cudaStream_t one = streams[random_next() % streams.size()];
        if (!one->queue.empty()) run_front(one);
    }
}

/* ---- what runs by itself --------------------------------------------------------------------- */

using instant = std::chrono::steady_clock;
static std::thread *mover;
static std::atomic<bool> mover_ends{false};
static instant::time_point last_meeting; /* queued */
static bool has_meeting;

static bool meets_in(const cudaStream_t stream) {
    for (const operation &one : stream->queue)
        if (one.meets) return true;
    return false;
}

/* Work that other processes wait for does not wait for our host to wait for it. */
static void move_on() {
    while (!mover_ends.load()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        std::unique_lock<std::recursive_mutex> held(lock, std::try_to_lock);
        if (!held.owns_lock() || !has_meeting) continue;
        if (instant::now() - last_meeting < std::chrono::milliseconds(20)) continue;
        has_meeting = false;
        for (cudaStream_t stream : streams)
            while (meets_in(stream)) run_front(stream);
    }
}

void end_moving(std::unique_lock<std::recursive_mutex> *held) {
    if (!mover) return;
    std::thread *last = mover;
    mover = NULL;
    mover_ends = true;
    held->unlock(); /* it may be about to take it */
    last->join();
    delete last;
}

static void begin_meeting() {
    last_meeting = instant::now();
    has_meeting = true;
    mover_ends = false;
    if (!mover) mover = new std::thread(move_on);
}

void queue(cudaStream_t stream, operation one) {
    const standin_cuda *s = state();
    if (!stream) found("%s on the default stream", one.what);
    if (s->n_calls == s->fail_at && s->fails_in_kernel && !is_watching)
        one.work = [] { is_broken = true; };
    if (stream->is_capturing) {
        stream->captured.push_back(one);
        return;
    }
    one.number = ++n_operations;
    begin_copy(&one);
    stream->queue.push_back(one);
    if (one.meets) begin_meeting();
    run_ahead(stream);
}

bool is_in_use(const char *pinned) {
    for (cudaStream_t stream : streams)
        for (const operation &one : stream->queue)
            for (const place &of : one.places)
                if (of.is_of_host && pinned_block_of(of.at) == pinned) return true;
    return false;
}

void require_idle(const char *what) {
    for (cudaStream_t stream : streams)
        for (const operation &one : stream->queue)
            if (one.work && !is_broken)
                found("%s while %s is queued, which may use it", what, one.what);
}

int64_t n_queued() {
    int64_t n = 0;
    if (streams.empty()) return 0;
    for (const operation &one : streams[0]->queue) n += computes(one);
    return n;
}

void refuse_capture(const char *what) {
    for (cudaStream_t stream : streams)
        if (stream->is_capturing) found("%s while a graph is recorded", what);
}

/* Nothing goes into a graph any more behind what may not. */
static bool is_spoiled(cudaStream_t stream, bool is_early) {
    if (is_early && number("STANDIN_CUDA_NO_EARLY_ON", -1) == this_device())
        stream->is_spoiled = stream->is_capturing;
    return stream->is_spoiled;
}

/* Whether it is. */
static bool queue_kernel(void *to, const emu_launch &how, bool is_early, const char *source,
        const std::function<void()> &work) {
    call now(source, CONTEXT);
    cudaStream_t stream = (cudaStream_t)to;
    require_there(STREAM, stream, source);
    require_no_error(source);
    check_launch(how, source);
    cudaError_t error = now.outcome(cudaErrorLaunchOutOfResources);
    if (error == cudaSuccess && is_spoiled(stream, is_early))
        error = told(
                is_early ? cudaErrorStreamCaptureUnsupported : cudaErrorStreamCaptureInvalidated);
    if (error != cudaSuccess) return false;
    const auto counted = [=] {
        work();
        state()->bytes_copied = emu_bytes_copied();
    };
    state()->n_early += is_early;
    queue(stream, {"a kernel", counted, NULL, NULL});
    return true;
}

static emu_refusal launch(
        void *stream, const emu_launch &how, const char *source, std::function<void()> work) {
    const cudaError_t error = ptx_launch_with(source, (size_t)how.smem_bytes, [&] {
        ptx_launch_early_or_late(
                how.is_early, [&] { return queue_kernel(stream, how, true, source, work); },
                [&] { queue_kernel(stream, how, false, source, work); });
    });
    return {error, error == cudaSuccess ? NULL : cudaGetErrorString(error)};
}

static const bool is_hooked = (emu_launch_hook = launch, true);

} // namespace standin

using namespace standin;

standin_cuda *standin_cuda_get(void) {
    return state();
}

void standin_cuda_break(void) {
    guard held(lock);
    is_broken = true;
}

void standin_cuda_begin_call(const char *name) {
    guard held(lock);
    begin_call(name, CONTEXT);
}

void standin_cuda_begin_unsafe_call(const char *name) {
    guard held(lock);
    begin_call(name, SAFE_CONTEXT);
}

bool standin_cuda_fails(void) {
    guard held(lock);
    return fails();
}

static bool queue_work(void *stream, const standin_cuda_work &work, bool meets) {
    call now(work.what, CONTEXT);
    std::shared_ptr<void> owned(work.context, work.drop);
    require_there(STREAM, stream, work.what);
    const bool is_refused = /* of another library's CUDA: ours has no error */
            fails() || is_broken || is_spoiled((cudaStream_t)stream, false);
    const auto run = work.run;
    if (!is_refused)
        queue((cudaStream_t)stream, {work.what, [=] { run(owned.get()); }, NULL, NULL, meets});
    return !is_refused;
}

bool standin_cuda_queue(void *stream, standin_cuda_work work) {
    return queue_work(stream, work, false);
}

bool standin_cuda_queue_meeting(void *stream, standin_cuda_work work) {
    return queue_work(stream, work, true);
}

bool standin_cuda_is_capturing(void *stream) {
    guard held(lock);
    require_there(STREAM, stream, "a library");
    return ((cudaStream_t)stream)->is_capturing;
}

bool standin_cuda_is_on_device(const void *at, int64_t bytes) {
    guard held(lock);
    return on_device(at, (size_t)bytes);
}

int64_t standin_cuda_n_queued(void) {
    guard held(lock);
    return n_queued();
}

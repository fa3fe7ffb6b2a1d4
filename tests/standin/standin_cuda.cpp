#include "standin_cuda.h"

#include <cuda_runtime_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/emu/emu.h"

namespace {

struct recorded { /* a place in a stream that others wait for */
    cudaStream_t stream = NULL;
    bool is_done = false;
    int64_t at_kernel = 0; /* kernels that the first stream had run then */
};

struct operation {
    const char *what;
    std::function<void()> work;
    std::shared_ptr<recorded> after; /* runs when that is done */
    std::shared_ptr<recorded> marks; /* this is done then */
    bool meets = false;              /* other processes */
};

} // namespace

struct CUstream_st {
    std::deque<operation> queue;
    bool is_capturing = false;
    bool is_awaited = false; /* its next operation waits for another stream, which is made to run */
    std::vector<operation> captured;
    cudaError_t error = cudaSuccess;
};
struct CUevent_st {
    std::shared_ptr<recorded> last;
};
struct CUgraph_st {
    std::vector<operation> operations;
};
struct CUgraphExec_st {
    std::vector<operation> operations;
};

namespace {

struct block {
    char *base; /* of the mapping */
    size_t mapped;
    size_t usable; /* without the last page, which nobody may touch */
    size_t bytes;
};

enum { PAGE_BYTES = 4096 };

std::recursive_mutex lock;
std::map<char *, block> device_blocks;
std::map<char *, size_t> pinned_blocks;
std::vector<cudaStream_t> streams;
int depth;          /* > 0: the device is working */
int64_t n_computed; /* kernels that the first stream has run */
bool is_broken;     /* a kernel has failed: so does everything after */
thread_local cudaError_t last_error = cudaSuccess;
uint64_t random_state;

using guard = std::lock_guard<std::recursive_mutex>;

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

standin_cuda make() {
    standin_cuda s = {};
    const char *order = getenv("STANDIN_CUDA_ORDER");
    s.n_devices = (int32_t)number("STANDIN_CUDA_DEVICES", 1);
    s.capability = (int32_t)number("STANDIN_CUDA_CAPABILITY", 80);
    s.memory_bytes = number("STANDIN_CUDA_MEMORY", (int64_t)4 << 30);
    s.fail_at = number("STANDIN_CUDA_FAIL_AT", 0);
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

uint64_t random_next() {
    if (!random_state) random_state = state()->seed * 0x9e3779b97f4a7c15u + 1;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

cudaError_t told(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

/* A call that can fail is made: whether it does. */
bool fails() {
    standin_cuda *s = state();
    return ++s->n_calls == s->fail_at && !s->fails_in_kernel;
}

/* ---- memory ---------------------------------------------------------------------------------- */

void set_rights(int rights) {
    for (auto &b : device_blocks)
        if (mprotect(b.second.base, b.second.usable, rights) != 0) found("mprotect failed");
}

void device_begins() {
    if (depth++ == 0) set_rights(PROT_READ | PROT_WRITE);
}

void device_ends() {
    if (--depth == 0) set_rights(PROT_NONE);
}

template <typename MAP>
bool contains(
        const MAP &blocks, const void *at, size_t bytes, size_t (*size)(const MAP &, char *)) {
    auto next = blocks.upper_bound((char *)(uintptr_t)at);
    if (next == blocks.begin()) return false;
    char *begin = std::prev(next)->first;
    return (const char *)at + bytes <= begin + size(blocks, begin);
}

/* NaN, as fp32 and bf16. Of large blocks both ends, where what is wrong begins or ends. */
void poison(char *memory, size_t bytes) {
    const size_t large = 4 << 20, end = 1 << 16;
    memset(memory, 0xff, bytes < large ? bytes : end);
    if (bytes >= large) memset(memory + bytes - end, 0xff, end);
}

bool on_device(const void *at, size_t bytes) {
    return contains<std::map<char *, block>>(device_blocks, at, bytes,
            [](const std::map<char *, block> &all, char *begin) { return all.at(begin).bytes; });
}

bool is_pinned(const void *at, size_t bytes) {
    return contains<std::map<char *, size_t>>(pinned_blocks, at, bytes,
            [](const std::map<char *, size_t> &all, char *begin) { return all.at(begin); });
}

/* ---- running --------------------------------------------------------------------------------- */

void run_front(cudaStream_t stream);

void run_until(const std::shared_ptr<recorded> &place) {
    while (!place->is_done) run_front(place->stream);
}

/* A kernel, cuBLASLt's too; no copy. */
bool computes(const operation &one) {
    return one.work && strcmp(one.what, "a copy") != 0;
}

/* The first stream waits for another one: for something that began when its last kernel had run, it stands still. */
void note_exposed(cudaStream_t stream, const recorded &after) {
    if (stream != streams[0] || after.stream == stream || state()->order != STANDIN_COPIES) return;
    state()->n_exposed += n_computed > 0 && (!after.is_done || after.at_kernel == n_computed);
}

void run_copies();

void run_front(cudaStream_t stream) {
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
        device_begins();
        one.work();
        device_ends();
    }
    n_computed += stream == streams[0] && computes(one);
    if (one.marks) {
        one.marks->is_done = true;
        one.marks->at_kernel = n_computed;
    }
    if (state()->order == STANDIN_COPIES && stream == streams[0]) run_copies();
}

void drain(cudaStream_t stream) {
    while (!stream->queue.empty()) run_front(stream);
}

/* By an event that is not past. */
bool is_held(cudaStream_t stream) {
    const operation &front = stream->queue.front();
    return front.after && !front.after->is_done;
}

void run_copies() {
    for (size_t i = 1; i < streams.size(); i++)
        while (!streams[i]->is_awaited && !streams[i]->queue.empty() && !is_held(streams[i]))
            run_front(streams[i]);
}

/* Some of what could run does. */
void run_ahead(cudaStream_t stream) {
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
std::thread *mover;
std::atomic<bool> mover_ends{false};
instant::time_point last_meeting; /* queued */
bool has_meeting;

bool meets_in(const cudaStream_t stream) {
    for (const operation &one : stream->queue)
        if (one.meets) return true;
    return false;
}

/* Work that other processes wait for does not wait for our host to wait for it. */
void move_on() {
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

void begin_meeting() {
    last_meeting = instant::now();
    has_meeting = true;
    mover_ends = false;
    if (!mover) mover = new std::thread(move_on);
}

void queue(cudaStream_t stream, operation one) {
    const standin_cuda *s = state();
    if (!stream) found("%s on the default stream", one.what);
    if (s->n_calls == s->fail_at && s->fails_in_kernel) one.work = [] { is_broken = true; };
    if (stream->is_capturing) {
        stream->captured.push_back(one);
        return;
    }
    stream->queue.push_back(one);
    if (one.meets) begin_meeting();
    run_ahead(stream);
}

cudaError_t state_of(cudaStream_t stream) {
    (void)stream;
    return told(is_broken ? cudaErrorLaunchFailure : cudaSuccess);
}

void refuse_capture(const char *what) {
    for (cudaStream_t stream : streams)
        if (stream->is_capturing) found("%s while a graph is recorded", what);
}

const char *launch(void *stream, std::function<void()> work) {
    guard held(lock);
    if (fails()) return "the stand-in refuses this launch";
    const auto counted = [=] {
        work();
        state()->bytes_copied = emu_bytes_copied();
    };
    queue((cudaStream_t)stream, {"a kernel", counted, NULL, NULL});
    return NULL;
}

const bool is_hooked = (emu_launch_hook = launch, true);

} // namespace

standin_cuda *standin_cuda_get(void) {
    return state();
}

bool standin_cuda_queue(
        void *stream, const char *what, void (*work)(void *context), void *context) {
    guard held(lock);
    std::shared_ptr<void> owned(context, free);
    if (fails()) return false;
    queue((cudaStream_t)stream, {what, [=] { work(owned.get()); }, NULL, NULL});
    return true;
}

bool standin_cuda_queue_meeting(
        void *stream, const char *what, void (*work)(void *context), void *context) {
    guard held(lock);
    std::shared_ptr<void> owned(context, free);
    if (fails()) return false;
    queue((cudaStream_t)stream, {what, [=] { work(owned.get()); }, NULL, NULL, true});
    return true;
}

bool standin_cuda_is_on_device(const void *at, int64_t bytes) {
    guard held(lock);
    return on_device(at, (size_t)bytes);
}

/* ---- CUDA's runtime -------------------------------------------------------------------------- */

extern "C" {

cudaError_t cudaGetDeviceCount(int *count) {
    guard held(lock);
    *count = state()->n_devices;
    return told(fails() || *count == 0 ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t cudaSetDevice(int device) {
    guard held(lock);
    const bool is_one = device >= 0 && device < state()->n_devices;
    return told(fails() || !is_one ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int room, int device) {
    guard held(lock);
    const int64_t bus = number("STANDIN_CUDA_BUS", 0x10) + device;
    snprintf(text, (size_t)room, "0000:%02x:00.0", (unsigned)bus);
    return told(fails() ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int) {
    guard held(lock);
    const int capability = state()->capability;
    switch (attribute) { /* an H100's, where nothing was asked for */
    case cudaDevAttrComputeCapabilityMajor:
        *value = capability / 10;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = capability % 10;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = 132;
        break;
    case cudaDevAttrClockRate:
        *value = 1980000;
        break;
    case cudaDevAttrMemoryClockRate:
        *value = 2619000;
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = 5120;
        break;
    default:
        *value = 0;
    }
    return told(fails() ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    guard held(lock);
    *total = (size_t)state()->memory_bytes;
    *free_bytes = (size_t)(state()->memory_bytes - state()->device_bytes);
    return told(fails() ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t cudaGetLastError(void) {
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    default:
        return "a failure of the stand-in";
    }
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    guard held(lock);
    standin_cuda *s = state();
    refuse_capture("cudaMalloc");
    if (fails() || s->device_bytes + (int64_t)bytes > s->memory_bytes)
        return told(cudaErrorMemoryAllocation);
    block b = {};
    b.bytes = bytes;
    b.usable = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    b.mapped = b.usable + PAGE_BYTES;
    b.base = (char *)mmap(
            NULL, b.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b.base == (char *)MAP_FAILED) return told(cudaErrorMemoryAllocation);
    char *begin = b.base + (b.usable - bytes); /* the end meets the page without rights */
    if ((uintptr_t)begin % 256) found("cudaMalloc of %zu bytes, not a multiple of 256", bytes);
    (void)mprotect(b.base, b.usable, PROT_READ | PROT_WRITE);
    poison(b.base, b.usable);
    if (depth == 0) (void)mprotect(b.base, b.usable, PROT_NONE);
    device_blocks[begin] = b;
    s->n_objects++;
    s->device_bytes += (int64_t)bytes;
    if (s->device_bytes > s->device_bytes_max) s->device_bytes_max = s->device_bytes;
    *out = begin;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory) {
    guard held(lock);
    if (!memory) return cudaSuccess;
    refuse_capture("cudaFree");
    for (cudaStream_t stream : streams) drain(stream); /* it waits for the device */
    auto at = device_blocks.find((char *)memory);
    if (at == device_blocks.end()) found("cudaFree of what was not allocated");
    state()->device_bytes -= (int64_t)at->second.bytes;
    state()->n_objects--;
    (void)munmap(at->second.base, at->second.mapped);
    device_blocks.erase(at);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned) {
    guard held(lock);
    if (fails()) return told(cudaErrorMemoryAllocation);
    *out = malloc(bytes);
    memset(*out, 0xff, bytes);
    pinned_blocks[(char *)*out] = bytes;
    state()->n_objects++;
    state()->pinned_bytes += (int64_t)bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory) {
    guard held(lock);
    auto at = pinned_blocks.find((char *)memory);
    if (at == pinned_blocks.end()) found("cudaFreeHost of what was not allocated");
    for (cudaStream_t stream : streams) drain(stream);
    state()->pinned_bytes -= (int64_t)at->second;
    state()->n_objects--;
    pinned_blocks.erase(at);
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(
        void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    guard held(lock);
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    if (bytes > 0 && !(to_device ? on_device(to, bytes) : is_pinned(to, bytes)))
        found("a copy of %zu bytes to what is not %s memory", bytes,
                to_device ? "device" : "pinned");
    if (bytes > 0 && !(from_device ? on_device(from, bytes) : is_pinned(from, bytes)))
        found("a copy of %zu bytes from what is not %s memory", bytes,
                from_device ? "device" : "pinned");
    if (fails()) return told(cudaErrorInvalidValue);
    queue(stream, {"a copy", [=] { memmove(to, from, bytes); }, NULL, NULL});
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    guard held(lock);
    if (bytes > 0 && !on_device(memory, bytes)) found("cudaMemset of what is not device memory");
    if (fails()) return told(cudaErrorInvalidValue);
    queue(stream, {"a memset", [=] { memset(memory, value, bytes); }, NULL, NULL});
    return cudaSuccess;
}

/* ---- streams and events ---------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned) {
    guard held(lock);
    if (fails()) return told(cudaErrorMemoryAllocation);
    *out = new CUstream_st;
    streams.push_back(*out);
    state()->n_objects++;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    std::unique_lock<std::recursive_mutex> held(lock);
    drain(stream);
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream) streams.erase(streams.begin() + (long)i);
    if (streams.empty()) is_broken = false; /* a new process, as it were */
    state()->n_objects--;
    delete stream;
    if (!streams.empty() || !mover) return cudaSuccess;
    std::thread *last = mover;
    mover = NULL;
    mover_ends = true;
    held.unlock(); /* it may be about to take it */
    last->join();
    delete last;
    return cudaSuccess;
}

int64_t standin_cuda_n_queued(void) {
    guard held(lock);
    int64_t n = 0;
    if (streams.empty()) return 0;
    for (const operation &one : streams[0]->queue) n += computes(one);
    return n;
}

static void wait_and_count(const std::function<void()> &wait) {
    const int64_t n = standin_cuda_n_queued();
    wait();
    state()->n_drained += n > 0 && standin_cuda_n_queued() == 0;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    guard held(lock);
    if (stream->is_capturing) found("a stream is waited for while it records a graph");
    if (fails()) is_broken = true; /* a wait fails where work has */
    wait_and_count([=] { drain(stream); });
    return state_of(stream);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned) {
    guard held(lock);
    if (fails()) return told(cudaErrorMemoryAllocation);
    *out = new CUevent_st;
    state()->n_objects++;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    guard held(lock);
    state()->n_objects--;
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    guard held(lock);
    if (stream->is_capturing) found("an event is recorded in a graph");
    if (fails()) return told(cudaErrorInvalidValue);
    event->last = std::make_shared<recorded>();
    event->last->stream = stream;
    queue(stream, {"an event", NULL, NULL, event->last});
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    guard held(lock);
    if (stream->is_capturing) found("an event is waited for in a graph");
    if (fails()) return told(cudaErrorInvalidValue);
    if (event->last) queue(stream, {"a wait", NULL, event->last, NULL});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    guard held(lock);
    refuse_capture("cudaEventSynchronize");
    if (fails()) is_broken = true;
    if (event->last) wait_and_count([=] { run_until(event->last); });
    return state_of(NULL);
}

/* ---- graphs ---------------------------------------------------------------------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode) {
    guard held(lock);
    if (fails()) return told(cudaErrorInvalidValue);
    stream->is_capturing = true;
    stream->captured.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out) {
    guard held(lock);
    if (!stream->is_capturing) found("the end of a graph that was not begun");
    stream->is_capturing = false;
    if (fails()) return told(cudaErrorInvalidValue);
    *out = new CUgraph_st{stream->captured};
    state()->n_objects++;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long) {
    guard held(lock);
    if (fails()) return told(cudaErrorMemoryAllocation);
    *out = new CUgraphExec_st{graph->operations};
    state()->n_objects++;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    guard held(lock);
    if (fails()) return told(cudaErrorInvalidValue);
    state()->n_graph_launches++;
    for (const operation &one : graph->operations) queue(stream, one);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    guard held(lock);
    state()->n_objects--;
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    guard held(lock);
    state()->n_objects--;
    delete graph;
    return cudaSuccess;
}

} // extern "C"

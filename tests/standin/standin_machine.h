/* The machine that CUDA's calls (standin_cuda.cpp, standin_streams.cpp) are about: what it was told, its memory
 * (standin_memory.cpp), its streams and when what is in them runs. All of it under `lock`. Private to tests/standin. */
#ifndef STANDIN_MACHINE_H
#define STANDIN_MACHINE_H

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "standin_cuda.h"

typedef struct CUstream_st *cudaStream_t; /* as CUDA declares it */

namespace standin {

struct recorded { /* a place in a stream that others wait for */
    cudaStream_t stream = NULL;
    bool is_done = false;
    int64_t at_kernel = 0; /* kernels that the first stream had run then */
};

struct place { /* some of the device's memory, or of the host's that is pinned */
    char *at = NULL;
    size_t bytes = 0;
    bool is_written = false;
    bool is_of_host = false;
};

struct operation {
    const char *what;
    std::function<void()> work;
    std::shared_ptr<recorded> after; /* runs when that is done */
    std::shared_ptr<recorded> marks; /* this is done then */
    bool meets = false;              /* other processes */
    place places[2] = {};            /* of a copy, or a memset */
    int64_t number = 0;              /* counts what is queued, on any stream */
    uint64_t digest = 0;             /* of what the host has there until it runs, */
    bool is_watched = false;         /* if that is looked at */
};

} // namespace standin

struct CUstream_st {
    std::deque<standin::operation> queue;
    bool is_capturing = false;
    bool is_spoiled = false; /* what it captures, by what may not be in a graph */
    std::thread::id captured_by;
    bool is_awaited = false; /* its next operation waits for another stream, which is made to run */
    std::vector<standin::operation> captured;
};
struct CUevent_st {
    std::shared_ptr<standin::recorded> last;
};
struct CUgraph_st {
    std::vector<standin::operation> operations;
};
struct CUgraphExec_st {
    std::vector<standin::operation> operations;
};

namespace standin {

extern std::recursive_mutex lock;
using guard = std::lock_guard<std::recursive_mutex>;

/* A finding: the process ends. */
[[noreturn]] void found(const char *format, ...);

/* What it was told, by the test or the environment, and what it counts; a number of the environment. */
standin_cuda *state();
int64_t number(const char *name, int64_t otherwise);
/* A call that can fail is made: whether it does; one that makes a graph is. */
bool fails();
/* This thread asks now and then, and waits for nothing: when it calls the clock says, so that its calls are not counted. */
void note_watching();
extern bool is_making_graph;
extern bool is_broken; /* a kernel has failed: so does everything after */

/* Memory of the device: NaN, without rights but while it works, and in front of a page that never has any. NULL: the
 * host has no more. */
char *take(size_t bytes);
/* Bytes of it that neither memory nor graphs nor the context has. */
int64_t n_free();
/* Whether it had been taken. */
bool give_back(char *memory);
/* Work of the device has rights to it. */
void device_begins();
void device_ends();
/* The host's that it copies from and to: the same. */
char *pin(size_t bytes);
bool unpin(char *memory);
/* The block of it; NULL: it is none. */
const char *pinned_block_of(const void *at);
bool on_device(const void *at, size_t bytes);
bool is_pinned(const void *at, size_t bytes);

extern std::vector<cudaStream_t> streams;
/* To be run, or recorded where the stream records a graph. */
void queue(cudaStream_t stream, operation one);
/* Run all of a stream; all in front of a place. */
void drain(cudaStream_t stream);
void run_until(const std::shared_ptr<recorded> &place);
/* Whether something that is queued copies from or to some of a block of pinned memory. */
bool is_in_use(const char *pinned);
/* Nothing is queued that may use what is given back; which memory kernels are told of in lists, nobody knows. */
void require_idle(const char *what);
/* A copy is queued, is about to run, has run (standin_copies.cpp): the host has left its memory alone meanwhile, and nothing that
 * it depends on, or that depends on it, was queued before on another stream and is still to run. */
void begin_copy(operation *one);
void check_copy(const operation &one);
void end_copy(const operation &one);
/* Kernels that the first stream has not run yet. */
int64_t n_queued();
/* What runs by itself ends with the last stream: without the lock. */
void end_moving(std::unique_lock<std::recursive_mutex> *held);
/* What a capturing stream forbids. */
void refuse_capture(const char *what);

} // namespace standin

#endif

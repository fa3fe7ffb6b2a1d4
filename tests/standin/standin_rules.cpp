#include "standin_rules.h"

#include <cuda_runtime_api.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <set>
#include <string>
#include <utility>

namespace standin {

/* ---- thread, process ------------------------------------------------------------------------- */

static thread_local int current_device; /* 0, as CUDA has it */
static int context_device = -1;         /* -1: none yet */
static pid_t first_process;

static void require_process(const char *name) {
    if (first_process == 0) first_process = getpid();
    if (first_process != getpid())
        found("%s in a process that was forked after CUDA was used", name);
}

static void require_context(const char *name) {
    if (context_device < 0) context_device = current_device;
    if (context_device != current_device)
        found("%s by a thread whose device is number %d, in a process that has number %d", name,
                current_device, context_device);
}

void set_device(int device) {
    current_device = device;
    require_context("cudaSetDevice"); /* which makes one, from CUDA 12 on */
}

int this_device() {
    return current_device;
}

/* ---- calls ----------------------------------------------------------------------------------- */

void begin_call(const char *name, int needs) {
    require_process(name);
    if (needs != NO_CONTEXT) require_context(name);
    if (needs == SAFE_CONTEXT) refuse_capture(name);
}

call::call(const char *name, int needs) : held(lock) {
    begin_call(name, needs);
}

error_code call::outcome(int failure) {
    const bool is_refused = fails();
    return told(is_broken ? cudaErrorLaunchFailure : is_refused ? failure : cudaSuccess);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static thread_local int last_error = cudaSuccess;

error_code told(int error) {
    if (error != cudaSuccess) last_error = error;
    return {error};
}

error_code take_error() {
    const int error = last_error;
    last_error = cudaSuccess;
    return {error};
}

void require_no_error(const char *what) {
    if (last_error != cudaSuccess && !is_broken)
        found("%s, which is asked for its error while that of an earlier call (%s) has not been taken",
                what, cudaGetErrorString((cudaError_t)last_error));
}

/* ---- handles --------------------------------------------------------------------------------- */

static const char *const names[] = {"a stream", "an event", "a graph", "an instantiated graph"};

static std::set<std::pair<kind, const void *>> &there() {
    static std::set<std::pair<kind, const void *>> all;
    return all;
}

void note_made(kind what, const void *handle) {
    there().insert({what, handle});
    state()->n_objects++;
}

void require_there(kind what, const void *handle, const char *name) {
    if (handle && there().count({what, handle})) return;
    found("%s of %s that is not there", name, names[what]);
}

void note_gone(kind what, const void *handle, const char *name) {
    require_there(what, handle, name);
    there().erase({what, handle});
    state()->n_objects--;
}

/* ---- launches -------------------------------------------------------------------------------- */

/* Shared memory of a block, at most: CUDA C++ programming guide, "Technical specifications per compute capability". */
static int smem_bytes_max(int capability) {
    switch (capability) {
    case 80:
    case 87:
        return 163 * 1024;
    case 90:
    case 100:
    case 103:
        return 227 * 1024;
    default: /* 8.6, 8.9, 12.0 */
        return 99 * 1024;
    }
}

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

/* From there on programs, their memory and their stacks are mapped: no two numbers of 32 bits that kernels are given look
 * so. */
static const uint64_t host_begins = 0x500000000000u;

static bool is_mapped(uint64_t at) {
    unsigned char is_there;
    return mincore((void *)(uintptr_t)(at & ~(uint64_t)4095), 1, &is_there) == 0;
}

static void check_params(const emu_launch &how, const char *source) {
    for (size_t at = 0; at + sizeof(uint64_t) <= how.params_bytes; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, (const char *)how.params + at, sizeof word);
        if (word < host_begins || word >> 47 || on_device((const void *)(uintptr_t)word, 0))
            continue;
        if (is_mapped(word))
            found("%s: a kernel is given a pointer to the host's memory, at byte %zu of its parameters",
                    source, at);
    }
}

/* What a kernel was allowed, by the file that it is in. */
static std::map<std::string, int> &allowed_bytes() {
    static std::map<std::string, int> all;
    return all;
}

void note_smem_bytes(const char *source, int bytes) {
    allowed_bytes()[source] = bytes;
}

/* More than so much only where it was asked for: CUDA C++ programming guide, "Shared memory" of each compute capability. */
static void check_smem(const emu_launch &how, const char *source) {
    if (how.smem_bytes > 48 * 1024 && allowed_bytes()[source] < how.smem_bytes)
        found("%s: a launch of %d bytes of shared memory, of which it was allowed %d", source,
                how.smem_bytes, allowed_bytes()[source]);
}

void check_launch(const emu_launch &how, const char *source) {
    const int capability = state()->capability;
    check_smem(how, source);
    if (ends_with(source, "_sm90.cu") && capability != 90)
        found("%s: compiled for 9.0 alone, and launched on %d.%d", source, capability / 10,
                capability % 10);
    if (how.is_early && !ends_with(source, "_sm90.cu"))
        found("%s: compiled for what cannot wait, and begins early", source);
    if (how.grid_x < 1 || how.grid_x > INT32_MAX || how.grid_y < 1 || how.grid_y > 65535)
        found("%s: a launch of %lld x %lld blocks", source, (long long)how.grid_x,
                (long long)how.grid_y);
    if (how.threads < 1 || how.threads > 1024)
        found("%s: a launch of %d threads a block", source, how.threads);
    if (how.smem_bytes > smem_bytes_max(capability))
        found("%s: a launch of %d bytes of shared memory a block, where there are %d", source,
                how.smem_bytes, smem_bytes_max(capability));
    check_params(how, source);
}

} // namespace standin

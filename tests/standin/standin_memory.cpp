/* Memory of the device, and of the host that it copies from and to. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "standin_machine.h"

namespace standin {

struct block {
    char *base; /* of the mapping */
    size_t mapped;
    size_t usable; /* without the last page, which nobody may touch */
    size_t bytes;
};

enum { PAGE_BYTES = 4096 };

static std::map<char *, size_t> pinned_blocks;
static std::map<char *, block> device_blocks;
static int depth; /* > 0: the device is working */

/* Of all its memory, where this CPU has keys: the rights of the thread that plays the device are a register of its own, and others
 * have none meanwhile. -1: there are none, and each block's pages are told. */
static int key() {
    static const int one = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    return one;
}

static void set_rights(bool are_there) {
    if (state()->is_unguarded) return;
    if (key() >= 0) {
        if (pkey_set(key(), are_there ? 0 : PKEY_DISABLE_ACCESS) != 0) found("pkey_set failed");
        return;
    }
    for (auto &b : device_blocks)
        if (mprotect(b.second.base, b.second.usable,
                    are_there ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
            found("mprotect failed");
}

void device_begins() {
    if (depth++ == 0) set_rights(true);
}

void device_ends() {
    if (--depth == 0) set_rights(false);
}

/* A new block has the rights that all have now. */
static void guard_block(const block &b) {
    if (state()->is_unguarded) return;
    if (key() >= 0) {
        if (pkey_mprotect(b.base, b.usable, PROT_READ | PROT_WRITE, key()) != 0)
            found("pkey_mprotect failed");
    } else if (depth == 0) {
        (void)mprotect(b.base, b.usable, PROT_NONE);
    }
}

template <typename MAP>
static bool contains(
        const MAP &blocks, const void *at, size_t bytes, size_t (*size)(const MAP &, char *)) {
    auto next = blocks.upper_bound((char *)(uintptr_t)at);
    if (next == blocks.begin()) return false;
    char *begin = std::prev(next)->first;
    return (const char *)at + bytes <= begin + size(blocks, begin);
}

/* NaN, as fp32 and bf16. Of large blocks both ends, where what is wrong begins or ends. */
static void poison(char *memory, size_t bytes) {
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

static int64_t lost_behind(int64_t bytes) {
    const int64_t mib = 1 << 20;
    return bytes < mib ? 0 : (bytes + 2 * mib - 1) / (2 * mib) * (2 * mib) - bytes;
}

char *take(size_t bytes) {
    block b = {};
    b.bytes = bytes;
    b.usable = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    b.mapped = b.usable + PAGE_BYTES;
    b.base = (char *)mmap(
            NULL, b.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b.base == (char *)MAP_FAILED) return NULL;
    char *begin = b.base + (b.usable - bytes); /* the end meets the page without rights */
    if ((uintptr_t)begin % 256) found("cudaMalloc of %zu bytes, not a multiple of 256", bytes);
    (void)mprotect(b.base, b.usable, PROT_READ | PROT_WRITE);
    poison(b.base, b.usable);
    guard_block(b);
    device_blocks[begin] = b;
    standin_cuda *s = state();
    s->n_objects++;
    s->device_bytes += (int64_t)bytes;
    s->lost_bytes += lost_behind((int64_t)bytes);
    if (s->device_bytes > s->device_bytes_max) s->device_bytes_max = s->device_bytes;
    return begin;
}

int64_t n_free() {
    const int64_t node_bytes = 10 << 10;
    const standin_cuda *s = state();
    return s->memory_bytes - s->context_bytes - s->device_bytes - s->lost_bytes -
           s->n_graphs * s->graph_bytes - s->n_graph_nodes * node_bytes;
}

bool give_back(char *memory) {
    auto at = device_blocks.find(memory);
    if (at == device_blocks.end()) return false;
    state()->device_bytes -= (int64_t)at->second.bytes;
    state()->lost_bytes -= lost_behind((int64_t)at->second.bytes);
    state()->n_objects--;
    (void)munmap(at->second.base, at->second.mapped);
    device_blocks.erase(at);
    return true;
}

char *pin(size_t bytes) {
    char *memory = (char *)malloc(bytes);
    if (!memory) return NULL;
    memset(memory, 0xff, bytes);
    pinned_blocks[memory] = bytes;
    state()->n_objects++;
    state()->pinned_bytes += (int64_t)bytes;
    return memory;
}

const char *pinned_block_of(const void *at) {
    if (!is_pinned(at, 1)) return NULL;
    return std::prev(pinned_blocks.upper_bound((char *)(uintptr_t)at))->first;
}

bool unpin(char *memory) {
    auto at = pinned_blocks.find(memory);
    if (at == pinned_blocks.end()) return false;
    state()->pinned_bytes -= (int64_t)at->second;
    state()->n_objects--;
    pinned_blocks.erase(at);
    free(memory);
    return true;
}

} // namespace standin

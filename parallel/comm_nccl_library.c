#include "comm_nccl_library.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

/* POSIX lets a data pointer hold a function's address. */
static rt_status find(void *library, const char *symbol, void *function) {
    void *address = dlsym(library, symbol);
    memcpy(function, &address, sizeof address);
    if (address) return RT_OK;
    return rt_fail(RT_EUNSUPPORTED, "parallel: NCCL lacks %s; 2.14 or newer is needed", symbol);
}

#define FIND(name) RT_TRY(find(library, "nccl" #name, &out->name))

static rt_status find_all(void *library, nccl_library *out) {
    FIND(GetVersion);
    FIND(GetUniqueId);
    FIND(CommInitRankConfig);
    FIND(CommGetAsyncError);
    FIND(CommFinalize);
    FIND(CommDestroy);
    FIND(CommAbort);
    FIND(GetErrorString);
    FIND(GetLastError);
    FIND(AllReduce);
    FIND(AllGather);
    FIND(Broadcast);
    FIND(Send);
    FIND(Recv);
    return RT_OK;
}

/* ---- which build ----------------------------------------------------------------------------- */

typedef struct build_search {
    ElfW(Addr) base; /* of the library */
    char *text;      /* 9 bytes: the first 4 of its build id, in hexadecimal */
} build_search;

static const ElfW(Nhdr) * next_note(const ElfW(Nhdr) * note) {
    const size_t bytes =
            sizeof *note + ((note->n_namesz + 3U) & ~3U) + ((note->n_descsz + 3U) & ~3U);
    return (const ElfW(Nhdr) *)(const void *)((const char *)note + bytes);
}

static void read_notes(const char *begin, size_t n_bytes, char *text) {
    const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)(const void *)begin;
    for (; (size_t)((const char *)note - begin) + sizeof *note < n_bytes; note = next_note(note)) {
        const char *name = (const char *)(note + 1);
        if (note->n_type != NT_GNU_BUILD_ID || note->n_namesz != 4 || note->n_descsz < 4 ||
                memcmp(name, "GNU", 4) != 0)
            continue;
        const unsigned char *id = (const unsigned char *)name + 4;
        (void)snprintf(text, 9, "%02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
    }
}

static int look_at_object(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    const build_search *search = context;
    if (info->dlpi_addr != search->base) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE && info->dlpi_phdr[i].p_align <= 4)
            read_notes((const char *)(uintptr_t)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                    info->dlpi_phdr[i].p_memsz, search->text);
    return 1;
}

/* The linker's build id, where it left one. */
static void find_build(void *library, char text[9]) {
    struct link_map *map = NULL;
    text[0] = '\0';
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || !map) return;
    build_search search = {.base = map->l_addr, .text = text};
    (void)dl_iterate_phdr(look_at_object, &search);
}

/* ---- opening --------------------------------------------------------------------------------- */

static rt_status find_version(void *library, nccl_library *out) {
    if (out->GetVersion(&out->version) != NCCL_SUCCESS)
        return rt_fail(RT_EUNSUPPORTED, "parallel: NCCL does not say its version");
    char build[9];
    find_build(library, build);
    (void)snprintf(out->name, sizeof out->name, "NCCL %d.%d.%d%s%s", out->version / 10000,
            out->version / 100 % 100, out->version % 100, build[0] ? ", build " : "", build);
    if (out->version >= NCCL_VERSION_MIN) return RT_OK;
    return rt_fail(RT_EUNSUPPORTED, "parallel: %s; 2.14 or newer is needed", out->name);
}

rt_status nccl_library_open(const char *path, nccl_library *out) {
    *out = (nccl_library){0};
    void *library = dlopen(path ? path : "libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return rt_fail(RT_EUNSUPPORTED,
                "parallel: NCCL cannot be loaded: %s; install it (Debian and Ubuntu, from NVIDIA's "
                "repository: libnccl2), or put its folder into LD_LIBRARY_PATH",
                dlerror());
    RT_TRY(find_all(library, out));
    return find_version(library, out);
}

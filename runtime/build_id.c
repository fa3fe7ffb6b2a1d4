/* The linker's note in the running program: a hash of what was linked. */
#include "build_id.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

typedef struct search {
    char *text;
    size_t room;
    bool is_found;
} search;

static void read_notes(const char *at, size_t n_bytes, search *s) {
    while (n_bytes >= sizeof(ElfW(Nhdr)) && !s->is_found) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        const size_t n_name = (note.n_namesz + 3U) & ~3U;
        const size_t n_all = sizeof note + n_name + ((note.n_descsz + 3U) & ~3U);
        if (n_all > n_bytes) return;
        const char *name = at + sizeof note;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(name, "GNU", 4) == 0) {
            const unsigned char *bytes = (const unsigned char *)name + n_name;
            for (size_t i = 0; i < note.n_descsz && 2 * i + 2 < s->room; i++)
                (void)snprintf(s->text + 2 * i, 3, "%02x", bytes[i]);
            s->is_found = true;
        }
        at += n_all;
        n_bytes -= n_all;
    }
}

/* The first object is the program. */
static int look_at(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            read_notes((const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                    info->dlpi_phdr[i].p_memsz, context);
    return 1;
}

const char *glm_build_id(char text[GLM_BUILD_ID_TEXT]) {
    const int n = snprintf(text, GLM_BUILD_ID_TEXT, "%s ", GLM_VERSION);
    search s = {.text = text + n, .room = GLM_BUILD_ID_TEXT - (size_t)n};
    (void)dl_iterate_phdr(look_at, &s);
    return text;
}

/* Does the emulation notice? Each call site of each primitive is made wrong, one at a time, in a
 * process of its own; `work` must then fail: end with a finding, or not return true. */
#ifndef HELP_CUDA_MUTANTS_H
#define HELP_CUDA_MUTANTS_H

#include <fcntl.h>

#include "emu/emu.h"
#include "help_cuda.h"

/* A place that may be wrong without consequence, and why. */
struct harmless_bug {
    emu_bug bug;
    const char *text; /* in the line of the call */
    const char *why;
};

static inline std::string mutants_line(const emu_site &site) {
    /* Tests run in the repository's root, compilers elsewhere. */
    const char *path = strstr(site.file, "attention/");
    FILE *file = fopen(path ? path : site.file, "r");
    CHECK(file);
    char text[512] = "";
    for (int i = 0; i < site.line && fgets(text, sizeof text, file); i++) {
    }
    fclose(file);
    const std::string line = text;
    const size_t from = line.find_first_not_of(' ');
    return from == std::string::npos ? "" : line.substr(from, line.find('\n') - from);
}

/* Exit code of work under the bug; -1: killed. */
static inline int mutants_run(const emu_place &place, const std::function<bool()> &work) {
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        if (null < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0) _Exit(99);
        alarm(300);
        emu_mutate(place);
        _Exit(work() ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Prints what came of each place; returns how many bugs passed that are not known to be harmless.
 */
static inline int mutants_survive(
        const std::function<bool()> &work, const std::vector<harmless_bug> &harmless) {
    CHECK(work());
    int n = 0, n_found = 0, n_numbers = 0, n_survived = 0;
    for (const emu_place &place : emu_places()) {
        const std::string line = mutants_line(place.site);
        const char *why = NULL;
        for (const harmless_bug &h : harmless)
            if (h.bug == place.bug && line.find(h.text) != std::string::npos) why = h.why;
        if (cuda_is_fast() && (place.bug + place.site.line) % 12) continue; /* some of them */
        const int code = mutants_run(place, work);
        n++;
        if (code == EMU_EXIT_FOUND) n_found++;
        if (code == 1) n_numbers++;
        if (code == 0 && !why) n_survived++;
        if (code == 0)
            printf("%s: %s, line %d: %s%s\n", why ? "harmless" : "NOT NOTICED",
                    emu_bug_name(place.bug), place.site.line, line.c_str(), why ? why : "");
    }
    printf("%d bugs planted: %d found by the emulation, %d by wrong numbers, %d not noticed\n", n,
            n_found, n_numbers, n_survived);
    return n_survived;
}

#endif

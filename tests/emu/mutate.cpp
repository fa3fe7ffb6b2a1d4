/* Planted bugs: every call site of every primitive is a place where something can be forgotten. */
#include <stdio.h>
#include <string.h>

#include "emu.h"

namespace {

std::vector<emu_place> places;
emu_place wrong = {EMU_NO_BUG, {"", 0}};
emu_site seen[EMU_N_BUGS]
             [64]; /* of `places`, by line: a kernel comes to the same ones again and again */

bool is_same(const emu_place &a, const emu_place &b) {
    return a.bug == b.bug && a.site.line == b.site.line && strcmp(a.site.file, b.site.file) == 0;
}

} // namespace

const char *emu_bug_name(int bug) {
    static const char *const names[EMU_N_BUGS] = {"no bug", "barrier missing", "wrong barrier",
            "__syncwarp missing", "commit missing", "wait missing", "wait for one group too few",
            "fence missing", "arrival missing", "arrival twice", "wrong parity",
            "too few bytes expected", "wrong swizzle", "wrong transposition", "wrong stride",
            "wrong A", "shuffle missing", "copy missing", "no zeros past the end",
            "ticket before the stores are out"};
    return names[bug];
}

bool emu_is_wrong(emu_bug bug, emu_site site) {
    const emu_place here = {bug, site};
    if (wrong.bug != EMU_NO_BUG) return is_same(wrong, here);
    emu_site *last = &seen[bug][site.line % 64];
    if (last->line == site.line && last->file == site.file) return false;
    *last = site;
    for (const emu_place &p : places)
        if (p.bug == bug && p.site.line == site.line && p.site.file == site.file) return false;
    places.push_back(here);
    return false;
}

std::vector<emu_place> emu_places() {
    return places;
}

void emu_mutate(emu_place place) {
    wrong = place;
}

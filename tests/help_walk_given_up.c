/* Steps of a walk that leave sequences half in memory and half on disk, and go on from there. */
#include <inttypes.h>

#include "help_walk.h"
#include "runtime/base/size.h"

static bool can_go_on(const walk *w, const walk_seq *s) {
    return s->session && s != w->running && s->tokens.n < s->max_tokens;
}

/* Forks of `parent`, most from its end, with room for little, which is in memory, or for much, which is not. */
static int32_t fork_some(walk *w, const walk_seq *parent, walk_seq **forks) {
    const int64_t longest = glm_engine_plan(w->engine)->max_len;
    const int64_t n_wanted = 1 + walk_below(w, 3);
    int32_t n = 0;
    for (int64_t i = 0; i < n_wanted; i++) {
        const int64_t at = walk_below(w, 3) ? parent->tokens.n : walk_pick_cut(w, parent->tokens.n);
        const int64_t room = walk_below(w, 3) ? 1 + walk_below(w, 40) : longest;
        walk_seq *fork = walk_fork(w, parent, at, rt_min64(at + room, longest));
        if (fork) forks[n++] = fork;
    }
    return n;
}

/* Of those given, as many as can, or only some: now and then also another. */
static int32_t choose_some(walk *w, walk_seq *const *of, int32_t n, walk_seq **some) {
    const int32_t most = glm_engine_plan(w->engine)->max_seqs;
    const bool takes_all = walk_below(w, 2);
    int32_t n_some = 0;
    for (int32_t i = 0; i < n && n_some < most; i++)
        if (can_go_on(w, of[i]) && (takes_all || walk_below(w, 2))) some[n_some++] = of[i];
    return n_some;
}

/* Forks, and a few tokens of these and their parent, side by side in changing company. */
static void fan(walk *w, walk_seq *parent) {
    walk_seq *all[WALK_SEQS + 1];
    walk_seq *some[WALK_SEQS + 1];
    const int64_t n_rounds = 1 + walk_below(w, 4);
    int32_t n = fork_some(w, parent, all);
    if (walk_below(w, 3) == 0) all[n++] = parent;
    for (int64_t i = 0; i < n_rounds; i++) {
        const int32_t n_some = choose_some(w, all, n, some);
        if (n_some > 0) walk_decode(w, some, n_some);
    }
}

void walk_fan(walk *w) {
    walk_seq *parent = walk_some(w, true);
    if (parent) fan(w, parent);
}

/* After a few items: in most cases inside the first layers of a span. */
void walk_give_up(walk *w) {
    if (!w->running && !walk_begin_any(w)) return;
    walk_seq *s = w->running;
    walk_go_on(w, 1 + walk_below(w, 3));
    if (w->running) walk_suspend(w);
    if (s->session) fan(w, s);
}

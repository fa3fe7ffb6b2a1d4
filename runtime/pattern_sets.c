/* The sets of characters of an expression: each is kept once, as ranges that ascend, none next to another. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "pattern_inside.h"

static int by_first(const void *left, const void *right) {
    const glm_char_range *a = left;
    const glm_char_range *b = right;
    return (a->first > b->first) - (a->first < b->first);
}

/* Ascending, none next to another; how many are left. */
static int64_t merge(glm_char_range *ranges, int64_t n) {
    int64_t n_kept = 0;
    if (n > 0) qsort(ranges, (size_t)n, sizeof *ranges, by_first);
    for (int64_t i = 0; i < n; i++) {
        glm_char_range *last = n_kept > 0 ? &ranges[n_kept - 1] : NULL;
        if (last && ranges[i].first <= last->last + 1)
            last->last = (int32_t)rt_max64(last->last, ranges[i].last);
        else
            ranges[n_kept++] = ranges[i];
    }
    return n_kept;
}

static rt_status add_range(glm_pattern_tree *tree, int32_t first, int32_t last) {
    if (first > last) return RT_OK;
    RT_TRY(rt_make_room(&tree->ranges, sizeof *tree->ranges, tree->n_ranges, &tree->ranges_room,
            "ranges of characters"));
    tree->ranges[tree->n_ranges++] = (glm_char_range){first, last};
    return RT_OK;
}

static bool is_alike(const glm_pattern_tree *tree, const glm_char_set *a, const glm_char_set *b) {
    return a->n == b->n && memcmp(&tree->ranges[a->first], &tree->ranges[b->first],
                                   (size_t)a->n * sizeof *tree->ranges) == 0;
}

rt_status glm_pattern_add_set(
        glm_pattern_tree *tree, glm_char_range *ranges, int64_t n, bool is_negated, int32_t *set) {
    glm_char_set added = {.first = (int32_t)tree->n_ranges};
    int32_t from = 0;
    n = merge(ranges, n);
    for (int64_t i = 0; i < n; i++) {
        RT_TRY(is_negated ? add_range(tree, from, ranges[i].first - 1)
                          : add_range(tree, ranges[i].first, ranges[i].last));
        from = ranges[i].last + 1;
    }
    if (is_negated) RT_TRY(add_range(tree, from, GLM_CODE_POINT_MAX));
    added.n = (int32_t)(tree->n_ranges - added.first);
    for (*set = 0; *set < tree->n_sets; ++*set)
        if (is_alike(tree, &tree->sets[*set], &added)) {
            tree->n_ranges = added.first;
            return RT_OK;
        }
    RT_TRY(rt_make_room(
            &tree->sets, sizeof added, tree->n_sets, &tree->sets_room, "sets of characters"));
    tree->sets[tree->n_sets++] = added;
    return RT_OK;
}

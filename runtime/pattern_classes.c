/* Which characters no set of a pattern tells apart. */
#include <stdlib.h>

#include "base/memory.h"
#include "pattern_automaton.h"

/* Those that a string of JSON has as they are, or behind a backslash as one letter. */
static const glm_char_range writable[] = {
        {'\b', '\n'}, {'\f', '\r'}, {' ', 0xd7ff}, {0xe000, GLM_CODE_POINT_MAX}};
enum { N_WRITABLE = sizeof writable / sizeof *writable };

static int by_value(const void *left, const void *right) {
    const int32_t a = *(const int32_t *)left;
    const int32_t b = *(const int32_t *)right;
    return (a > b) - (a < b);
}

static bool set_has(const glm_pattern_tree *tree, const glm_char_set *set, int32_t code) {
    const glm_char_range *ranges = &tree->ranges[set->first];
    int32_t low = 0;
    int32_t high = set->n;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (ranges[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->n && ranges[low].first <= code;
}

/* The class of what the same sets have as `code`; a new one where there is none. */
static rt_status class_of(const glm_pattern_tree *tree, const char *where, int32_t code,
        glm_pattern *out, uint8_t *has, int32_t *class_) {
    for (*class_ = 0; *class_ <= out->n_classes && *class_ < GLM_PATTERN_CLASSES; ++*class_) {
        bool is_it = true;
        for (int64_t s = 0; s < tree->n_sets && is_it; s++) {
            uint8_t *one = &has[s * GLM_PATTERN_CLASSES + *class_];
            const bool has_it = set_has(tree, &tree->sets[s], code);
            if (*class_ == out->n_classes)
                *one = has_it;
            else
                is_it = *one == has_it;
        }
        if (!is_it) continue;
        if (*class_ == out->n_classes) out->n_classes++;
        return RT_OK;
    }
    return rt_fail(RT_EUSAGE, "schema: %s tells apart more than %d kinds of characters", where,
            GLM_PATTERN_CLASSES);
}

/* [first, last], which no set parts. */
static rt_status add_piece(const glm_pattern_tree *tree, const char *where,
        glm_pattern_budget *budget, int32_t first, int32_t last, glm_pattern *out, uint8_t *has) {
    glm_char_piece piece = {first, last, 0};
    RT_TRY(glm_pattern_spend(budget, (1 + tree->n_sets) * (1 + out->n_classes), where));
    RT_TRY(class_of(tree, where, first, out, has, &piece.class_));
    RT_TRY(rt_make_room(&out->pieces, sizeof piece, out->n_pieces, &out->pieces_room,
            "characters of a pattern"));
    out->pieces[out->n_pieces++] = piece;
    return RT_OK;
}

static rt_status cut(const glm_pattern_tree *tree, const char *where, glm_pattern_budget *budget,
        const int32_t *cuts, int64_t n_cuts, glm_pattern *out, uint8_t *has) {
    for (int64_t w = 0, k = 0; w < N_WRITABLE; w++) {
        int32_t first = writable[w].first;
        while (k < n_cuts && cuts[k] <= first) k++;
        for (; k < n_cuts && cuts[k] <= writable[w].last; k++) {
            if (cuts[k] == first) continue;
            RT_TRY(add_piece(tree, where, budget, first, cuts[k] - 1, out, has));
            first = cuts[k];
        }
        RT_TRY(add_piece(tree, where, budget, first, writable[w].last, out, has));
    }
    return RT_OK;
}

rt_status glm_pattern_classify(const glm_pattern_tree *tree, const char *where,
        glm_pattern_budget *budget, glm_pattern *out, uint8_t **has) {
    int32_t *cuts = NULL;
    RT_TRY(rt_calloc(tree->n_sets, GLM_PATTERN_CLASSES, "sets of characters", has));
    RT_TRY(rt_calloc(2 * tree->n_ranges, sizeof *cuts, "sets of characters", &cuts));
    for (int64_t i = 0; i < tree->n_ranges; i++) {
        cuts[2 * i] = tree->ranges[i].first;
        cuts[2 * i + 1] = tree->ranges[i].last + 1;
    }
    qsort(cuts, (size_t)(2 * tree->n_ranges), sizeof *cuts, by_value);
    const rt_status status = cut(tree, where, budget, cuts, 2 * tree->n_ranges, out, *has);
    free(cuts);
    return status;
}

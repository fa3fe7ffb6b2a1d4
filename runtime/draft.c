#include "draft.h"

#include <stdbool.h>

#include "base/size.h"

enum {
    MATCH_MIN = 3,
    MATCH_MORE = 4, /* for each draft of late that was all wrong */
    MATCH_MAX = 32,
    MISSED_MAX = 4,
    FIRST_DRAFT = 4,
    BLOCK = 64 /* ids that are compared at once */
};

/* The text: ids[n], then id. */
typedef struct ending {
    const int32_t *ids;
    int64_t n;
    int32_t id;
} ending;

/* How much of the end also ends at `at`, where `id` stands. */
static int32_t match_length(const ending *end, int64_t at) {
    const int64_t most = rt_min64(MATCH_MAX, at + 1);
    int32_t length = 1;
    while (length < most && end->ids[at - length] == end->ids[end->n - length]) length++;
    return length;
}

static bool has_id(const int32_t *ids, int32_t id) {
    int32_t n_equal = 0;
    for (int32_t i = 0; i < BLOCK; i++) n_equal += ids[i] == id;
    return n_equal > 0;
}

/* The latest of the longest matches; its length in *length, 0: none. */
static int64_t find_match(const ending *end, int32_t *length) {
    int64_t found = -1;
    *length = 0;
    for (int64_t at = end->n - 1; at >= 0 && *length < MATCH_MAX; at--) {
        while (at >= BLOCK && !has_id(end->ids + at - BLOCK + 1, end->id)) at -= BLOCK;
        if (end->ids[at] != end->id) continue;
        const int32_t here = match_length(end, at);
        if (here <= *length) continue;
        found = at;
        *length = here;
    }
    return found;
}

int32_t glm_draft_find(const glm_draft_record *record, const int32_t *ids, int64_t n, int32_t id,
        int32_t most, int32_t draft[GLM_DRAFT_MAX]) {
    const ending end = {ids, n, id};
    const int64_t most_now = rt_min64(most, record->most > 0 ? record->most : FIRST_DRAFT);
    int32_t length = 0;
    if (most_now <= 0) return 0;
    const int64_t at = find_match(&end, &length);
    if (length < MATCH_MIN + MATCH_MORE * record->n_missed) return 0;
    for (int32_t i = 0; i < most_now; i++) { /* what repeats itself may go on past the end */
        const int64_t from = at + 1 + i;
        draft[i] = from < n ? ids[from] : from == n ? id : draft[from - n - 1];
    }
    return (int32_t)most_now;
}

/* One that was all right may be followed by one twice as long; otherwise by what would have done. */
void glm_draft_learn(glm_draft_record *record, int32_t n, int32_t n_taken) {
    if (n_taken == n)
        record->most = (int32_t)rt_min64(2 * (int64_t)rt_max64(n, FIRST_DRAFT), GLM_DRAFT_MAX);
    else
        record->most = n_taken + 2;
    if (n_taken == 0)
        record->n_missed += record->n_missed < MISSED_MAX;
    else
        record->n_missed -= record->n_missed > 0;
}

/* A draft is what followed where the text's end stood before: the longest such end, the latest such place, as many
 * tokens as drafts of late were right. Text that does not repeat itself gives none, and drafts that are wrong
 * become rarer.
 *
 * Method: by hand, and random texts over few ids against a search written plainly. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "runtime/draft.h"

static int n_failed;

static void expect(bool is_so, const char *what) {
    if (is_so) return;
    printf("FAIL %s\n", what);
    n_failed++;
}

static bool drafts(const glm_draft_record *record, const int32_t *ids, int64_t n, int32_t id,
        int32_t most, const int32_t *want, int32_t n_want) {
    int32_t draft[GLM_DRAFT_MAX];
    const int32_t n_got = glm_draft_find(record, ids, n, id, most, draft);
    return n_got == n_want &&
           (n_want == 0 || memcmp(draft, want, (size_t)n_want * sizeof *want) == 0);
}

static void check_by_hand(void) {
    const glm_draft_record fresh = {0};
    const glm_draft_record once_wrong = {.most = 4, .n_missed = 1};
    const int32_t text[] = {1, 2, 3, 4, 5, 6, 9, 2, 3, 4, 7, 8, 1, 2, 3};
    expect(drafts(&fresh, text, 15, 4, 15, (int32_t[]){5, 6, 9, 2}, 4),
            "the longer end, though it is earlier");
    expect(drafts(&fresh, text, 15, 4, 2, (int32_t[]){5, 6}, 2), "no more than are asked for");
    expect(drafts(&fresh, text, 15, 4, 0, NULL, 0), "none where none may be");
    expect(drafts(&fresh, text, 15, 5, 15, NULL, 0), "an id that stood behind others");
    expect(drafts(&fresh, text, 2, 3, 15, NULL, 0), "a text that has not been before");
    expect(drafts(&fresh, text, 0, 3, 15, NULL, 0), "no text at all");
    expect(drafts(&once_wrong, text, 15, 4, 15, NULL, 0),
            "an end of 4 tokens after a draft that was wrong");
    const int32_t latest[] = {5, 6, 7, 1, 5, 6, 7, 2, 5, 6};
    expect(drafts(&fresh, latest, 10, 7, 1, (int32_t[]){2}, 1), "the latest of places alike");
    const int32_t same[] = {3, 3, 3};
    expect(drafts(&fresh, same, 3, 3, 4, (int32_t[]){3, 3, 3, 3}, 4),
            "what repeats itself past the end");
    const int32_t turns[] = {8, 9, 8, 9, 8};
    expect(drafts(&fresh, turns, 5, 9, 4, (int32_t[]){8, 9, 8, 9}, 4), "turns past the end");
}

/* How much of text[0 .. end] and text[0 .. at] ends alike, at most 32. */
static int32_t common(const int32_t *text, int64_t end, int64_t at) {
    int32_t n = 0;
    while (n < 32 && at - n >= 0 && text[at - n] == text[end - n]) n++;
    return n;
}

static void check_random(uint32_t seed) {
    enum { N = 700 };
    int32_t text[N + GLM_DRAFT_MAX];
    int32_t draft[GLM_DRAFT_MAX];
    const glm_draft_record record = {
            .most = 1 + (int32_t)(seed % 15), .n_missed = (int32_t)(seed % 3)};
    const bool is_rare = seed % 2; /* the last id is in few places: none of many blocks */
    const uint32_t n_ids = is_rare ? 2000 : 2 + seed % 5;
    const int64_t n = 5 + seed % (N - 5);
    for (int64_t i = 0; i <= n; i++) {
        seed = seed * 1664525u + 1013904223u;
        text[i] = (int32_t)((seed >> 8) % n_ids);
    }
    if (is_rare && n > 80)
        memcpy(text + seed % (uint32_t)(n - 40), text + n - 19, 20 * sizeof *text);
    int64_t best = -1;
    int32_t length = 0;
    for (int64_t at = n - 1; at >= 0; at--)
        if (common(text, n, at) > length) length = common(text, n, at), best = at;
    const int32_t want = length >= 3 + 4 * record.n_missed ? record.most : 0;
    const int32_t got = glm_draft_find(&record, text, n, text[n], GLM_DRAFT_MAX, draft);
    bool is_right = got == want;
    for (int32_t i = 0; i < got && is_right; i++) {
        text[n + 1 + i] = text[best + 1 + i];
        is_right = draft[i] == text[n + 1 + i];
    }
    expect(is_right, "a random text");
}

static void check_learning(void) {
    glm_draft_record record = {0};
    glm_draft_learn(&record, 4, 4);
    expect(record.most == 8 && record.n_missed == 0, "all right: twice as many");
    glm_draft_learn(&record, 8, 8);
    expect(record.most == GLM_DRAFT_MAX, "at most so many as may be");
    glm_draft_learn(&record, 15, 3);
    expect(record.most == 5 && record.n_missed == 0,
            "some right: what would have done, and one more");
    for (int i = 0; i < 9; i++) glm_draft_learn(&record, record.most, 0);
    expect(record.most == 2 && record.n_missed == 4, "none right: few, and only behind long ends");
    glm_draft_learn(&record, 2, 1);
    expect(record.n_missed == 3, "right once: a step back");
    for (int i = 0; i < 8; i++) glm_draft_learn(&record, 2, 1);
    expect(record.n_missed == 0, "right again: as before");
}

int main(void) {
    check_by_hand();
    for (uint32_t seed = 1; seed < 3000; seed++) check_random(seed * 2654435761u);
    check_learning();
    return n_failed ? 1 : 0;
}

#include "help_needle.h"

#include "help_dir.h"
#include "runtime/needle_model.h"

enum { PAGE = 128 };
enum { ID_STOP = 256, ID_GMASK = 258, ID_SOP = 260, ID_USER = 263, ID_ASSISTANT = 264 };

const char *help_needle_model(void) {
    const char *dir = help_dir();
    help_require(glm_needle_model_write(dir), "make-model");
    return dir;
}

void help_append(glm_ids *ids, const char *text) {
    for (; *text; text++) help_require(glm_ids_push(ids, (int32_t)(unsigned char)*text), "append");
}

void help_append_opening(glm_ids *ids) {
    static const int32_t opening[] = {ID_GMASK, ID_SOP, ID_USER, '\n'};
    help_require(glm_ids_append(ids, opening, 4), "append");
}

void help_append_filler(glm_ids *ids, int64_t n, uint64_t seed) {
    static const char *const words[] = {"river ", "stone ", "bread ", "window ", "garden ",
            "letter ", "morning ", "silver ", "quiet ", "road. ", "winter ", "apple\n"};
    const int64_t end = ids->n + n;
    uint64_t state = seed + 1;
    while (ids->n < end) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        help_append(ids, words[(state >> 33) % 12]);
    }
    ids->n = end;
}

void help_value(int64_t i, char text[8]) {
    int64_t value = 1000000 + i * 7654321 % 9000000;
    for (int digit = 6; digit >= 0; digit--, value /= 10) text[digit] = (char)('0' + value % 10);
    text[7] = '\0';
}

void help_append_needle(glm_ids *ids, const char *key, int64_t i) {
    char value[8];
    help_value(i, value);
    help_append(ids, "\nThe special magic number for ");
    help_append(ids, key);
    help_append(ids, " is: ");
    help_append(ids, value);
    help_append(ids, ".\n");
}

void help_append_needles(glm_ids *ids, int64_t n_pages) {
    help_append_opening(ids);
    help_append_filler(ids, PAGE - ids->n, 0);
    for (int64_t page = 1; page < n_pages; page++) {
        char key[64];
        glm_needle_words(page, key);
        help_append_filler(ids, 1 + page * 13 % 60, (uint64_t)page);
        help_append_needle(ids, key, page);
        help_append_filler(ids, (page + 1) * PAGE - ids->n, (uint64_t)page + 1000);
    }
}

void help_append_question(glm_ids *ids, const char *key) {
    help_append(ids, "\nWhat is the special magic number for ");
    help_append(ids, key);
    help_append(ids, "?");
    help_require(glm_ids_push(ids, ID_ASSISTANT), "append");
    help_append(ids, "\nThe special magic number for ");
    help_append(ids, key);
    help_append(ids, " is: ");
}

int32_t help_next(const glm_session *session) {
    static const glm_sampling greedy = {.top_p = 1.0f};
    const float *logits = NULL;
    int64_t n_rows = 0;
    int32_t id = 0;
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    help_require(glm_sample(logits, 272, 266, &greedy, 0, &id), "sample");
    return id;
}

void help_answer(glm_session *session, const glm_ids *ids, char answer[32]) {
    help_require(glm_prefill(session, ids->ids, ids->n), "prefill");
    int n = 0;
    for (; n < 31; n++) {
        const int32_t id = help_next(session);
        if (id == ID_STOP) break;
        answer[n] = (char)(id < 256 ? id : '?');
        if (n < 30) help_require(glm_decode(&session, &id, 1), "decode");
    }
    answer[n] = '\0';
}

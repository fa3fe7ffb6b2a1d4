/* A file of questions takes memory as it is large, also where all of its paragraphs are of one article, as in a file that
 * somebody has made of a book.
 *
 * Method: what is asked of rt_calloc while one article of many paragraphs is read, each with questions of its own, is counted: a
 * list of the article's paragraphs for each question would be a hundred times the file. Each question has its own paragraph
 * all the same, and those around it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "runtime/base/memory.h"
#include "runtime/needle_questions.h"
#include "runtime/text.h"

enum { PARAGRAPHS = 4000, EACH = 2 };

static int64_t n_allocated;

rt_status __real_rt_calloc(int64_t n, int64_t size, const char *what, void *out);
rt_status __wrap_rt_calloc(int64_t n, int64_t size, const char *what, void *out);
rt_status __wrap_rt_calloc(int64_t n, int64_t size, const char *what, void *out) {
    n_allocated += n * size;
    return __real_rt_calloc(n, size, what, out);
}

static void add(glm_text *text, const char *bytes) {
    CHECK(glm_text_add(text, bytes, (int64_t)strlen(bytes)) == RT_OK);
}

static glm_text make_file(void) {
    glm_text file = {0};
    add(&file, "{\"data\":[{\"paragraphs\":[");
    for (int i = 0; i < PARAGRAPHS; i++) {
        char line[256];
        (void)snprintf(line, sizeof line, "%s{\"context\":\"It was day %04d.\",\"qas\":[",
                i ? "," : "", i);
        add(&file, line);
        for (int k = 0; k < EACH; k++) {
            (void)snprintf(line, sizeof line,
                    "%s{\"question\":\"Which day, asked %d?\",\"answers\":[{\"text\":\"%d\"}]}",
                    k ? "," : "", k, i);
            add(&file, line);
        }
        add(&file, "]}");
    }
    add(&file, "]}]}");
    return file;
}

static void check_question(const glm_questions *q, int i) {
    char wanted[64];
    const glm_question *question = &q->questions[i];
    (void)snprintf(wanted, sizeof wanted, "It was day %04d.", i / EACH);
    CHECK(question->n_own == 1 && question->n_near == PARAGRAPHS);
    CHECK(strcmp(q->paragraphs[question->own[0]], wanted) == 0);
    for (int k = 0; k < PARAGRAPHS; k += 1000) CHECK(question->near[k] == k);
}

int main(void) {
    glm_text file = make_file();
    glm_questions *q = NULL;
    n_allocated = 0;
    CHECK(glm_questions_read(GLM_QUESTIONS_SQUAD, file.bytes, file.n, &q) == RT_OK);
    printf("%lld bytes of file, %lld allocated\n", (long long)file.n, (long long)n_allocated);
    CHECK(q->n == PARAGRAPHS * EACH && n_allocated < 2 * file.n);
    for (int i = 0; i < PARAGRAPHS * EACH; i++) check_question(q, i);
    glm_questions_free(q);
    free(file.bytes);
    return 0;
}

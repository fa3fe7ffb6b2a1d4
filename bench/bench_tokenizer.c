/* Text -> ids on one core: a novel, and the inputs that made other tokenizers quadratic.
 *
 *   GLM_TEST_DATA=DIR build/bench/bench_tokenizer
 *
 * Method: the published tokenizer of DIR/glm-4-9b-chat-1m; the novel of DIR/books repeated, and 16
 * MiB of each hostile input. MB/s are of text, 10^6. Per input the scanner alone (where pieces
 * end), then the whole encoding; shares are of memcpy of the same text in the same process, the fewest
 * instructions that could touch every byte and write as many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_measure.h"
#include "runtime/base/file.h"
#include "runtime/base/memory.h"
#include "runtime/base/random.h"
#include "runtime/base/size.h"
#include "runtime/tokenizer.h"
#include "runtime/tokenizer_scan.h"

typedef struct bench_text {
    const glm_tokenizer *tokenizer;
    char *bytes;
    char *copy;
    int64_t n_bytes;
    int64_t n_found; /* pieces, or ids: what keeps the work from being removed */
    glm_ids ids;
} bench_text;

/* ---- what is measured ------------------------------------------------------------------------ */

static void copy(void *context) {
    bench_text *text = context;
    memcpy(text->copy, text->bytes, (size_t)text->n_bytes);
    __asm__ volatile("" : : "r"(text->copy) : "memory");
}

static void scan(void *context) {
    bench_text *text = context;
    text->n_found = 0;
    for (int64_t at = 0; at < text->n_bytes; text->n_found++)
        at = glm_scan_piece(text->bytes, text->n_bytes, at);
}

static void encode(void *context) {
    bench_text *text = context;
    text->ids.n = 0;
    bench_must(
            glm_tokenizer_encode(text->tokenizer, text->bytes, text->n_bytes, false, &text->ids));
    text->n_found = text->ids.n;
}

/* Correctness first: the ids give the text back. */
static void check_round_trip(bench_text *text, const char *name) {
    int64_t at = 0;
    encode(text);
    for (int64_t i = 0; i < text->ids.n; i++) {
        int64_t n = 0;
        const char *bytes = glm_tokenizer_bytes(text->tokenizer, text->ids.ids[i], &n, NULL);
        if (n > text->n_bytes - at || memcmp(text->bytes + at, bytes, (size_t)n) != 0)
            bench_must(rt_fail(RT_ECORRUPT, "%s does not come back from its ids", name));
        at += n;
    }
    if (at != text->n_bytes) bench_must(rt_fail(RT_ECORRUPT, "%s comes back cut off", name));
}

static void report(const bench_options *options, bench_text *text, const char *name,
        const char *what, bench_work *work, double peak) {
    char label[96];
    const bench_rate rate = bench_measure(options, 1, (double)text->n_bytes * 1e-6, work, text);
    if (work == copy)
        (void)snprintf(label, sizeof label, "%s: %s", name, what);
    else
        (void)snprintf(label, sizeof label, "%s: %s (%.2f bytes each)", name, what,
                (double)text->n_bytes / (double)text->n_found);
    bench_report(options,
            &(bench_figure){
                    .what = label, .n_threads = 1, .rate = rate, .unit = "MB/s", .peak = peak});
}

static void measure(const bench_options *options, bench_text *text, const char *name) {
    check_round_trip(text, name);
    const double peak = bench_measure(options, 1, (double)text->n_bytes * 1e-6, copy, text).best;
    report(options, text, name, "pieces", scan, peak);
    report(options, text, name, "ids", encode, peak);
}

/* ---- inputs ---------------------------------------------------------------------------------- */

/* Runs of one thing, and what they are called. */
static const struct {
    const char *name;
    const char *unit;
} runs[] = {{"one letter", "a"}, {"spaces", " "}, {"newlines", "\n"}, {"^", "^"}, {"digits", "7"},
        {"one CJK character", "中"}, {"an emoji chain", "👨‍👩‍👧‍👦"},
        {"CJK without punctuation", "人工智能的发展改变了世界语言模型"},
        {"combining accents", "e\u0301"}, {"broken UTF-8", "\xe4\xb8"}};

static void fill_run(bench_text *text, const char *unit) {
    const int64_t n = (int64_t)strlen(unit);
    for (int64_t i = 0; i < text->n_bytes; i++) text->bytes[i] = unit[i % n];
}

static void fill_random(bench_text *text, int first, int n_values) {
    uint64_t state = 1;
    for (int64_t i = 0; i < text->n_bytes; i++)
        text->bytes[i] = (char)(first + (int)(rt_random_next(&state) % (uint64_t)n_values));
}

static char *data_path(const char *name) {
    const char *data = getenv("GLM_TEST_DATA"); /* NOLINT(concurrency-mt-unsafe) */
    char *path = NULL;
    if (!data) bench_must(rt_fail(RT_EUSAGE, "bench_tokenizer: GLM_TEST_DATA is not set"));
    bench_must(rt_path_join(data, name, &path));
    return path;
}

static void fill_book(bench_text *text) {
    char *path = data_path("books/i_promessi_sposi.txt");
    char *book = NULL;
    int64_t n_book = 0;
    bench_must(rt_file_read(path, RT_GIB, &book, &n_book));
    for (int64_t i = 0; i < text->n_bytes; i++) text->bytes[i] = book[i % n_book];
    free(book);
    free(path);
}

static void measure_hostile(const bench_options *options, bench_text *text) {
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        fill_run(text, runs[i].unit);
        measure(options, text, runs[i].name);
    }
    fill_random(text, 0, 256);
    measure(options, text, "random bytes");
    fill_random(text, 'a', 26);
    measure(options, text, "random letters");
}

int main(int argc, char **argv) {
    const bench_options options = bench_parse(argc, argv);
    glm_tokenizer *tokenizer = NULL;
    char *dir = data_path("glm-4-9b-chat-1m");
    bench_must(glm_tokenizer_load(dir, &tokenizer));
    const int64_t n_bytes = options.is_quick ? RT_MIB : 16 * RT_MIB;
    bench_text text = {.tokenizer = tokenizer,
            .bytes = bench_memory(n_bytes),
            .copy = bench_memory(n_bytes),
            .n_bytes = n_bytes};

    bench_begin(&options);
    fill_book(&text);
    report(&options, &text, "the novel", "memcpy", copy, 0.0);
    measure(&options, &text, "the novel");
    measure_hostile(&options, &text);

    rt_mem_free(text.bytes, n_bytes);
    rt_mem_free(text.copy, n_bytes);
    glm_ids_free(&text.ids);
    glm_tokenizer_free(tokenizer);
    free(dir);
    return 0;
}

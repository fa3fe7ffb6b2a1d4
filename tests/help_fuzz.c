/* Mutations of what parsers are fed: bits and bytes anywhere; words of JSON and numbers at the edges
 * of types put in; ranges doubled, moved, left out, or brought in from another input. */
#include "help_fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_random.h"

_Noreturn void fuzz_failed(const char *file, int line, const char *condition) {
    (void)fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    abort();
}

const uint8_t *fuzz_at_the_end(const uint8_t *data, size_t n_bytes) {
    static uint8_t *end;
    FUZZ_REQUIRE(n_bytes <= FUZZ_INPUT_MAX);
    if (!end) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        uint8_t *base = mmap(NULL, FUZZ_INPUT_MAX + page, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        FUZZ_REQUIRE(base != MAP_FAILED);
        FUZZ_REQUIRE(mprotect(base + FUZZ_INPUT_MAX, page, PROT_NONE) == 0);
        end = base + FUZZ_INPUT_MAX;
    }
    if (n_bytes > 0) memcpy(end - n_bytes, data, n_bytes);
    return end - n_bytes;
}

/* ---- the corpus ------------------------------------------------------------------------------ */

void fuzz_add(fuzz_corpus *corpus, const void *bytes, size_t n_bytes) {
    fuzz_input one = {.bytes = malloc(n_bytes + 1), .n_bytes = n_bytes};
    corpus->inputs = realloc(corpus->inputs, (corpus->n + 1) * sizeof *corpus->inputs);
    FUZZ_REQUIRE(one.bytes && corpus->inputs && n_bytes <= FUZZ_INPUT_MAX);
    if (n_bytes > 0) memcpy(one.bytes, bytes, n_bytes);
    corpus->inputs[corpus->n++] = one;
}

void fuzz_add_text(fuzz_corpus *corpus, uint8_t first, const char *text) {
    fuzz_add(corpus, text, strlen(text));
    fuzz_input *one = &corpus->inputs[corpus->n - 1];
    memmove(one->bytes + 1, one->bytes, one->n_bytes);
    one->bytes[0] = first;
    one->n_bytes++;
}

static void free_corpus(fuzz_corpus *corpus) {
    for (size_t i = 0; i < corpus->n; i++) free(corpus->inputs[i].bytes);
    free(corpus->inputs);
}

static int write_corpus(const fuzz_corpus *corpus, const char *dir) {
    (void)mkdir(dir, 0777);
    for (size_t i = 0; i < corpus->n; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/seed%03zu", dir, i);
        FILE *file = fopen(path, "wb");
        FUZZ_REQUIRE(file);
        (void)fwrite(corpus->inputs[i].bytes, 1, corpus->inputs[i].n_bytes, file);
        FUZZ_REQUIRE(fclose(file) == 0);
    }
    (void)printf("%zu seeds in %s\n", corpus->n, dir);
    return 0;
}

/* ---- mutations ------------------------------------------------------------------------------- */

typedef struct work {
    uint8_t bytes[FUZZ_INPUT_MAX];
    size_t n;
} work;

static size_t place_in(uint64_t *random, size_t n) {
    return n ? (size_t)random_below(random, (int64_t)n) : 0;
}

/* Mostly short. */
static size_t length_up_to(uint64_t *random, size_t n) {
    static const int64_t scales[] = {2, 8, 32, 256, FUZZ_INPUT_MAX};
    const int64_t length = random_below(random, scales[random_below(random, 5)]) + 1;
    return (size_t)length < n ? (size_t)length : n;
}

/* Bytes [at, at + n_old) become n_new others; left as it is where there is no room. */
static void replace(work *to, size_t at, size_t n_old, const void *bytes, size_t n_new) {
    if (to->n - n_old + n_new > sizeof to->bytes) return;
    memmove(to->bytes + at + n_new, to->bytes + at + n_old, to->n - at - n_old);
    memcpy(to->bytes + at, bytes, n_new);
    to->n += n_new - n_old;
}

static void put_word(work *to, uint64_t *random) {
    static const char *const words[] = {"{", "}", "[", "]", ",", ":", "\"", "\\", "\n", "\r\n", " ",
            "null", "true", "false", "NaN", "{}", "[]", "\"\"", "\\u0000", "\\ud800", "\\u0061",
            "=", "==", "../", "/", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xef\xbb\xbf", "\x1b[2J",
            "[[[["};
    const char *word = words[random_below(random, sizeof words / sizeof *words)];
    replace(to, place_in(random, to->n + 1), 0, word, strlen(word));
}

/* A number of the text becomes another; anywhere where there is none. */
static void put_number(work *to, uint64_t *random) {
    static const char *const numbers[] = {"0", "1", "2", "3", "4", "7", "8", "-1", "-0", "16",
            "255", "256", "257", "65535", "65536", "2147483647", "2147483648", "4294967295",
            "4294967296", "281474976710655", "281474976710656", "9007199254740993",
            "9223372036854775807", "9223372036854775808", "18446744073709551615", "1e309", "1.5",
            "00", "1e3"};
    const char *number = numbers[random_below(random, sizeof numbers / sizeof *numbers)];
    size_t at = place_in(random, to->n);
    size_t n_old = 0;
    for (size_t i = 0; i < to->n && (to->bytes[at] < '0' || to->bytes[at] > '9'); i++)
        at = (at + 1) % to->n;
    while (at > 0 && to->bytes[at - 1] >= '0' && to->bytes[at - 1] <= '9') at--;
    while (at + n_old < to->n && to->bytes[at + n_old] >= '0' && to->bytes[at + n_old] <= '9')
        n_old++;
    replace(to, at, n_old, number, strlen(number));
}

/* A range of this input or another one, once more. */
static void put_range(work *to, const fuzz_input *from, uint64_t *random) {
    uint8_t range[FUZZ_INPUT_MAX];
    const size_t start = place_in(random, from->n_bytes);
    const size_t n = length_up_to(random, from->n_bytes - start);
    const size_t at = place_in(random, to->n + 1);
    const size_t n_old = random_below(random, 2) ? 0 : length_up_to(random, to->n - at);
    if (n > 0) memcpy(range, from->bytes + start, n);
    replace(to, at, n_old, range, n);
}

static void change_byte(work *to, uint64_t *random) {
    if (to->n == 0) return;
    uint8_t *byte = &to->bytes[place_in(random, to->n)];
    const int64_t how = random_below(random, 4);
    if (how == 0) *byte ^= (uint8_t)(1 << random_below(random, 8));
    if (how == 1) *byte = (uint8_t)random_below(random, 256);
    if (how == 2) *byte = (uint8_t)(*byte + 1);
    if (how == 3) *byte = (uint8_t)(*byte - 1);
}

static void mutate(work *to, const fuzz_corpus *corpus, uint64_t *random) {
    const fuzz_input *other = &corpus->inputs[random_below(random, (int64_t)corpus->n)];
    const fuzz_input self = {.bytes = to->bytes, .n_bytes = to->n};
    const size_t at = place_in(random, to->n);
    switch (random_below(random, 8)) {
    case 0:
    case 1:
    case 2:
        return change_byte(to, random);
    case 3:
        return put_word(to, random);
    case 4:
        return put_number(to, random);
    case 5:
        return put_range(to, &self, random);
    case 6:
        return put_range(to, other, random);
    default:
        return replace(to, at, length_up_to(random, to->n - at), "", 0);
    }
}

/* ---- driving --------------------------------------------------------------------------------- */

/* The corpus itself, then mutations. */
static void drive(const fuzz_corpus *corpus, uint64_t seed, int64_t n_inputs) {
    static work one;
    for (size_t i = 0; i < corpus->n; i++)
        (void)LLVMFuzzerTestOneInput(corpus->inputs[i].bytes, corpus->inputs[i].n_bytes);
    for (int64_t i = 0; i < n_inputs; i++) {
        const fuzz_input *from = &corpus->inputs[random_below(&seed, (int64_t)corpus->n)];
        memcpy(one.bytes, from->bytes, from->n_bytes);
        one.n = from->n_bytes;
        const int64_t n_changes = 1 + random_below(&seed, 3);
        for (int64_t change = 0; change < n_changes; change++) mutate(&one, corpus, &seed);
        if (random_below(&seed, 8)) fuzz_repair(one.bytes, one.n);
        (void)LLVMFuzzerTestOneInput(one.bytes, one.n);
    }
}

static int run_files(int n, char **paths) {
    static uint8_t bytes[FUZZ_INPUT_MAX];
    for (int i = 0; i < n; i++) {
        FILE *file = fopen(paths[i], "rb");
        if (!file) {
            perror(paths[i]);
            return 1;
        }
        const size_t n_bytes = fread(bytes, 1, sizeof bytes, file);
        (void)fclose(file);
        (void)printf("%s\n", paths[i]);
        (void)LLVMFuzzerTestOneInput(bytes, n_bytes);
    }
    return 0;
}

static bool is_number(const char *text) {
    return *text && text[strspn(text, "0123456789")] == '\0';
}

int fuzz_main(int argc, char **argv, int64_t n_inputs) {
    if (argc > 1 && !is_number(argv[1]) && strcmp(argv[1], "--corpus") != 0)
        return run_files(argc - 1, argv + 1);
    fuzz_corpus corpus = {0};
    fuzz_add_seeds(&corpus);
    int rc = 0;
    if (argc == 3 && strcmp(argv[1], "--corpus") == 0) {
        rc = write_corpus(&corpus, argv[2]);
    } else {
        const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
        if (argc > 2)
            n_inputs = strtoll(argv[2], NULL, 10);
        else if (getenv("GLM_TEST_FAST"))
            n_inputs /= 10;
        (void)printf(
                "%zu seeds, %" PRId64 " mutations of seed %" PRIu64 "\n", corpus.n, n_inputs, seed);
        (void)fflush(stdout);
        drive(&corpus, seed, n_inputs);
    }
    free_corpus(&corpus);
    return rc;
}

/* Whether n_inputs are survived, by a child. */
static bool survives(const fuzz_corpus *corpus, int64_t n_inputs) {
    (void)fflush(stdout);
    const pid_t child = fork();
    FUZZ_REQUIRE(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        drive(corpus, 1, n_inputs);
        _exit(0);
    }
    int how = 0;
    FUZZ_REQUIRE(waitpid(child, &how, 0) == child);
    return WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

int fuzz_main_finds(int64_t n_inputs) {
    fuzz_corpus corpus = {0};
    fuzz_add_seeds(&corpus);
    const bool is_survived = survives(&corpus, 0);
    const bool is_found = !survives(&corpus, n_inputs);
    free_corpus(&corpus);
    (void)printf("the corpus alone %s; mutated, it %s the planted bug\n",
            is_survived ? "passes" : "FAILS", is_found ? "found" : "DID NOT FIND");
    return is_survived && is_found ? 0 : 1;
}

/* A bad manifest is an error that says so, and its book is listed and can be removed; it pins nothing and
 * harms no other.
 *
 * Method: a good manifest is changed in one named way, its checksum made right again where the case
 * is about what lies behind it, and read; then every bit of it is flipped. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "help_kv_vault.h"
#include "kvstore/book_format.h"

enum { N = KV_SEGMENT_TOKENS, TEXT_MAX = 16384 };

typedef struct text_case {
    const char *name;
    const char *from, *to; /* the first `from` becomes `to`; and the checksum is made right */
} text_case;

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const text_case text_cases[] = {
        {"no first line", "glm1m book 1\n", ""},
        {"version 2", "glm1m book 1\n", "glm1m book 2\n"},
        {"more on the first line", "glm1m book 1\n", "glm1m book 1 \n"},
        {"a carriage return", "glm1m book 1\n", "glm1m book 1\r\n"},
        {"no name", "name=good\n", ""},
        {"an empty name", "name=good\n", "name=\n"},
        {"another name", "name=good\n", "name=evil\n"},
        {"a name with a slash", "name=good\n", "name=../good\n"},
        {"a hidden name", "name=good\n", "name=.good\n"},
        {"a name that is too long", "name=good\n", "name=" HEX HEX "\n"},
        {"the name twice", "name=good\n", "name=good\nname=good\n"},
        {"no fingerprint", "fingerprint=", "fingerpaint="},
        {"a short fingerprint", "fingerprint=6", "fingerprint="},
        {"a long fingerprint", "fingerprint=", "fingerprint=0"},
        {"upper-case digits", "fingerprint=6e4c", "fingerprint=6E4C"},
        {"no token count", "tokens=8192\n", ""},
        {"0 tokens", "tokens=8192\n", "tokens=0\n"},
        {"-1 tokens", "tokens=8192\n", "tokens=-1\n"},
        {"a token too many", "tokens=8192\n", "tokens=8193\n"},
        {"a segment's tokens too few", "tokens=8192\n", "tokens=4096\n"},
        {"tokens in hex", "tokens=8192\n", "tokens=0x2000\n"},
        {"tokens with a leading zero", "tokens=8192\n", "tokens=08192\n"},
        {"tokens with a space", "tokens=8192\n", "tokens= 8192\n"},
        {"10^18 tokens", "tokens=8192\n", "tokens=1000000000000000000\n"},
        {"2^64 tokens", "tokens=8192\n", "tokens=18446744073709551616\n"},
        {"no time", "created=", "erected="},
        {"a negative time", "created=", "created=-"},
        {"no segment count", "segments=2\n", ""},
        {"0 segments", "segments=2\n", "segments=0\n"},
        {"1 segment of 2", "segments=2\n", "segments=1\n"},
        {"3 segments of 2", "segments=2\n", "segments=3\n"},
        {"2^32 + 2 segments", "segments=2\n", "segments=4294967298\n"},
        {"10^17 segments", "segments=2\n", "segments=100000000000000000\n"},
        {"a missing segment", "segment=", "ignored="},
        {"a short hash", "segment=", "segment=\nx"},
        {"a segment that is no hash", "segment=", "segment=x"},
        {"an overlapping segment", "note=", "segment=" HEX "\nnote="},
        {"neither note nor segment", "note=", "mote="},
        {"an empty line", "note=", "\nnote="},
        {"a control character", "note=source", "note=\001source"},
        {"a terminal's escape", "note=source", "note=\033[2Jsource"},
        {"two checksums", "note=source", "checksum=0000000000000000\nnote=source"},
};

static kvh_vault vault;
static kv_books *books;
static char path[4096], good[TEXT_MAX];
static int n_cases;

/* ---- files ----------------------------------------------------------------------------------- */

static int64_t read_good(void) {
    const int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    const ssize_t n = read(fd, good, sizeof good - 1);
    CHECK(n > 0 && close(fd) == 0);
    return n;
}

static void write_all(const char *bytes, int64_t n) {
    (void)unlink(path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, (size_t)n) == n && close(fd) == 0);
}

/* A text without its checksum line: sealed, padded, written. */
static void write_sealed(const char *text) {
    char file[TEXT_MAX];
    int64_t n = snprintf(file, sizeof file, "%schecksum=%016llx\n", text,
            (unsigned long long)XXH3_64bits(text, strlen(text)));
    while (n % 4096) file[n++] = '\n';
    write_all(file, n);
}

/* ---- one case -------------------------------------------------------------------------------- */

static void expect(const char *name, rt_status expected) {
    kv_book book;
    const rt_status status = kv_books_read(books, "good", &book);
    if (status != expected)
        (void)fprintf(stderr, "%s: %d, not %d: %s\n", name, status, expected, rt_error_text());
    CHECK(status == expected);
    if (status == RT_OK) kv_book_free(&book);
    n_cases++;
}

static void expect_corrupt(const char *name) {
    char **names;
    int64_t n;
    expect(name, RT_ECORRUPT);
    CHECK(kv_books_list(books, &names, &n) == RT_OK && n == 1 && strcmp(names[0], "good") == 0);
    free(names[0]);
    free(names);
}

static void run_text_case(const text_case *c) {
    char text[TEXT_MAX];
    const char *end = strstr(good, "checksum=");
    const char *at = strstr(good, c->from);
    CHECK(end && at && at < end);
    (void)snprintf(text, sizeof text, "%.*s%s%.*s", (int)(at - good), good, c->to,
            (int)(end - at - (int64_t)strlen(c->from)), at + strlen(c->from));
    write_sealed(text);
    expect_corrupt(c->name);
}

static void check_duplicates(void) {
    char text[TEXT_MAX];
    const char *end = strstr(good, "checksum=");
    char *first = strstr(good, "segment="), *second = strstr(first + 8, "segment=");
    (void)snprintf(text, sizeof text, "%.*s", (int)(end - good), good);
    memcpy(text + (second - good), text + (first - good), (size_t)(second - first));
    write_sealed(text);
    expect_corrupt("the same segment twice");
}

static void check_sizes(int64_t n_good) {
    char big[3 * TEXT_MAX];
    memset(big, '\n', sizeof big);
    memcpy(big, good, (size_t)n_good);
    write_all(big, 0);
    expect_corrupt("an empty file");
    write_all(big, n_good - 1);
    expect_corrupt("a byte less");
    write_all(big, n_good + 1);
    expect_corrupt("a byte more");
    write_all(big + 4096, 4096);
    expect_corrupt("nothing but new lines");
    memset(big, 0, sizeof big);
    write_all(big, 4096);
    expect_corrupt("zeros");
    CHECK(truncate(path, INT64_C(1) << 30) == 0);
    expect_corrupt("a gigabyte of nothing");
    memset(big, 'x', sizeof big);
    write_all(big, 8192);
    expect_corrupt("one endless line");
    memcpy(big, good, (size_t)n_good);
    memset(big + n_good, '\n', 4096);
    write_all(big, n_good + 4096);
    expect("more new lines than needed", RT_OK);
}

static void check_kinds(void) {
    CHECK(unlink(path) == 0 && symlink("/dev/zero", path) == 0);
    expect("a symbolic link", RT_EUSAGE);
    CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    expect("a FIFO", RT_EUSAGE);
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
    expect("a directory", RT_EUSAGE);
    CHECK(rmdir(path) == 0);
    expect("nothing", RT_EUSAGE);
}

static void check_every_bit(int64_t n_good) {
    kv_book book;
    for (int64_t bit = 0; bit < n_good * 8; bit++) {
        good[bit / 8] = (char)(good[bit / 8] ^ 1 << bit % 8);
        CHECK(kv_book_parse(good, n_good, &book) == RT_ECORRUPT);
        good[bit / 8] = (char)(good[bit / 8] ^ 1 << bit % 8);
    }
    CHECK(kv_book_parse(good, n_good, &book) == RT_OK);
    kv_book_free(&book);
}

int main(void) {
    vault = kvh_vault_new(1);
    vault.shape = (kv_segment_shape){RT_BF16, 1, 1, 1};
    int32_t *ids = kvh_ids(1, 2 * N);
    kv_hash chains[2];
    const char *dirs[] = {vault.dirs[0]};
    kvh_vault_open(&vault, NULL);
    CHECK(kvh_write_prefix(&vault, ids, 2 * N, chains) == 2);
    CHECK(kv_vault_write_book(vault.vault, "good", chains, 2, 2 * N, "source=a\nsha256=b") ==
            RT_OK);
    CHECK(kv_books_open(dirs, 1, &books) == RT_OK);
    (void)snprintf(path, sizeof path, "%s", kvh_only_file(vault.dirs[0], ".book"));
    const int64_t n_good = read_good();
    expect("the good one", RT_OK);
    for (size_t i = 0; i < sizeof text_cases / sizeof *text_cases; i++)
        run_text_case(&text_cases[i]);
    check_duplicates();
    check_sizes(n_good);
    check_every_bit(n_good);
    CHECK(kv_books_remove(books, "good") == RT_OK);
    write_all(good, n_good);
    check_kinds();
    (void)printf("%d named cases\n", n_cases);
    CHECK(n_cases >= 50);
    CHECK(kvh_find(&vault, ids, 2 * N, NULL) == 2 * N);
    free(ids);
    kv_books_close(books);
    kvh_vault_remove(&vault);
    return 0;
}

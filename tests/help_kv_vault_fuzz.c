#include "help_kv_vault_fuzz.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "help_kv_codec.h"
#include "kvstore/book_format.h"
#include "kvstore/segment_format.h"
#include "runtime/base/size.h"

enum { BLOCK = KV_BLOCK_BYTES, TEXT_MAX = 1 << 16 };

/* ---- segments: the target -------------------------------------------------------------------- */

static void put_hash(uint8_t *to, const uint8_t *bytes, size_t n) {
    const uint64_t hash = XXH3_64bits(bytes, n);
    memcpy(to, &hash, sizeof hash);
}

static void seal_segment(uint8_t *header, uint8_t *footer, const uint8_t *index, int64_t n_index) {
    put_hash(header, header + 8, BLOCK - 8);
    put_hash(footer + 32, index, (size_t)n_index);
    memcpy(footer + 40, header, 8);
    memcpy(footer + 48, header + 80, KV_HASH_BYTES);
    put_hash(footer, footer + 8, BLOCK - 8);
}

static void check_header(const kv_segment_header *h) {
    CHECK(h->n_tokens >= 1 && h->n_tokens <= KV_SEGMENT_TOKENS);
    CHECK(h->first_pos >= 0 && h->first_pos % KV_SEGMENT_TOKENS == 0);
    CHECK(kv_segment_shape_is_valid(&h->shape));
}

static int compare_places(const void *a, const void *b) {
    const kv_run_place *p = a, *q = b;
    return p->offset < q->offset ? -1 : p->offset > q->offset;
}

/* Runs are whole blocks that fill the room between ids and index, none twice. */
static void check_places(
        const kv_segment_header *h, const kv_segment_footer *f, kv_run_place *places) {
    const int32_t n = h->shape.n_layers * h->shape.n_kv_heads;
    int64_t at = kv_segment_runs_offset(h->n_tokens);
    qsort(places, (size_t)n, sizeof *places, compare_places);
    for (int32_t i = 0; i < n; i++) {
        if (places[i].n_bytes == 0 && !f->is_complete) continue;
        CHECK(places[i].n_bytes > 0 && places[i].n_bytes % KV_STORED_ALIGN == 0);
        CHECK(places[i].offset == at);
        at += places[i].n_bytes;
    }
    CHECK(at == f->index_offset);
}

static void read_segment(const uint8_t *header, const uint8_t *footer, const uint8_t *index,
        int64_t n_index, int64_t file_bytes) {
    kv_segment_header h;
    kv_segment_footer f;
    uint64_t checksum;
    rt_status status = kv_segment_read_header(header, &h, &checksum);
    CHECK(status == RT_OK || status == RT_ECORRUPT || status == RT_EUNSUPPORTED);
    if (status != RT_OK) return;
    check_header(&h);
    status = kv_segment_read_footer(footer, &h, checksum, file_bytes, &f);
    CHECK(status == RT_OK || status == RT_ECORRUPT || status == RT_EUNSUPPORTED);
    const int64_t n_runs = (int64_t)h.shape.n_layers * h.shape.n_kv_heads;
    if (status != RT_OK || kv_segment_index_bytes(&h.shape) != n_index) return;
    kvh_guarded places = kvh_guard(n_runs * (int64_t)sizeof(kv_run_place));
    status = kv_segment_read_index(index, &h, &f, (kv_run_place *)(void *)places.bytes);
    CHECK(status == RT_OK || status == RT_ECORRUPT);
    if (status == RT_OK) check_places(&h, &f, (kv_run_place *)(void *)places.bytes);
    kvh_unguard(&places);
}

int kvh_fuzz_segment(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 1 + 3 * BLOCK || n_bytes > 1 + 64 * BLOCK) return 0;
    const int64_t n_index = ((int64_t)n_bytes - 1) / BLOCK * BLOCK - 2 * BLOCK;
    kvh_guarded header = kvh_guard(BLOCK), footer = kvh_guard(BLOCK), index = kvh_guard(n_index);
    memcpy(header.bytes, data + 1, BLOCK);
    memcpy(footer.bytes, data + 1 + BLOCK, BLOCK);
    memcpy(index.bytes, data + 1 + 2 * BLOCK, (size_t)n_index);
    if (data[0] & 1) seal_segment(header.bytes, footer.bytes, index.bytes, n_index);
    int64_t file_bytes;
    memcpy(&file_bytes, footer.bytes + 24, sizeof file_bytes); /* else nothing gets far */
    read_segment(header.bytes, footer.bytes, index.bytes, n_index,
            rt_min64(rt_max64(file_bytes, 0), INT64_MAX / 2));
    kvh_unguard(&header);
    kvh_unguard(&footer);
    kvh_unguard(&index);
    return 0;
}

/* ---- segments: the driver -------------------------------------------------------------------- */

/* A valid input: flag, header, footer, index. */
static void make_segment(uint8_t *input, uint64_t r) {
    const kv_segment_shape shape = {
            .dtype = RT_BF16, .n_layers = 5, .n_kv_heads = 3, .head_dim = 16};
    kv_segment_header h = {.first_pos = (int64_t)(r % 9) * KV_SEGMENT_TOKENS,
            .n_tokens = 700,
            .shape = shape,
            .created_s = 1700000000};
    kv_run_place places[15];
    int64_t at = kv_segment_runs_offset(h.n_tokens);
    const bool is_complete = r >> 8 & 1;
    for (int layer = 0; layer < 5; layer++)
        for (int head = 0; head < 3; head++) {
            const bool is_there = is_complete || layer != 2;
            places[3 * layer + head] = (kv_run_place){is_there ? at : 0, is_there ? 8192 : 0};
            at += is_there ? 8192 : 0;
        }
    kv_segment_footer f = {
            .is_complete = is_complete, .index_offset = at, .file_bytes = at + 2 * BLOCK};
    input[0] = 1;
    f.header_checksum = kv_segment_write_header(&h, input + 1);
    f.index_checksum = kv_segment_write_index(&shape, places, input + 1 + 2 * BLOCK);
    kv_segment_write_footer(&f, input + 1 + BLOCK);
}

static const int64_t odd_numbers[] = {0, 1, -1, 2, 3, 4095, 4096, 4097, 8192, -4096, 0x7fffffff,
        INT64_C(0x80000000), INT64_C(0xffffffff), INT64_C(1) << 40, INT64_C(1) << 62, INT64_MAX,
        INT64_MIN};

static int64_t odd_number(uint64_t r) {
    return odd_numbers[r % (sizeof odd_numbers / sizeof *odd_numbers)];
}

/* A field of header, footer or index: overwritten, moved a little, or taken from elsewhere. */
static void mutate_segment(uint8_t *input, uint64_t *state) {
    const uint64_t r = random_next(state);
    const int64_t starts[] = {1, 1 + BLOCK, 1 + 2 * BLOCK};
    const int64_t spans[] = {168, 96, 256};
    const int64_t start = starts[r % 3], span = spans[r % 3];
    uint8_t *field = input + start + (int64_t)(r >> 8) % (span / 4) * 4;
    int64_t number;
    memcpy(&number, field, sizeof number);
    switch (r >> 40 & 3) {
    case 0:
        number = odd_number(r >> 42);
        break;
    case 1:
        number += (int64_t)(r >> 42 & 1 ? 4096 : -4096);
        break;
    case 2:
        field[0] ^= (uint8_t)(1u << (r >> 42 & 7));
        return;
    default: /* one layer's runs for another's */
        memcpy(input + starts[2] + 48 * (int64_t)(r >> 42 & 3), input + starts[2] + 48 * 4, 48);
        return;
    }
    memcpy(field, &number, r >> 50 & 1 ? 8 : 4);
}

void kvh_fuzz_segment_drive(uint64_t seed, int64_t n_inputs) {
    static uint8_t input[1 + 3 * BLOCK];
    for (int64_t i = 0; i < n_inputs; i++) {
        make_segment(input, random_next(&seed));
        if (i == 0) CHECK(kvh_fuzz_segment(input, sizeof input) == 0);
        const int n_changes = 1 + (int)(random_next(&seed) % 3);
        for (int change = 0; change < n_changes; change++) mutate_segment(input, &seed);
        input[0] = random_next(&seed) % 8 != 0;
        (void)kvh_fuzz_segment(input, sizeof input);
    }
}

/* ---- books: the target ----------------------------------------------------------------------- */

/* Room for one more line is behind the text. */
static int64_t seal_book(char *text, int64_t n_bytes) {
    return n_bytes + snprintf(text + n_bytes, 27, "checksum=%016" PRIx64 "\n",
                             (uint64_t)XXH3_64bits(text, (size_t)n_bytes));
}

/* What was read can be written, and says the same again. */
static void check_book(const kv_book *book) {
    char *text;
    int64_t n_bytes;
    kv_book again;
    CHECK(kv_book_check_name(book->name) == RT_OK && book->n_segments >= 0);
    CHECK(kv_book_format(book, &text, &n_bytes) == RT_OK);
    CHECK(kv_book_parse(text, n_bytes, &again) == RT_OK);
    CHECK(strcmp(book->name, again.name) == 0 && book->n_tokens == again.n_tokens);
    CHECK(book->n_segments == again.n_segments && book->created_s == again.created_s);
    CHECK(memcmp(book->chains, again.chains, (size_t)book->n_segments * 32) == 0);
    for (int32_t i = 0; i < book->n_segments; i++)
        for (int32_t j = 0; j < i; j++) CHECK(memcmp(book->chains[i], book->chains[j], 32) != 0);
    free(text);
    kv_book_free(&again);
}

int kvh_fuzz_book(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 1 || n_bytes > TEXT_MAX) return 0;
    const bool is_sealed = data[0] & 1;
    int64_t n = (int64_t)n_bytes - 1;
    char *work = malloc((size_t)n + 32);
    CHECK(work);
    memcpy(work, data + 1, (size_t)n);
    if (is_sealed) n = seal_book(work, n);
    kvh_guarded text = kvh_guard(n + 1);
    memcpy(text.bytes, work, (size_t)n);
    text.bytes[n] = 0;
    kv_book book;
    const rt_status status = kv_book_parse((const char *)text.bytes, n, &book);
    CHECK(status == RT_OK || status == RT_ECORRUPT);
    if (status == RT_OK) {
        check_book(&book);
        kv_book_free(&book);
    }
    kvh_unguard(&text);
    free(work);
    return 0;
}

/* ---- books: the driver ----------------------------------------------------------------------- */

/* A valid manifest without its checksum line. Now and then with impossible, consistent numbers, or the
 * same segment twice. */
static int64_t make_manifest(char *text, uint64_t r) {
    const int64_t n_segments = (int64_t)(r % 5);
    const int64_t n_said = r >> 8 & 7 ? n_segments : odd_number(r >> 12) & INT64_C(0xffffffffff);
    const int64_t step = r >> 32 & 7 ? 1 : 0; /* 0: the same segment again and again */
    int64_t n = snprintf(text, 512,
            "glm1m book 1\nname=book%" PRIu64 "\nfingerprint=%064d\ntokens=%" PRId64
            "\ncreated=1700000000\nsegments=%" PRId64 "\n",
            r >> 60, 7, n_said * KV_SEGMENT_TOKENS, n_said);
    for (int64_t i = 0; i < n_segments; i++)
        n += snprintf(
                text + n, 100, "segment=%064" PRIx64 "\n", (uint64_t)(i * step) + (r >> 20 & 0xff));
    if (r >> 16 & 1) n += snprintf(text + n, 100, "note=source=a b c\nnote=x\n");
    return n;
}

/* Bytes changed, lines doubled or lost, an end cut off. */
static int64_t mutate_text(char *text, int64_t n, uint64_t *state) {
    static const char bytes[] = "\n=0919af.-/\x00\x7f\xff ";
    const uint64_t r = random_next(state);
    if (n < 2) return n;
    const int64_t at = (int64_t)((r >> 8) % (uint64_t)n);
    const char *end = memchr(text + at, '\n', (size_t)(n - at));
    const int64_t n_line = end ? end + 1 - (text + at) : n - at;
    switch (r & 7) {
    case 0:
        memmove(text + at, text + at + n_line, (size_t)(n - at - n_line));
        return n - n_line;
    case 1:
        memmove(text + at + n_line, text + at, (size_t)(n - at));
        return n + n_line;
    case 2:
        return at;
    case 3:
        text[at] = (char)(text[at] ^ (1 << (r >> 40 & 7)));
        return n;
    default:
        text[at] = bytes[(r >> 40) % (sizeof bytes - 1)];
        return n;
    }
}

void kvh_fuzz_book_drive(uint64_t seed, int64_t n_inputs) {
    static char input[1 << 14];
    for (int64_t i = 0; i < n_inputs; i++) {
        int64_t n = make_manifest(input + 1, random_next(&seed));
        const int n_changes = (int)(random_next(&seed) % 4);
        for (int change = 0; change < n_changes; change++) n = mutate_text(input + 1, n, &seed);
        input[0] = random_next(&seed) % 8 != 0;
        (void)kvh_fuzz_book((const uint8_t *)input, (size_t)n + 1);
    }
}

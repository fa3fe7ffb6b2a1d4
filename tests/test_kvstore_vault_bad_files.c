/* A bad segment file is a miss: it is quarantined, or left alone where it is not ours, and nothing of
 * it is ever used.
 *
 * Method: a good file is changed in one named way, its checksums made right again where the case is about
 * what lies behind them; then a vault is opened over it and asked for its tokens. Every bit of header,
 * index, ids and footer is flipped, a million bits of the runs, and every pair of runs swapped. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "help_kv_vault.h"

enum { N = 300, BLOCK = 4096, RUNS = KVH_LAYERS * KVH_HEADS };

typedef enum fate {
    QUARANTINED,
    LEFT,  /* not ours, or of no use: still under its name */
    FOUND, /* as good as it was */
} fate;

typedef enum part { HEADER, IDS, RUN, INDEX, FOOTER } part;
typedef enum edit { SET, ADD } edit;
typedef enum seal { AS_IT_IS, SEALED } seal;

typedef struct field_case {
    const char *name;
    part part;
    int offset, width;
    edit edit;
    int64_t value;
    seal seal;
    fate fate;
} field_case;

static const field_case field_cases[] = {
        {"header checksum + 1", HEADER, 0, 8, ADD, 1, AS_IT_IS, QUARANTINED},
        {"header checksum 0", HEADER, 0, 8, SET, 0, AS_IT_IS, QUARANTINED},
        {"magic 0", HEADER, 8, 4, SET, 0, SEALED, QUARANTINED},
        {"magic of a run", HEADER, 8, 4, SET, 0x3152564b, SEALED, QUARANTINED},
        {"magic, unsealed", HEADER, 8, 4, ADD, 1, AS_IT_IS, QUARANTINED},
        {"version 0", HEADER, 12, 2, SET, 0, SEALED, QUARANTINED},
        {"version 2", HEADER, 12, 2, SET, 2, SEALED, LEFT},
        {"version 65535", HEADER, 12, 2, SET, 65535, SEALED, LEFT},
        {"version 2, unsealed", HEADER, 12, 2, SET, 2, AS_IT_IS, QUARANTINED},
        {"the other byte order", HEADER, 14, 2, SET, 0x0201, SEALED, QUARANTINED},
        {"byte order 0", HEADER, 14, 2, SET, 0, SEALED, QUARANTINED},
        {"another fingerprint", HEADER, 16, 8, ADD, 1, SEALED, LEFT},
        {"another fingerprint, last byte", HEADER, 47, 1, ADD, 1, SEALED, LEFT},
        {"fingerprint, unsealed", HEADER, 20, 8, ADD, 1, AS_IT_IS, QUARANTINED},
        {"another parent", HEADER, 48, 8, ADD, 1, SEALED, LEFT},
        {"parent zero", HEADER, 48, 8, SET, 0, SEALED, LEFT},
        {"another chain", HEADER, 80, 8, ADD, 1, SEALED, QUARANTINED},
        {"another chain, last byte", HEADER, 111, 1, ADD, 1, SEALED, QUARANTINED},
        {"first position -1", HEADER, 112, 8, SET, -1, SEALED, QUARANTINED},
        {"first position -4096", HEADER, 112, 8, SET, -4096, SEALED, QUARANTINED},
        {"first position 1", HEADER, 112, 8, SET, 1, SEALED, QUARANTINED},
        {"first position 4096", HEADER, 112, 8, SET, 4096, SEALED, LEFT},
        {"first position 2^62", HEADER, 112, 8, SET, INT64_C(1) << 62, SEALED, LEFT},
        {"first position, the largest", HEADER, 112, 8, SET, INT64_MAX, SEALED, QUARANTINED},
        {"first position, the largest multiple", HEADER, 112, 8, SET, INT64_MAX - 4095, SEALED,
                QUARANTINED},
        {"0 tokens", HEADER, 120, 4, SET, 0, SEALED, QUARANTINED},
        {"-1 tokens", HEADER, 120, 4, SET, -1, SEALED, QUARANTINED},
        {"one token less", HEADER, 120, 4, ADD, -1, SEALED, QUARANTINED},
        {"one token more", HEADER, 120, 4, ADD, 1, SEALED, QUARANTINED},
        {"4096 tokens", HEADER, 120, 4, SET, 4096, SEALED, QUARANTINED},
        {"4097 tokens", HEADER, 120, 4, SET, 4097, SEALED, QUARANTINED},
        {"2^31 - 1 tokens", HEADER, 120, 4, SET, INT32_MAX, SEALED, QUARANTINED},
        {"dtype f16", HEADER, 124, 4, SET, RT_F16, SEALED, LEFT},
        {"dtype f32", HEADER, 124, 4, SET, RT_F32, SEALED, LEFT},
        {"dtype -1", HEADER, 124, 4, SET, -1, SEALED, QUARANTINED},
        {"dtype of the future", HEADER, 124, 4, SET, 1000, SEALED, LEFT},
        {"0 layers", HEADER, 128, 4, SET, 0, SEALED, QUARANTINED},
        {"1 layer", HEADER, 128, 4, SET, 1, SEALED, LEFT},
        {"4096 layers", HEADER, 128, 4, SET, 4096, SEALED, QUARANTINED},
        {"2^31 - 1 layers", HEADER, 128, 4, SET, INT32_MAX, SEALED, QUARANTINED},
        {"-2 layers", HEADER, 128, 4, SET, -2, SEALED, QUARANTINED},
        {"0 KV heads", HEADER, 132, 4, SET, 0, SEALED, QUARANTINED},
        {"1 KV head", HEADER, 132, 4, SET, 1, SEALED, LEFT},
        {"65536 KV heads", HEADER, 132, 4, SET, 65536, SEALED, QUARANTINED},
        {"-1 KV heads", HEADER, 132, 4, SET, -1, SEALED, QUARANTINED},
        {"head_dim 0", HEADER, 136, 4, SET, 0, SEALED, QUARANTINED},
        {"head_dim 7", HEADER, 136, 4, SET, 7, SEALED, LEFT},
        {"head_dim 257", HEADER, 136, 4, SET, 257, SEALED, QUARANTINED},
        {"head_dim -8", HEADER, 136, 4, SET, -8, SEALED, QUARANTINED},
        {"segments of 8192", HEADER, 140, 4, SET, 8192, SEALED, QUARANTINED},
        {"tiles of 128", HEADER, 144, 4, SET, 128, SEALED, QUARANTINED},
        {"runs at multiples of 512", HEADER, 148, 4, SET, 512, SEALED, QUARANTINED},
        {"the last 2 of 4 KV heads", HEADER, 160, 8, SET, 2 | INT64_C(4) << 32, SEALED, LEFT},
        {"of 4 KV heads 2 from the last on", HEADER, 160, 8, SET, 3 | INT64_C(4) << 32, SEALED,
                QUARANTINED},
        {"no zero in the header", HEADER, 160, 1, SET, 1, SEALED, QUARANTINED},
        {"no zero at the header's end", HEADER, 4095, 1, SET, 1, SEALED, QUARANTINED},
        {"another first id", IDS, 0, 4, ADD, 1, AS_IT_IS, LEFT},
        {"another 17th id", IDS, 64, 4, ADD, 1, AS_IT_IS, QUARANTINED},
        {"another last id", IDS, 4 * (N - 1), 4, ADD, 1, AS_IT_IS, QUARANTINED},
        {"an id after the last", IDS, 4 * N, 4, SET, 1, AS_IT_IS, QUARANTINED},
        {"no zero after the ids", IDS, 4095, 1, SET, 1, AS_IT_IS, QUARANTINED},
        {"a run's checksum", RUN, 0, 8, ADD, 1, AS_IT_IS, QUARANTINED},
        {"a run's magic", RUN, 8, 4, ADD, 1, AS_IT_IS, QUARANTINED},
        {"a run's stored size 0", RUN, 32, 8, SET, 0, AS_IT_IS, QUARANTINED},
        {"a run's stored size 2^40", RUN, 32, 8, SET, INT64_C(1) << 40, AS_IT_IS, QUARANTINED},
        {"a tile's codec", RUN, 68, 4, SET, 99, AS_IT_IS, QUARANTINED},
        {"a run's payload", RUN, 200, 1, ADD, 1, AS_IT_IS, QUARANTINED},
        {"a run's offset - 4096", INDEX, 0, 8, ADD, -4096, SEALED, QUARANTINED},
        {"a run's offset + 4096", INDEX, 0, 8, ADD, 4096, SEALED, QUARANTINED},
        {"a run's offset + 1", INDEX, 0, 8, ADD, 1, SEALED, QUARANTINED},
        {"a run's offset 0", INDEX, 0, 8, SET, 0, SEALED, QUARANTINED},
        {"a run's offset -4096", INDEX, 0, 8, SET, -4096, SEALED, QUARANTINED},
        {"a run's offset 2^62", INDEX, 0, 8, SET, INT64_C(1) << 62, SEALED, QUARANTINED},
        {"a run's offset, the largest", INDEX, 0, 8, SET, INT64_MAX, SEALED, QUARANTINED},
        {"a run's bytes 0", INDEX, 8, 8, SET, 0, SEALED, QUARANTINED},
        {"a run's bytes 1", INDEX, 8, 8, SET, 1, SEALED, QUARANTINED},
        {"a run's bytes - 4096", INDEX, 8, 8, ADD, -4096, SEALED, QUARANTINED},
        {"a run's bytes + 4096", INDEX, 8, 8, ADD, 4096, SEALED, QUARANTINED},
        {"a run's bytes > the file", INDEX, 8, 8, SET, 1 << 30, SEALED, QUARANTINED},
        {"a run's bytes 2^40", INDEX, 8, 8, SET, INT64_C(1) << 40, SEALED, QUARANTINED},
        {"a run's bytes -4096", INDEX, 8, 8, SET, -4096, SEALED, QUARANTINED},
        {"the last run's bytes + 4096", INDEX, 16 * (RUNS - 1) + 8, 8, ADD, 4096, SEALED,
                QUARANTINED},
        {"no zero after the index", INDEX, 16 * RUNS, 1, SET, 1, SEALED, QUARANTINED},
        {"the index, unsealed", INDEX, 0, 8, ADD, 4096, AS_IT_IS, QUARANTINED},
        {"footer checksum + 1", FOOTER, 0, 8, ADD, 1, AS_IT_IS, QUARANTINED},
        {"no commit magic", FOOTER, 8, 4, SET, 0, SEALED, QUARANTINED},
        {"suspended, under a segment's name", FOOTER, 8, 4, SET, 0x5053564b, SEALED, LEFT},
        {"footer version 0", FOOTER, 12, 4, SET, 0, SEALED, QUARANTINED},
        {"footer version 2", FOOTER, 12, 4, SET, 2, SEALED, LEFT},
        {"index offset - 4096", FOOTER, 16, 8, ADD, -4096, SEALED, QUARANTINED},
        {"index offset + 4096", FOOTER, 16, 8, ADD, 4096, SEALED, QUARANTINED},
        {"index offset 0", FOOTER, 16, 8, SET, 0, SEALED, QUARANTINED},
        {"index offset -1", FOOTER, 16, 8, SET, -1, SEALED, QUARANTINED},
        {"index offset, the largest", FOOTER, 16, 8, SET, INT64_MAX, SEALED, QUARANTINED},
        {"file bytes + 1", FOOTER, 24, 8, ADD, 1, SEALED, QUARANTINED},
        {"file bytes 0", FOOTER, 24, 8, SET, 0, SEALED, QUARANTINED},
        {"file bytes 2^62", FOOTER, 24, 8, SET, INT64_C(1) << 62, SEALED, QUARANTINED},
        {"index checksum + 1", FOOTER, 32, 8, ADD, 1, SEALED, QUARANTINED},
        {"another header's checksum", FOOTER, 40, 8, ADD, 1, SEALED, QUARANTINED},
        {"another chain in the footer", FOOTER, 48, 8, ADD, 1, SEALED, QUARANTINED},
        {"no zero in the footer", FOOTER, 80, 1, SET, 1, SEALED, QUARANTINED},
        {"no zero at the footer's end", FOOTER, 4095, 1, SET, 1, SEALED, QUARANTINED},
};

/* The good file, and where it lies. */
static kvh_vault vault;
static int32_t *ids;
static char path[4096], folder[4096];
static uint8_t *good, *bad;
static int64_t n_good;
static int n_cases;

/* ---- files ----------------------------------------------------------------------------------- */

static uint8_t *read_file(const char *from, int64_t *n) {
    struct stat st;
    const int fd = open(from, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    CHECK(bytes && read(fd, bytes, (size_t)st.st_size) == st.st_size && close(fd) == 0);
    *n = st.st_size;
    return bytes;
}

static void write_file(const char *to, const uint8_t *bytes, int64_t n) {
    const int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, (size_t)n) == n && close(fd) == 0);
}

static void remove_all(void) {
    char command[4200];
    (void)snprintf(command, sizeof command, "rm -rf %s/*", folder);
    CHECK(system(command) == 0);
}

/* ---- one case -------------------------------------------------------------------------------- */

static int64_t offset_of(part p) {
    const int64_t offsets[] = {0, BLOCK, 2 * BLOCK, n_good - 2 * BLOCK, n_good - BLOCK};
    return offsets[p];
}

static void put_hash(uint8_t *to, const uint8_t *bytes, size_t n) {
    const uint64_t hash = XXH3_64bits(bytes, n);
    memcpy(to, &hash, sizeof hash);
}

/* Every checksum of header, index and footer right again, unless the case is about that one. */
static void seal_again(const field_case *c) {
    uint8_t *index = bad + offset_of(INDEX), *footer = bad + offset_of(FOOTER);
    if (c->part == HEADER) {
        put_hash(bad, bad + 8, BLOCK - 8);
        memcpy(footer + 40, bad, 8);
    }
    if (c->part == INDEX) put_hash(footer + 32, index, BLOCK);
    put_hash(footer, footer + 8, BLOCK - 8);
}

static void expect(const char *name, fate expected) {
    char reason[KV_REASON_BYTES];
    kvh_vault_open(&vault, NULL);
    const int64_t n_found = kvh_find(&vault, ids, N, reason);
    const int64_t n_quarantined = kv_vault_stats_of(vault.vault).n_quarantined;
    const fate is = n_found == N ? FOUND : n_quarantined ? QUARANTINED : LEFT;
    if (is != expected || (n_found != 0 && n_found != N))
        (void)fprintf(
                stderr, "%s: found %lld, fate %d: %s\n", name, (long long)n_found, is, reason);
    CHECK(n_found == (expected == FOUND ? N : 0) && is == expected);
    if (expected == QUARANTINED) {
        CHECK(access(path, F_OK) != 0 && *kv_vault_stats_of(vault.vault).last_bad);
        CHECK(kvh_count_files(vault.dirs[0], ".bad") == 1);
    }
    CHECK(kvh_find(&vault, ids, N, NULL) == n_found);
    kvh_vault_close(&vault);
    n_cases++;
    remove_all();
}

static void run_field_case(const field_case *c) {
    memcpy(bad, good, (size_t)n_good);
    uint8_t *at = bad + offset_of(c->part) + c->offset;
    int64_t value = 0;
    if (c->edit == ADD) memcpy(&value, at, (size_t)c->width);
    value = (int64_t)((uint64_t)value + (uint64_t)c->value);
    memcpy(at, &value, (size_t)c->width);
    if (c->seal == SEALED) seal_again(c);
    write_file(path, bad, n_good);
    expect(c->name, c->fate);
}

/* ---- whole files ----------------------------------------------------------------------------- */

static void check_sizes(void) {
    const int64_t sizes[] = {0, 1, BLOCK - 1, BLOCK, 2 * BLOCK, 3 * BLOCK, n_good / 2,
            n_good - BLOCK, n_good - 1, n_good + 1, n_good + BLOCK, 2 * n_good};
    uint8_t *bytes = calloc(2, (size_t)n_good);
    CHECK(bytes);
    memcpy(bytes, good, (size_t)n_good);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[60];
        (void)snprintf(
                name, sizeof name, "%lld bytes of %lld", (long long)sizes[i], (long long)n_good);
        write_file(path, bytes, sizes[i]);
        expect(name, QUARANTINED);
    }
    memcpy(bytes + n_good, good, (size_t)n_good);
    write_file(path, bytes, 2 * n_good);
    expect("twice in one file", QUARANTINED);
    write_file(path, bytes + BLOCK, n_good);
    expect("one block on", QUARANTINED);
    memset(bytes, 0, (size_t)n_good);
    write_file(path, bytes, n_good);
    expect("zeros", QUARANTINED);
    free(bytes);
}

static void punch(int64_t from, int64_t to, const char *name, fate expected) {
    memcpy(bad, good, (size_t)n_good);
    memset(bad + from, 0, (size_t)(to - from));
    write_file(path, bad, n_good);
    expect(name, expected);
}

static void check_holes(void) {
    punch(0, BLOCK, "a hole for the header", QUARANTINED);
    punch(BLOCK, 2 * BLOCK, "a hole for the ids", LEFT);
    punch(2 * BLOCK, 3 * BLOCK, "a hole for a run", QUARANTINED);
    punch(n_good - 2 * BLOCK, n_good - BLOCK, "a hole for the index", QUARANTINED);
    punch(n_good - BLOCK, n_good, "a hole for the footer", QUARANTINED);
    CHECK(truncate(path, 0) != 0); /* nothing there */
    write_file(path, good, BLOCK);
    CHECK(truncate(path, n_good) == 0);
    expect("nothing but a header", QUARANTINED);
}

static void check_kinds(void) {
    char other[5000];
    (void)snprintf(other, sizeof other, "%s/elsewhere", vault.dirs[0]);
    write_file(other, good, n_good);
    CHECK(symlink(other, path) == 0);
    expect("a symbolic link to a good one", LEFT);
    CHECK(symlink("nowhere", path) == 0);
    expect("a symbolic link to nothing", LEFT);
    CHECK(symlink(path, path) == 0);
    expect("a symbolic link to itself", LEFT);
    CHECK(symlink("/dev/zero", path) == 0);
    expect("a symbolic link to a device", LEFT);
    CHECK(mkfifo(path, 0600) == 0);
    expect("a FIFO", LEFT);
    CHECK(mkdir(path, 0700) == 0);
    expect("a directory", LEFT);
    CHECK(link(other, path) == 0);
    expect("a good one, linked twice", FOUND);
    write_file(path, good, n_good);
    expect("the good one", FOUND);
    CHECK(unlink(other) == 0);
}

static void check_names(void) {
    char other[5000];
    (void)snprintf(other, sizeof other, "%s", path);
    char *hex = strrchr(other, '/') + 1;
    hex[0] = hex[0] == '0' ? '1' : '0';
    write_file(other, good, n_good);
    expect("a good one in the wrong folder", LEFT);
    (void)snprintf(other, sizeof other, "%s", path);
    hex[63] = hex[63] == '0' ? '1' : '0';
    write_file(other, good, n_good);
    kvh_vault_open(&vault, NULL);
    CHECK(kv_vault_stats_of(vault.vault).n_quarantined == 1);
    CHECK(kvh_find(&vault, ids, N, NULL) == 0);
    kvh_vault_close(&vault);
    remove_all();
    (void)snprintf(other, sizeof other, "%s", path);
    hex[10] = 'G';
    write_file(other, good, n_good);
    expect("a name that is no hash", LEFT);
    (void)snprintf(other, sizeof other, "%sx", path);
    write_file(other, good, n_good);
    expect("a name that goes on", LEFT);
    n_cases++;
}

/* Another segment, whole and good, under this name. */
static void check_swapped_segment(void) {
    kvh_vault other = kvh_vault_new(1);
    int32_t *other_ids = kvh_ids(2, N);
    int64_t n;
    kvh_vault_open(&other, NULL);
    CHECK(kvh_write_prefix(&other, other_ids, N, NULL) == 1);
    uint8_t *bytes = read_file(kvh_only_file(other.dirs[0], ".kvs"), &n);
    write_file(path, bytes, n);
    expect("another segment under this name", QUARANTINED);
    if (n == n_good) {
        memcpy(bad, good, (size_t)n_good);
        memcpy(bad + 2 * BLOCK, bytes + 2 * BLOCK, (size_t)n_good - 4 * BLOCK);
        write_file(path, bad, n_good);
        expect("the runs of another segment", QUARANTINED);
    }
    free(bytes);
    free(other_ids);
    kvh_vault_remove(&other);
}

/* Changed after the vault has looked at it. */
static void check_changes(void) {
    write_file(path, good, n_good);
    kvh_vault_open(&vault, NULL);
    const int fd = open(path, O_WRONLY | O_APPEND);
    CHECK(fd >= 0 && write(fd, good, BLOCK) == BLOCK && close(fd) == 0);
    CHECK(kvh_find(&vault, ids, N, NULL) == 0);
    CHECK(kv_vault_stats_of(vault.vault).n_quarantined == 1);
    remove_all();
    kvh_vault_close(&vault);
    write_file(path, good, n_good);
    kvh_vault_open(&vault, NULL);
    CHECK(unlink(path) == 0);
    CHECK(kvh_find(&vault, ids, N, NULL) == 0);
    CHECK(kv_vault_stats_of(vault.vault).n_quarantined == 0);
    kvh_vault_close(&vault);
    n_cases += 2;
}

/* Two runs of one size, each at the other's place. */
static void check_swapped_runs(void) {
    kv_run_place places[RUNS];
    memcpy(places, good + offset_of(INDEX), sizeof places);
    for (int a = 0; a < RUNS; a++)
        for (int b = 0; b < a; b++) {
            if (places[a].n_bytes != places[b].n_bytes) continue;
            memcpy(bad, good, (size_t)n_good);
            memcpy(bad + places[a].offset, good + places[b].offset, (size_t)places[a].n_bytes);
            memcpy(bad + places[b].offset, good + places[a].offset, (size_t)places[b].n_bytes);
            write_file(path, bad, n_good);
            expect("two runs swapped", QUARANTINED);
        }
}

/* ---- bits ------------------------------------------------------------------------------------ */

/* Header, index and footer, as the vault reads them. */
static rt_status read_ends(const uint8_t *file) {
    kv_segment_header header;
    kv_segment_footer footer;
    kv_run_place places[RUNS];
    uint64_t checksum;
    RT_TRY(kv_segment_read_header(file, &header, &checksum));
    RT_TRY(kv_segment_read_footer(file + offset_of(FOOTER), &header, checksum, n_good, &footer));
    return kv_segment_read_index(file + offset_of(INDEX), &header, &footer, places);
}

static void check_every_bit(part p) {
    memcpy(bad, good, (size_t)n_good);
    CHECK(read_ends(bad) == RT_OK);
    for (int64_t bit = offset_of(p) * 8; bit < (offset_of(p) + BLOCK) * 8; bit++) {
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(read_ends(bad) == RT_ECORRUPT);
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* A few of the bits through the whole vault; of the ids as well. */
static void check_bits_in_files(int n) {
    uint64_t seed = 5;
    const part parts[] = {HEADER, IDS, INDEX, FOOTER};
    for (int i = 0; i < n; i++) {
        memcpy(bad, good, (size_t)n_good);
        const uint64_t r = random_next(&seed);
        const part p = parts[i % 4];
        const int64_t from =
                p == IDS ? 64 : 0; /* the first ids also tell which file is looked at */
        const int64_t at = offset_of(p) + from + (int64_t)(r >> 8) % (BLOCK - from);
        bad[at < 0 ? -at : at] ^= (uint8_t)(1u << r % 8);
        write_file(path, bad, n_good);
        expect("a bit", QUARANTINED);
        n_cases--;
    }
}

/* Bits of the runs, decoded in place. */
static void check_payload_bits(int64_t n) {
    kv_codec *codec;
    kv_segment_header header;
    uint64_t checksum, seed = 7;
    kv_run_place places[RUNS];
    uint8_t raw[4 * N * KVH_HEAD_DIM];
    CHECK(kv_codec_create(rt_machine_isa(), &codec) == RT_OK);
    CHECK(kv_segment_read_header(good, &header, &checksum) == RT_OK);
    memcpy(places, good + offset_of(INDEX), sizeof places);
    memcpy(bad, good, (size_t)n_good);
    const kv_run_shape shape = {RT_BF16, KVH_HEAD_DIM, N};
    CHECK(kv_run_raw_bytes(&shape) == (int64_t)sizeof raw);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t r = random_next(&seed);
        const int run = (int)(r % RUNS);
        const uint64_t bit = (r >> 8) % (uint64_t)(places[run].n_bytes * 8);
        uint8_t *stored = bad + places[run].offset;
        kv_run_address address = {.layer = run / KVH_HEADS, .kv_head = run % KVH_HEADS};
        memcpy(address.chain, header.chain.bytes, sizeof address.chain);
        stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(kv_run_decode(codec, &address, &shape, stored, places[run].n_bytes, raw) ==
                RT_ECORRUPT);
        stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (i % 65536 == 0)
            CHECK(kv_run_decode(codec, &address, &shape, stored, places[run].n_bytes, raw) ==
                    RT_OK);
    }
    kv_codec_free(codec);
}

/* Numbers of heads whose difference no int32_t holds: UBSan tells. */
static void check_heads(void) {
    CHECK(kv_heads_are_valid(&(kv_heads){.first = 2, .all = 4}, 2));
    CHECK(!kv_heads_are_valid(&(kv_heads){.first = 2, .all = 4}, 0));
    CHECK(!kv_heads_are_valid(&(kv_heads){.first = 2, .all = 4}, INT32_MIN));
    CHECK(!kv_heads_are_valid(&(kv_heads){.first = 2, .all = INT32_MIN}, INT32_MIN));
}

/* ---------------------------------------------------------------------------------------------- */

static void make_good(void) {
    vault = kvh_vault_new(1);
    ids = kvh_ids(1, N);
    kvh_vault_open(&vault, NULL);
    CHECK(kvh_write_prefix(&vault, ids, N, NULL) == 1);
    kvh_vault_close(&vault);
    (void)snprintf(path, sizeof path, "%s", kvh_only_file(vault.dirs[0], ".kvs"));
    (void)snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    good = read_file(path, &n_good);
    bad = malloc((size_t)n_good);
    CHECK(bad && n_good % BLOCK == 0);
}

int main(void) {
    const bool is_fast = getenv("GLM_TEST_FAST");
    make_good();
    expect("the good one", FOUND);
    check_heads();
    for (size_t i = 0; i < sizeof field_cases / sizeof *field_cases; i++)
        run_field_case(&field_cases[i]);
    check_sizes();
    check_holes();
    check_kinds();
    check_names();
    check_swapped_segment();
    check_changes();
    check_swapped_runs();
    (void)printf("%d named cases\n", n_cases);
    CHECK(n_cases >= 120);
    check_every_bit(HEADER);
    check_every_bit(INDEX);
    check_every_bit(FOOTER);
    check_bits_in_files(is_fast ? 40 : 400);
    check_payload_bits(is_fast ? 50000 : 1000000);
    free(good);
    free(bad);
    free(ids);
    kvh_vault_remove(&vault);
    return 0;
}

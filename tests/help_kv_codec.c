#include "help_kv_codec.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attention/attn_fp8.h"

/* ---- values ---------------------------------------------------------------------------------- */

/* Roughly normal: the sum of four uniform numbers. */
static float bell(uint64_t *state) {
    const uint64_t r = random_next(state);
    float sum = -2;
    for (int i = 0; i < 4; i++) sum += (float)(r >> (16 * i) & 0xffff) * 0x1p-16f;
    return sum * 1.7f;
}

static uint32_t value_bits(kvh_values kind, int64_t channel, uint64_t *state) {
    const uint64_t r = random_next(state);
    switch (kind) {
    case KVH_LIKE_KV:
        if (r % 512 == 0) return 0;
        return rt_float_bits(bell(state) * (float)(1 + channel * 37 % 11) * 0.25f);
    case KVH_NOISE:
        return (uint32_t)r;
    case KVH_ESCAPES:
        return (uint32_t)(r % 2 ? 200 : r % 7) << 23 | (uint32_t)(r >> 41);
    case KVH_FEW:
        return rt_float_bits((float)(r % 5) - 2);
    case KVH_ZEROS:
    case KVH_N_VALUES:
        break;
    }
    return 0;
}

/* Codes of e4m3, where they stand for numbers; scales as well. */
static void fill_codes(
        kvh_values kind, const kv_run_shape *shape, uint64_t *state, uint8_t *codes) {
    for (int64_t i = 0; i < kv_run_raw_bytes(shape); i++) {
        const uint32_t bits = value_bits(kind, i / KV_SEALED_TOKENS % shape->head_dim, state);
        codes[i] = kind == KVH_LIKE_KV ? attn_fp8_code(48.0f * rt_bits_float(bits))
                                       : (uint8_t)(bits >> 20);
    }
}

void kvh_fill(kvh_values kind, const kv_run_shape *shape, uint64_t seed, void *raw) {
    const int64_t n = (int64_t)2 * shape->n_tokens * shape->head_dim;
    uint64_t state = seed * 31 + (uint64_t)kind;
    if (kv_dtype_is_sealed(shape->dtype)) {
        fill_codes(kind, shape, &state, raw);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = value_bits(kind, i % shape->head_dim, &state);
        if (shape->dtype == RT_F32)
            ((uint32_t *)raw)[i] = bits;
        else
            ((uint16_t *)raw)[i] = (uint16_t)(bits >> 16);
    }
}

kv_run_address kvh_address(int32_t which) {
    kv_run_address address = {
            .generation = 7, .first_pos = (int64_t)which * KV_RUN_TOKENS, .layer = 5, .kv_head = 2};
    for (int i = 0; i < 32; i++) address.chain[i] = (uint8_t)(i * 11 + 1);
    return address;
}

/* ---- guarded memory -------------------------------------------------------------------------- */

static int64_t whole_pages(int64_t n_bytes) {
    const int64_t page = sysconf(_SC_PAGESIZE);
    return (n_bytes + page - 1) / page * page;
}

kvh_guarded kvh_guard(int64_t n_bytes) {
    const size_t room = (size_t)whole_pages(n_bytes);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *base =
            mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED && mprotect(base + room, page, PROT_NONE) == 0);
    return (kvh_guarded){.bytes = base + room - n_bytes, .n_bytes = n_bytes};
}

void kvh_unguard(kvh_guarded *guarded) {
    const size_t room = (size_t)whole_pages(guarded->n_bytes);
    uint8_t *base = guarded->bytes + guarded->n_bytes - room;
    CHECK(munmap(base, room + (size_t)sysconf(_SC_PAGESIZE)) == 0);
    *guarded = (kvh_guarded){0};
}

/* ---- flips ----------------------------------------------------------------------------------- */

/* One run, raw and stored. */
typedef struct sample {
    kv_run_shape shape;
    kv_run_address address;
    kvh_guarded raw, stored, back;
    kvh_guarded work; /* as large as stored */
} sample;

static sample make_sample(kv_codec *codec, kv_run_shape shape, kvh_values kind, uint64_t seed) {
    sample s = {.shape = shape, .address = kvh_address(1)};
    const int64_t raw_bytes = kv_run_raw_bytes(&shape);
    void *stored = malloc((size_t)kv_run_stored_bytes_max(&shape));
    CHECK(stored);
    s.raw = kvh_guard(raw_bytes);
    s.back = kvh_guard(raw_bytes);
    kvh_fill(kind, &shape, seed, s.raw.bytes);
    s.stored = kvh_guard(kv_run_encode(codec, &s.address, &shape, s.raw.bytes, stored));
    memcpy(s.stored.bytes, stored, (size_t)s.stored.n_bytes);
    free(stored);
    s.work = kvh_guard(s.stored.n_bytes);
    return s;
}

static void free_sample(sample *s) {
    kvh_unguard(&s->raw);
    kvh_unguard(&s->stored);
    kvh_unguard(&s->back);
    kvh_unguard(&s->work);
}

static rt_status decode(kv_codec *codec, const sample *s) {
    return kv_run_decode(
            codec, &s->address, &s->shape, s->stored.bytes, s->stored.n_bytes, s->back.bytes);
}

int64_t kvh_undetected_flips(kv_codec *codec, int64_t n_flips, uint64_t seed) {
    sample s = make_sample(codec, (kv_run_shape){RT_BF16, 16, 40}, KVH_LIKE_KV, seed);
    int64_t n_missed = 0;
    for (int64_t i = 0; i < n_flips; i++) {
        const uint64_t bit = random_next(&seed) % (uint64_t)(s.stored.n_bytes * 8);
        s.stored.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const rt_status status = decode(codec, &s);
        n_missed += status != RT_ECORRUPT;
        s.stored.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(decode(codec, &s) == RT_OK);
    CHECK(memcmp(s.raw.bytes, s.back.bytes, (size_t)s.raw.n_bytes) == 0);
    free_sample(&s);
    return n_missed;
}

/* ---- fuzzing --------------------------------------------------------------------------------- */

enum { FUZZ_SHAPES = 5, FUZZ_INPUT_MAX = 1 << 16 };

static const kv_run_shape fuzz_shapes[FUZZ_SHAPES] = {{RT_BF16, 16, 300}, {RT_F32, 8, 257},
        {RT_BF16, 1, 1}, {RT_BF16, 128, 33}, {RT_FP8, 16, 300}};

static kv_codec *fuzz_codec(void) {
    static kv_codec *codec;
    if (!codec) CHECK(kv_codec_create(rt_machine_isa(), &codec) == RT_OK);
    return codec;
}

/* `stored` is decoded into `back` as it is or, where `is_sealed`, with a right checksum. */
static void decode_any(const kv_run_shape *shape, uint8_t *stored, int64_t stored_bytes,
        bool is_sealed, kvh_guarded back) {
    const kv_run_address address = kvh_address(1);
    CHECK(back.n_bytes == kv_run_raw_bytes(shape));
    if (is_sealed && stored_bytes >= KV_STORED_ALIGN)
        kv_run_seal(fuzz_codec(), &address, stored, stored_bytes);
    const rt_status status =
            kv_run_decode(fuzz_codec(), &address, shape, stored, stored_bytes, back.bytes);
    CHECK(status == RT_OK || status == RT_ECORRUPT);
}

int kvh_fuzz_one(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 1 || n_bytes > FUZZ_INPUT_MAX) return 0;
    const kv_run_shape *shape = &fuzz_shapes[data[0] % FUZZ_SHAPES];
    const int64_t n_stored = (int64_t)(n_bytes - 1);
    const int64_t n_padded = (n_stored + KV_STORED_ALIGN - 1) / KV_STORED_ALIGN * KV_STORED_ALIGN;
    kvh_guarded stored = kvh_guard(n_padded + KV_STORED_ALIGN);
    uint8_t *start = stored.bytes + KV_STORED_ALIGN;
    memset(start, 0, (size_t)n_padded);
    memcpy(start, data + 1, (size_t)n_stored);
    kvh_guarded back = kvh_guard(kv_run_raw_bytes(shape));
    decode_any(shape, start, n_padded, data[0] & 0x80, back);
    kvh_unguard(&back);
    kvh_unguard(&stored);
    return 0;
}

/* Numbers that decoders get wrong. */
static uint32_t odd_number(uint64_t *state) {
    static const uint32_t numbers[] = {0, 1, 2, 15, 16, 255, 256, 257, 4095, 4096, 4097, 0x7fff,
            0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
    const uint64_t r = random_next(state);
    return numbers[r % (sizeof numbers / sizeof *numbers)] + (uint32_t)(r >> 32) % 3 - 1;
}

/* Change a few places: more often in the header, the table and the first tile's own header. */
static void mutate(uint8_t *bytes, int64_t n_bytes, uint64_t *state) {
    const int64_t n_changes = 1 + (int64_t)(random_next(state) % 4);
    for (int64_t i = 0; i < n_changes; i++) {
        const uint64_t r = random_next(state);
        const int64_t span = r % 4 == 0 ? n_bytes : r % 4 == 1 ? 64 : 400;
        const int64_t at = (int64_t)((r >> 8) % (uint64_t)(span < n_bytes ? span : n_bytes));
        const uint32_t number = odd_number(state);
        if ((r >> 2) % 2)
            bytes[at] ^= (uint8_t)(1u << (r >> 3) % 8);
        else
            memcpy(bytes + at / 4 * 4, &number, sizeof number);
    }
}

void kvh_fuzz_drive(uint64_t seed, int64_t n_inputs) {
    sample samples[FUZZ_SHAPES][KVH_N_VALUES];
    for (int s = 0; s < FUZZ_SHAPES; s++)
        for (int kind = 0; kind < KVH_N_VALUES; kind++)
            samples[s][kind] =
                    make_sample(fuzz_codec(), fuzz_shapes[s], (kvh_values)kind, seed + 1);
    for (int64_t i = 0; i < n_inputs; i++) {
        const uint64_t r = random_next(&seed);
        const sample *from = &samples[r % FUZZ_SHAPES][(r >> 8) % KVH_N_VALUES];
        memcpy(from->work.bytes, from->stored.bytes, (size_t)from->stored.n_bytes);
        mutate(from->work.bytes, from->work.n_bytes, &seed);
        decode_any(
                &from->shape, from->work.bytes, from->work.n_bytes, (r >> 24) % 8 != 0, from->back);
    }
    for (int s = 0; s < FUZZ_SHAPES; s++)
        for (int kind = 0; kind < KVH_N_VALUES; kind++) free_sample(&samples[s][kind]);
}

int kvh_fuzz_main(
        int argc, char **argv, int64_t n_inputs, void (*drive)(uint64_t seed, int64_t n_inputs)) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    if (getenv("GLM_TEST_FAST")) n_inputs /= 20;
    (void)printf("seed %llu\n", (unsigned long long)seed);
    drive(seed, argc > 2 ? strtoll(argv[2], NULL, 10) : n_inputs);
    return 0;
}

int kvh_end_of(void (*work)(void)) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)!freopen("/dev/null", "w", stderr);
        work();
        _exit(0);
    }
    int how = 0;
    CHECK(waitpid(child, &how, 0) == child);
    return how;
}

bool kvh_survives(void (*work)(void)) {
    const int how = kvh_end_of(work);
    return WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

/* A run that is encoded in pieces, by several threads and in any order, has the bytes that it has encoded tile after tile.
 *
 * Method: all kinds of values in whole runs and short ones, every type, densely and plainly packed. The reference is the
 * layout as codec.c says it, written here from one end to the other by the tile codec. The same of kv_run_encode, and of
 * pieces that threads take in a shuffled order, each with its own codec, into memory that held something else. Under TSan,
 * which values they are decides nothing that is shared: a shape has one kind of them, and all kinds have their turn. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "help_kv_codec.h"
#include "kvstore/codec_tile.h"
#include "runtime/base/machine.h"

enum {
    THREADS = 3,
    HEADER_BYTES = 64,
    TILE_ALIGN = 64,
    PIECES_MAX = KV_RUN_TOKENS / KV_TILE_TOKENS
};

#if defined(__SANITIZE_THREAD__)
enum { KIND_STEP = KVH_N_VALUES };
#else
enum { KIND_STEP = 1 };
#endif

static kv_codec *codecs[THREADS];
static kv_tile_codec *tiles;

/* ---- from one end to the other --------------------------------------------------------------- */

static int64_t write_tile(const kv_run_shape *shape, int32_t n_rows, const uint8_t *raw,
        uint8_t *to, int64_t *raw_bytes, kv_tile_kind *kind) {
    const bool is_sealed = kv_dtype_is_sealed(shape->dtype);
    *raw_bytes = is_sealed ? kv_sealed_page_bytes(shape->dtype, shape->head_dim)
                           : (int64_t)n_rows * shape->head_dim * rt_dtype_bytes(shape->dtype);
    return is_sealed ? kv_page_encode(tiles, shape->dtype == RT_FP8, raw, *raw_bytes, to, kind)
                     : kv_tile_encode(tiles, shape->dtype, n_rows, shape->head_dim, raw, to, kind);
}

/* What is in the header but for the checksum is not tiles' business: it is taken from `like`. */
static int64_t write_plainly(const kv_run_address *address, const kv_run_shape *shape,
        const uint8_t *raw, const uint8_t *like, uint8_t *to) {
    const bool is_sealed = kv_dtype_is_sealed(shape->dtype);
    const int32_t tokens = is_sealed ? KV_SEALED_TOKENS : KV_TILE_TOKENS;
    const int32_t n = (int32_t)rt_div_up(shape->n_tokens, tokens), n_tiles = is_sealed ? n : 2 * n;
    int64_t at = rt_round_up(HEADER_BYTES + 8 * (int64_t)n_tiles, TILE_ALIGN);
    memset(to, 0, (size_t)kv_run_stored_bytes_max(shape));
    memcpy(to, like, HEADER_BYTES);
    for (int32_t i = 0; i < n_tiles; i++) {
        const int32_t n_rows = (int32_t)rt_min64(shape->n_tokens - i % n * tokens, tokens);
        int64_t raw_bytes = 0;
        kv_tile_kind kind = KV_TILE_RAW;
        const int64_t n_bytes = write_tile(shape, n_rows, raw, to + at, &raw_bytes, &kind);
        const uint32_t entry[2] = {(uint32_t)n_bytes, kind};
        memcpy(to + HEADER_BYTES + (size_t)i * sizeof entry, entry, sizeof entry);
        memset(to + at + n_bytes, 0, (size_t)(raw_bytes - n_bytes)); /* zstd has been there */
        raw += raw_bytes;
        at = rt_round_up(at + n_bytes, TILE_ALIGN);
    }
    at = rt_round_up(at, KV_STORED_ALIGN);
    kv_run_seal(codecs[0], address, to, at);
    return at;
}

/* ---- in pieces ------------------------------------------------------------------------------- */

typedef struct work {
    const kv_run_shape *shape;
    const uint8_t *raw;
    uint8_t *stored;
    int32_t order[PIECES_MAX];
    int32_t n_pieces;
    atomic_int next, next_thread, n_left;
    int64_t n_bytes;
} work;

static int64_t raw_bytes_of(const kv_run_shape *shape, int32_t n_tokens) {
    const kv_run_shape part = {shape->dtype, shape->head_dim, n_tokens};
    return n_tokens > 0 ? kv_run_raw_bytes(&part) : 0;
}

static void *encode_some(void *argument) {
    work *w = argument;
    const int thread = atomic_fetch_add(&w->next_thread, 1);
    const int64_t all = raw_bytes_of(w->shape, w->shape->n_tokens);
    for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->n_pieces;) {
        const int32_t first = w->order[i] * KV_TILE_TOKENS;
        const bool is_sealed = kv_dtype_is_sealed(w->shape->dtype);
        const uint8_t *k = w->raw + raw_bytes_of(w->shape, first) / (is_sealed ? 1 : 2);
        kv_run_encode_rows(
                codecs[thread], w->shape, first, k, is_sealed ? NULL : k + all / 2, w->stored);
        if (atomic_fetch_sub(&w->n_left, 1) > 1) continue;
        const kv_run_address address = kvh_address(5);
        w->n_bytes = kv_run_pack(codecs[thread], &address, w->shape, w->stored);
    }
    return NULL;
}

static int64_t encode_in_pieces(
        const kv_run_shape *shape, const uint8_t *raw, uint8_t *stored, uint64_t *seed) {
    pthread_t threads[THREADS];
    work w = {.shape = shape, .raw = raw, .stored = stored};
    w.n_pieces = (int32_t)rt_div_up(shape->n_tokens, KV_TILE_TOKENS);
    atomic_store(&w.n_left, w.n_pieces);
    for (int32_t i = 0; i < w.n_pieces; i++) {
        const int32_t j = (int32_t)(random_next(seed) % (uint64_t)(i + 1));
        w.order[i] = w.order[j];
        w.order[j] = i;
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, encode_some, &w) == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    return w.n_bytes;
}

/* ---- both ------------------------------------------------------------------------------------ */

static void check(const kv_run_shape *shape, kvh_values kind, kv_packing packing, uint64_t *seed) {
    const kv_run_address address = kvh_address(5);
    const size_t room = (size_t)kv_run_stored_bytes_max(shape);
    kvh_guarded raw = kvh_guard(kv_run_raw_bytes(shape));
    kvh_guarded whole = kvh_guard((int64_t)room), pieces = kvh_guard((int64_t)room);
    uint8_t *plainly = malloc(room);
    CHECK(plainly);
    kvh_fill(kind, shape, 17, raw.bytes);
    for (int i = 0; i < THREADS; i++) kv_codec_pack(codecs[i], packing);
    kv_tile_codec_pack(tiles, packing);
    memset(whole.bytes, 0xa5, room);
    memset(pieces.bytes, 0x5a, room);
    const int64_t n = kv_run_encode(codecs[0], &address, shape, raw.bytes, whole.bytes);
    CHECK(write_plainly(&address, shape, raw.bytes, whole.bytes, plainly) == n);
    CHECK(memcmp(whole.bytes, plainly, (size_t)n) == 0);
    CHECK(encode_in_pieces(shape, raw.bytes, pieces.bytes, seed) == n);
    CHECK(memcmp(whole.bytes, pieces.bytes, (size_t)n) == 0);
    kvh_unguard(&raw);
    kvh_unguard(&whole);
    kvh_unguard(&pieces);
    free(plainly);
}

int main(void) {
    static const rt_dtype dtypes[] = {RT_BF16, RT_F32, RT_INT8, RT_INT4, RT_FP8};
    static const kv_run_shape sizes[] = {{RT_BF16, 128, KV_RUN_TOKENS}, {RT_BF16, 64, 1},
            {RT_BF16, 64, 257}, {RT_BF16, 15, 3000}, {RT_BF16, 256, 768}};
    uint64_t seed = 1;
    size_t turn = 0;
    for (int i = 0; i < THREADS; i++)
        CHECK(kv_codec_create(i == 1 ? RT_ISA_PORTABLE : rt_machine_isa(), &codecs[i]) == RT_OK);
    CHECK(kv_tile_codec_create(&kv_codec_kernels_portable, &tiles) == RT_OK);
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int kind = (int)(turn++ % KIND_STEP); kind < KVH_N_VALUES; kind += KIND_STEP)
                for (int packing = 0; packing < 2; packing++) {
                    const kv_run_shape shape = {dtypes[d], sizes[i].head_dim, sizes[i].n_tokens};
                    if (kv_dtype_is_sealed(shape.dtype) && shape.head_dim % 64) continue;
                    check(&shape, (kvh_values)kind, packing ? KV_PACK_PLAIN : KV_PACK_DENSE, &seed);
                }
    for (int i = 0; i < THREADS; i++) kv_codec_free(codecs[i]);
    kv_tile_codec_free(tiles);
    return 0;
}

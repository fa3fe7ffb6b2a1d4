/* No damaged run is ever taken for a good one, nor a good one for another.
 *
 * Method: every bit of the header and of the tile table flipped in turn, a million random flips,
 * runs read with a wrong address in each field, in a wrong shape, cut short, grown, zeroed; and some blocks behind the last
 * tile that header and checksum count, as nobody writes but who means harm. */
#include <stddef.h>
#include <string.h>

#include "help_kv_codec.h"
#include "runtime/base/size.h"

enum { FLIPS = 1000000, HEADER_BYTES = 64 };

static kv_codec *codec;
static const kv_run_shape shape = {RT_BF16, 32, 600};
static kv_run_address address;
static uint8_t *raw, *stored;
static int64_t stored_bytes;

static rt_status decode(const kv_run_address *from, const kv_run_shape *as, int64_t n_bytes) {
    uint8_t *back = malloc((size_t)kv_run_raw_bytes(as));
    CHECK(back);
    const rt_status status = kv_run_decode(codec, from, as, stored, n_bytes, back);
    if (status == RT_OK) CHECK(memcmp(raw, back, (size_t)kv_run_raw_bytes(as)) == 0);
    free(back);
    return status;
}

static void check_header_bits(void) {
    const int64_t n_tiles = 2 * rt_div_up(shape.n_tokens, KV_TILE_TOKENS);
    for (int64_t bit = 0; bit < (HEADER_BYTES + 8 * n_tiles) * 8; bit++) {
        stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(decode(&address, &shape, stored_bytes) == RT_ECORRUPT);
        stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(decode(&address, &shape, stored_bytes) == RT_OK);
}

/* Behind a right checksum the header is compared field by field. */
static void check_sealed_header_bits(void) {
    uint8_t *copy = malloc((size_t)stored_bytes);
    CHECK(copy);
    memcpy(copy, stored, (size_t)stored_bytes);
    for (int64_t bit = 64; bit < (int64_t)HEADER_BYTES * 8; bit++) {
        stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
        kv_run_seal(codec, &address, stored, stored_bytes);
        CHECK(decode(&address, &shape, stored_bytes) == RT_ECORRUPT);
        memcpy(stored, copy, (size_t)stored_bytes);
    }
    free(copy);
}

static void check_addresses(void) {
    for (size_t byte = 0; byte < sizeof address; byte++) {
        kv_run_address other = address;
        ((uint8_t *)&other)[byte] ^= 1;
        CHECK(decode(&other, &shape, stored_bytes) == RT_ECORRUPT);
    }
    kv_run_address other = address;
    other.layer = 6;
    CHECK(decode(&other, &shape, stored_bytes) == RT_ECORRUPT);
    CHECK(strstr(rt_error_text(), "run of layer 6, KV head 2, position 4096"));
    CHECK(strstr(rt_error_text(), "it calls itself layer 5, KV head 2, position 4096"));
}

static void check_shapes(void) {
    const kv_run_shape shapes[] = {
            {RT_BF16, 32, 599}, {RT_BF16, 31, 600}, {RT_F16, 32, 600}, {RT_F32, 16, 600}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        CHECK(decode(&address, &shapes[i], stored_bytes) == RT_ECORRUPT);
}

/* header: stored_bytes */
static void set_stored_bytes(int64_t n_bytes) {
    memcpy(stored + 32, &n_bytes, sizeof n_bytes);
    kv_run_seal(codec, &address, stored, n_bytes);
}

static void check_trailing_blocks(void) {
    for (int64_t n_more = KV_STORED_ALIGN; n_more <= 2 * KV_STORED_ALIGN;
            n_more += KV_STORED_ALIGN) {
        CHECK(stored_bytes + n_more <= kv_run_stored_bytes_max(&shape));
        set_stored_bytes(stored_bytes + n_more);
        CHECK(decode(&address, &shape, stored_bytes + n_more) == RT_ECORRUPT);
        CHECK(strstr(rt_error_text(), "the end of the tiles"));
    }
    set_stored_bytes(stored_bytes);
    CHECK(decode(&address, &shape, stored_bytes) == RT_OK);
}

static void check_lengths(void) {
    for (int64_t n = 0; n < stored_bytes; n += KV_STORED_ALIGN / 4)
        CHECK(decode(&address, &shape, n) == RT_ECORRUPT);
    CHECK(decode(&address, &shape, stored_bytes + KV_STORED_ALIGN) == RT_ECORRUPT);
    memset(stored, 0, (size_t)stored_bytes);
    CHECK(decode(&address, &shape, stored_bytes) == RT_ECORRUPT);
}

int main(void) {
    CHECK(kv_codec_create(rt_machine_isa(), &codec) == RT_OK);
    address = kvh_address(1);
    raw = malloc((size_t)kv_run_raw_bytes(&shape));
    stored = calloc(1, (size_t)kv_run_stored_bytes_max(&shape) + KV_STORED_ALIGN);
    CHECK(raw && stored);
    kvh_fill(KVH_LIKE_KV, &shape, 1, raw);
    stored_bytes = kv_run_encode(codec, &address, &shape, raw, stored);
    check_header_bits();
    check_sealed_header_bits();
    check_addresses();
    check_shapes();
    check_trailing_blocks();
    check_lengths();
    CHECK(kvh_undetected_flips(codec, getenv("GLM_TEST_FAST") ? FLIPS / 20 : FLIPS, 1) == 0);
    free(raw);
    free(stored);
    kv_codec_free(codec);
    return 0;
}

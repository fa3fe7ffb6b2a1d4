/* The codec is lossless for any bits, in any shape, and every instruction set writes and reads the
 * same bytes, densely or plainly packed.
 *
 * Method: all kinds of values in odd and full shapes, 16-bit and fp32, and sealed pages; encoded by each instruction
 * set (the bytes must be equal), decoded by each (the values must be equal), into buffers that end
 * at a guard page. KV-like values must shrink as the format promises. */
#include <string.h>

#include "help_kv_codec.h"

static kv_codec *codecs[RT_ISA_AMX + 1];
static int n_codecs;

static double check_packed(const kv_run_shape *shape, kvh_values kind, kv_packing packing) {
    const int64_t raw_bytes = kv_run_raw_bytes(shape);
    const int64_t room = kv_run_stored_bytes_max(shape);
    kvh_guarded raw = kvh_guard(raw_bytes), back = kvh_guard(raw_bytes);
    kvh_guarded first = kvh_guard(room), stored = kvh_guard(room);
    const kv_run_address address = kvh_address(3);
    kvh_fill(kind, shape, 11, raw.bytes);
    for (int i = 0; i < n_codecs; i++) kv_codec_pack(codecs[i], packing);
    const int64_t n = kv_run_encode(codecs[0], &address, shape, raw.bytes, first.bytes);
    CHECK(n > 0 && n <= room && n % KV_STORED_ALIGN == 0);
    for (int i = 0; i < n_codecs; i++) {
        memset(stored.bytes, 0xa5, (size_t)room);
        memset(back.bytes, 0x5a, (size_t)raw_bytes);
        CHECK(kv_run_encode(codecs[i], &address, shape, raw.bytes, stored.bytes) == n);
        CHECK(memcmp(first.bytes, stored.bytes, (size_t)n) == 0);
        CHECK(kv_run_decode(codecs[i], &address, shape, first.bytes, n, back.bytes) == RT_OK);
        CHECK(memcmp(raw.bytes, back.bytes, (size_t)raw_bytes) == 0);
    }
    kvh_unguard(&raw);
    kvh_unguard(&back);
    kvh_unguard(&first);
    kvh_unguard(&stored);
    return (double)raw_bytes / (double)n;
}

static double check(const kv_run_shape *shape, kvh_values kind) {
    (void)check_packed(shape, kind, KV_PACK_PLAIN);
    return check_packed(shape, kind, KV_PACK_DENSE);
}

/* Every `step`th of the sizes of heads. */
static void check_shapes(rt_dtype dtype, size_t step) {
    static const int32_t dims[] = {1, 15, 16, 31, 48, 128, 255, 256};
    static const int32_t tokens[] = {1, 2, 3, 255, 256, 257, 700};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d += step)
        for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++)
            for (int kind = 0; kind < KVH_N_VALUES; kind++) {
                const kv_run_shape shape = {dtype, dims[d], tokens[t]};
                (void)check(&shape, (kvh_values)kind);
            }
}

/* Whole runs: what each kind of data shrinks to, at least. */
static void check_ratios(void) {
    const kv_run_shape bf16 = {RT_BF16, 128, KV_RUN_TOKENS};
    const kv_run_shape fp32 = {RT_F32, 128, KV_RUN_TOKENS};
    CHECK(check(&bf16, KVH_LIKE_KV) > 1.4);
    CHECK(check_packed(&bf16, KVH_LIKE_KV, KV_PACK_PLAIN) > 1.3);
    CHECK(check(&bf16, KVH_FEW) > 3);
    CHECK(check(&bf16, KVH_ZEROS) > 100);
    CHECK(check(&bf16, KVH_NOISE) > 0.99);
    CHECK(check(&fp32, KVH_LIKE_KV) > 1.15);
    CHECK(check(&fp32, KVH_FEW) > 6);
    const kv_run_shape fp8 = {RT_FP8, 128, KV_RUN_TOKENS};
    CHECK(check(&fp8, KVH_LIKE_KV) > 1.1);
    CHECK(check_packed(&fp8, KVH_LIKE_KV, KV_PACK_PLAIN) > 0.99);
    CHECK(check(&fp8, KVH_ZEROS) > 100);
    CHECK(check(&fp8, KVH_NOISE) > 0.99);
}

int main(void) {
    for (int isa = RT_ISA_PORTABLE; isa <= (int)rt_machine_isa(); isa++)
        CHECK(kv_codec_create((rt_isa)isa, &codecs[n_codecs++]) == RT_OK);
    check_shapes(RT_BF16, 1);
    check_shapes(RT_F16, 1);
    check_shapes(RT_F32, 1);
    check_shapes(RT_FP8, 3);

    if (!getenv("GLM_TEST_FAST")) check_ratios();
    while (n_codecs > 0) kv_codec_free(codecs[--n_codecs]);
    return 0;
}

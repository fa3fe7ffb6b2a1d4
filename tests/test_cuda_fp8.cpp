/* e4m3 pages: the kernel that seals a page writes the definition's bytes, which are as near the page's numbers
 * as attn_fp8.h says; the kernel that widens one writes what the codes say; decode over them is the definition's
 * attention over what the codes say, within the bound of bf16 pages; a query's bits do not depend on those it is
 * decoded with.
 *
 * Method: tests/emu. Pages of ordinary numbers, of zeros, of sizes from 2^-40 to 2^30, of the smallest
 * numbers there are, with 448 or 450 beside small ones, with 2^127, with a NaN. Queries at the ends of pages and of
 * splits, on both sides of them, 1 to 16 of a sequence. */
#include "help_cuda_machine.h"

#include "attention/attn_decode.cu"
#include "attention/attn_seal_fp8.cu"

#define DECODE_SPLITS 9
#define DECODE        attn_cuda_decode_sm80
#include "help_cuda_fp8.h"

static __global__ void widen_codes(uint32_t *const to) {
    const uint32_t code = (uint32_t)ptx_thread();
    to[2 * code] = ptx_e4m3_low(code | (255u - code) << 8 | 0x5a5a0000u);
    to[2 * code + 1] = ptx_e4m3_high(code << 16 | (255u - code) << 24 | 0x5a5au);
}

static void codes() {
    cuda_buffer<uint32_t> to(512);
    emu_seed(0);
    CHECK(!ptx_launch(widen_codes, {1, 1, 256, 0}, NULL, to.data));
    cuda_wait();
    for (uint32_t code = 0; code < 256; code++)
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t pair = to[2 * code + i];
            for (uint32_t h = 0; h < 2; h++) {
                const uint32_t c = h ? 255 - code : code;
                if ((c & 0x7f) == 0x7f) continue; /* NaN: no page has it */
                const float got = rt_bf16_to_float((uint16_t)(h ? pair >> 16 : pair));
                CHECK((double)got == attn_fp8_number((uint8_t)c));
                CHECK(signbit(got) == (c >> 7 != 0));
            }
        }
}

/* Numbers of page kind i. */
static float number_of(int kind, uint64_t *random) {
    const float x = random_normal(random);
    switch (kind) {
    case 0:
        return x * 3.0f;
    case 1:
        return 0.0f;
    case 2:
        return ldexpf(x, (int)random_below(random, 71) - 40);
    case 3:
        return ldexpf(x, -127);
    case 4: /* the largest of a scale, and the least of the next */
    case 5:
        return random_below(random, 500) ? x : kind == 4 ? 448.0f : 450.0f;
    case 6:
        return random_below(random, 500) ? x : 0x1p127f;
    default:
        return random_below(random, 500) ? x : NAN;
    }
}

static double number_in(const uint8_t *head, bool is_values, int t, int d) {
    float scale;
    memcpy(&scale, head + ATTN_FP8_SCALES_AT + (is_values ? 4 : 0), 4);
    return (double)scale *
           attn_fp8_number(is_values ? head[ATTN_FP8_TILE_BYTES + t / 16 * 2048 + d * 16 + t % 16]
                                     : head[t * 128 + ((d / 16) ^ (t % 8)) * 16 + d % 16]);
}

static void check_bound(const uint16_t *rows, const uint8_t *head, bool is_values) {
    float scale;
    memcpy(&scale, head + ATTN_FP8_SCALES_AT + (is_values ? 4 : 0), 4);
    for (int t = 0; t < 128; t++)
        for (int d = 0; d < 128; d++) {
            const double x = rt_bf16_to_float(rows[t * 128 + d]);
            const double error = fabs(x - number_in(head, is_values, t, d));
            const double bound = fmax(0x1p-4 * fabs(x), 0x1p-10 * (double)scale);
            CHECK(error <= bound || isnan(scale));
        }
}

/* `open` pages are written over by what `sealed` ones say. */
static void check_widened(const attn_shape &shape, const cuda_buffer<void *> &open,
        const cuda_buffer<void *> &sealed, int n_pages) {
    for (int i = 0; i < n_pages; i++) memset(open[i], 0x5a, (size_t)attn_cuda_page_bytes(&shape));
    const attn_cuda_seal_args args = {open.data, sealed.data, n_pages};
    CHECK(attn_cuda_widen_fp8(&shape, &args, NULL) == RT_OK);
    cuda_wait();
    for (int i = 0; i < n_pages; i++)
        for (int tile = 0; tile < 2 * shape.n_kv_heads; tile++)
            for (int t = 0; t < 128; t++)
                for (int d = 0; d < 128; d++) {
                    const uint8_t *head =
                            (const uint8_t *)sealed[i] + tile / 2 * ATTN_FP8_PLACE_BYTES;
                    const double right = number_in(head, tile % 2 != 0, t, d);
                    const uint16_t got =
                            ((const uint16_t *)open[i])[tile * 16384 + cuda_tile_index(t, d)];
                    CHECK((double)rt_bf16_to_float(got) == right ||
                            (isnan(right) && isnan(rt_bf16_to_float(got))));
                }
}

static void sealing() {
    const attn_shape shape = cuda_shape(2, 2);
    enum { N_KINDS = 8, N_CODED = 6 };
    std::vector<std::unique_ptr<cuda_buffer<uint16_t>>> open;
    std::vector<std::unique_ptr<cuda_buffer<uint8_t>>> sealed;
    std::vector<void *> open_list, sealed_list;
    std::vector<uint16_t> rows[N_KINDS][4]; /* K, V of head 0, of head 1 */
    uint64_t random = 5;
    for (int kind = 0; kind < N_KINDS; kind++) {
        open.emplace_back(new cuda_buffer<uint16_t>(attn_cuda_page_bytes(&shape) / 2));
        sealed.emplace_back(new cuda_buffer<uint8_t>(attn_cuda_fp8_page_bytes(&shape)));
        open_list.push_back(open.back()->data);
        sealed_list.push_back(sealed.back()->data);
        for (int tile = 0; tile < 4; tile++) {
            rows[kind][tile].resize(128 * 128);
            for (int i = 0; i < 128 * 128; i++) {
                const uint16_t x = rt_float_to_bf16(number_of(kind, &random));
                rows[kind][tile][(size_t)i] = x;
                (*open.back())[tile * 16384 + cuda_tile_index(i / 128, i % 128)] = x;
            }
        }
    }
    const cuda_buffer<void *> from(open_list), to(sealed_list);
    const attn_cuda_seal_args args = {from.data, to.data, N_KINDS};
    emu_seed(0);
    CHECK(attn_cuda_seal_fp8(&shape, &args, NULL) == RT_OK);
    cuda_wait();
    for (int kind = 0; kind < N_KINDS; kind++)
        for (int g = 0; g < 2; g++) {
            std::vector<uint8_t> right(ATTN_FP8_HEAD_BYTES);
            const auto &k = rows[kind][2 * g], &v = rows[kind][2 * g + 1];
            attn_fp8_seal(k.data(), v.data(), right.data());
            const uint8_t *head = sealed[(size_t)kind]->data + g * ATTN_FP8_PLACE_BYTES;
            CHECK(memcmp(head, right.data(), ATTN_FP8_SCALES_AT) == 0);
            float scales[2];
            memcpy(scales, head + ATTN_FP8_SCALES_AT, sizeof scales);
            if (kind >= N_CODED)
                CHECK(isnan(scales[0]) && isnan(scales[1]));
            else
                CHECK(memcmp(head + ATTN_FP8_SCALES_AT, right.data() + ATTN_FP8_SCALES_AT, 16) ==
                        0);
            check_bound(k.data(), head, false);
            check_bound(v.data(), head, true);
        }
    check_widened(shape, from, to, N_KINDS);
}

int main() {
    codes();
    sealing();
    fp8_behaves();
    return 0;
}

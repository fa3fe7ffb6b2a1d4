/* The elementwise kernels of a layer: the definitions, within one rounding to bf16 and the fp32 of
 * the way.
 *
 * Method: tests/emu; widths of less than a block, exactly one pass and several; buffers exactly as
 * long as they must be. */
#include "help_cuda_machine.h"

#include "runtime/ops_cuda.cu"

#include "help_cuda.h"

static double number(uint16_t x) {
    return rt_bf16_to_float(x);
}

static void embed() {
    cuda_buffer<uint16_t> table(7 * 24), hidden(5 * 24);
    cuda_fill_normal(table.data, table.n, 1);
    const cuda_buffer<int32_t> ids(std::vector<int32_t>{6, 0, 3, 3, 1});
    CHECK(glm_cuda_embed(table.data, ids.data, 5, 24, hidden.data, NULL) == RT_OK);
    cuda_wait();
    for (int i = 0; i < 5; i++)
        CHECK(memcmp(hidden.data + i * 24, table.data + ids[i] * 24, 48) == 0);
}

/* |x - right| for one rounding of bf16, and u fp32 roundings of relative 2^-23 each. */
static void near(uint16_t x, double right, double u) {
    const double error = fabs(number(x) - right);
    if (!(error <= fabs(right) * (0x1p-8 * 1.01 + u * 0x1p-23) + 0x1p-130))
        fprintf(stderr, "%g, not %g\n", number(x), right);
    CHECK(error <= fabs(right) * (0x1p-8 * 1.01 + u * 0x1p-23) + 0x1p-130);
}

static void add_norm(int64_t width, bool is_added, bool is_normed, bool is_in_place) {
    const int64_t n = 3;
    cuda_buffer<uint16_t> hidden(n * width), before(n * width), update(n * width), weight(width),
            out(n * width);
    cuda_fill_normal(hidden.data, hidden.n, 2, 3.0f);
    memcpy(before.data, hidden.data, (size_t)hidden.n * 2);
    cuda_fill_normal(update.data, update.n, 3);
    cuda_fill_normal(weight.data, weight.n, 4);
    uint16_t *to = is_in_place ? hidden.data : out.data;
    CHECK(glm_cuda_add_norm(hidden.data, is_added ? update.data : NULL,
                  is_normed ? weight.data : NULL, 1.5625e-7f, n, width, to, NULL) == RT_OK);
    cuda_wait();
    for (int64_t r = 0; r < n; r++) {
        double squares = 0.0;
        std::vector<double> x;
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            const float sum =
                    rt_bf16_to_float(before[i]) + (is_added ? rt_bf16_to_float(update[i]) : 0.0f);
            const uint16_t stored = is_added ? rt_float_to_bf16(sum) : before[i];
            if (!is_in_place) CHECK(hidden[i] == stored);
            x.push_back(number(stored));
            squares += x.back() * x.back();
        }
        for (int64_t i = 0; i < width && is_normed; i++)
            near(to[r * width + i],
                    x[(size_t)i] / sqrt(squares / (double)width + 1.5625e-7) * number(weight[i]),
                    8.0 + (double)width / THREADS + 6.0);
    }
}

static void swiglu(int64_t n, int64_t width) {
    cuda_buffer<uint16_t> gate_up(n * 2 * width), out(n * width);
    cuda_fill_normal(gate_up.data, gate_up.n, 5, 4.0f);
    gate_up[0] = rt_float_to_bf16(-200.0f); /* e^200 is beyond fp32 */
    CHECK(glm_cuda_swiglu(gate_up.data, n, width, out.data, NULL) == RT_OK);
    cuda_wait();
    for (int64_t r = 0; r < n; r++)
        for (int64_t i = 0; i < width; i++) {
            const double g = number(gate_up[r * 2 * width + i]),
                         up = number(gate_up[(r * 2 + 1) * width + i]);
            if (g > -80.0)
                near(out[r * width + i], g / (1.0 + exp(-g)) * up, 8.0 + 2.0 * fabs(g));
            else
                CHECK(fabs(number(out[r * width + i])) < 1e-30);
        }
}

/* The rows of two ranks' parts of a table add up to those of the whole, and round to them. */
static void embed_own(int64_t width) {
    cuda_buffer<uint16_t> table(7 * width), rounded(5 * width);
    cuda_buffer<float> rows(5 * width);
    cuda_fill_normal(table.data, table.n, 1);
    const cuda_buffer<int32_t> ids(std::vector<int32_t>{6, 0, 3, 4, 1});
    std::vector<float> sum((size_t)(5 * width));
    for (int64_t first = 0; first < 7; first += 4) {
        const int64_t n_own = first == 0 ? 4 : 3;
        CHECK(glm_cuda_embed_own(table.data + first * width, first, n_own, ids.data, 5, width,
                      rows.data, NULL) == RT_OK);
        cuda_wait();
        for (int64_t i = 0; i < 5 * width; i++) sum[(size_t)i] += rows[i];
    }
    memcpy(rows.data, sum.data(), sum.size() * sizeof sum[0]);
    CHECK(glm_cuda_round(rows.data, 5 * width, rounded.data, NULL) == RT_OK);
    cuda_wait();
    for (int64_t i = 0; i < 5; i++)
        CHECK(memcmp(rounded.data + i * width, table.data + ids[i] * width, (size_t)width * 2) ==
                0);
}

static void round_sums(int64_t n) {
    cuda_buffer<float> x(n);
    cuda_buffer<uint16_t> out(n);
    for (int64_t i = 0; i < n; i++) x[i] = ldexpf(1.0f + (float)i / (float)n, (int)(i % 40) - 20);
    CHECK(glm_cuda_round(x.data, n, out.data, NULL) == RT_OK);
    cuda_wait();
    for (int64_t i = 0; i < n; i++) CHECK(out[i] == rt_float_to_bf16(x[i]));
}

static void join(int32_t n_ranks, int64_t n, int64_t width) {
    cuda_buffer<float> shares(n_ranks * n * width), rows(n_ranks * n * width);
    for (int64_t i = 0; i < shares.n; i++) shares[i] = (float)i;
    CHECK(glm_cuda_join(shares.data, n_ranks, n, width, rows.data, NULL) == RT_OK);
    cuda_wait();
    for (int64_t i = 0; i < n; i++)
        for (int64_t r = 0; r < n_ranks; r++)
            for (int64_t k = 0; k < width; k++)
                CHECK(rows[(i * n_ranks + r) * width + k] == (float)((r * n + i) * width + k));
}

int main() {
    emu_seed(0);
    embed();
    embed_own(24);
    embed_own(2056);
    round_sums(8);
    round_sums(2056);
    join(4, 3, 68);
    join(2, 1, 300);
    add_norm(64, true, true, false);
    add_norm(4096, true, true, false);
    add_norm(2056, false, true, true);
    add_norm(264, true, false, false);
    swiglu(3, 8);
    swiglu(2, 2056);
    return 0;
}

/* Linear layers of few rows on a GPU: the product in fp64, within the rounding of the result and of fp32 sums; a row's
 * bits do not depend on how many rows there are.
 *
 * Method: tests/emu; widths of less than a warp's step, of one step, of several and a part; odd and even numbers of
 * outputs, less than a block's and more; with and without bias, bf16 and fp32 results; buffers exactly as long as they
 * must be. */
#include "help_cuda_machine.h"

#include "runtime/rows_cuda.cu"

#include "help_cuda.h"

/* The sum of n_in products in fp32, each lane's a chain, and bias: relative to the sum of sizes. */
static double error_of(int64_t n_in) {
    return ((double)n_in / WARP + 8.0) * 0x1p-24 * 1.01;
}

static void product(int64_t n_in, int64_t n_out, bool has_bias) {
    enum { N = GLM_CUDA_ROWS_MAX };
    cuda_buffer<uint16_t> weight(n_out * n_in), bias(n_out), x(N * n_in);
    cuda_fill_normal(weight.data, weight.n, 1);
    cuda_fill_normal(bias.data, bias.n, 2);
    cuda_fill_normal(x.data, x.n, 3);
    const uint16_t *b = has_bias ? bias.data : NULL;
    std::vector<float> all;
    for (int64_t n = N; n > 0; n--) {
        cuda_buffer<float> y(n * n_out);
        cuda_buffer<uint16_t> rounded(n * n_out);
        CHECK(glm_cuda_multiply_rows(weight.data, b, x.data, n, n_in, n_out, y.data, true, NULL) ==
                RT_OK);
        CHECK(glm_cuda_multiply_rows(
                      weight.data, b, x.data, n, n_in, n_out, rounded.data, false, NULL) == RT_OK);
        cuda_wait();
        if (n == N) all.assign(y.data, y.data + y.n);
        CHECK(memcmp(y.data, all.data(), (size_t)y.n * sizeof(float)) == 0);
        for (int64_t i = 0; i < y.n; i++) CHECK(rounded[i] == rt_float_to_bf16(y[i]));
    }
    for (int64_t i = 0; i < N * n_out; i++) {
        double sum = has_bias ? rt_bf16_to_float(bias[i % n_out]) : 0.0, size = fabs(sum);
        for (int64_t k = 0; k < n_in; k++) {
            const double term = (double)rt_bf16_to_float(x[i / n_out * n_in + k]) *
                                rt_bf16_to_float(weight[i % n_out * n_in + k]);
            sum += term;
            size += fabs(term);
        }
        CHECK(fabs(all[(size_t)i] - sum) <= size * error_of(n_in));
    }
}

int main() {
    emu_seed(0);
    product(8, 1, true);
    product(264, 9, false);
    product(1024, 17, true);
    product(2056 + 1024, 6, true);
    return 0;
}

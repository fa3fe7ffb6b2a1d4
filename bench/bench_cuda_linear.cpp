/* What does it cost that a product's kernel does not depend on how many rows there are?
 *
 *   sh tests/gpu.sh bench_cuda_linear
 *
 * The 9B's four products of a layer and the vocabulary's, as runtime/linear_cuda.c has them: the kernel of decode steps, for 1
 * to 256 rows, and that of prefill, for 16 to 8192; beside cuBLAS's product of the same matrices, whose kernel is chosen for
 * just so many rows. Each over the weights of four layers in turn, so that no cache holds them. Shares are of weights
 * read beside the copy, and from 512 rows on of the best product.
 *
 * First that they are right. Ones by ones are n_in, exactly, in parts or not, whatever a rank's share of the layer is; and the
 * rows that two numbers of rows have in common have the same bits, which is what it is for: exit 1 where not. */
#include "runtime/ops_cuda.h"

extern "C" {
#include "runtime/linear_cuda.h"
}

#include "help_9b.cuh"
#include "help_gpu.cuh"

enum { VOCAB = 151552, N_WEIGHTS = 4, ROWS_MAX = 8192, VOCAB_ROWS_MAX = 512, COMPARED_MAX = 256 };

struct product {
    const char *name;
    glm_cuda_matrix weights[N_WEIGHTS];
    int n_weights;
    bool is_f32;
    int rows_max;
};

struct bench {
    glm_cuda_device device;
    glm_cublas *cublas;
    gpu_blas blas;
    uint16_t *x;
    void *y;
};

static glm_cuda_matrix make_matrix(int64_t n_out, int64_t n_in, bool has_bias) {
    return {gpu_take_filled(n_out * n_in), has_bias ? gpu_take_filled(n_out) : NULL, n_out, n_in};
}

static product make_product(const char *name, int64_t n_out, int64_t n_in, bool is_head) {
    product p = {name, {}, is_head ? 1 : (int)N_WEIGHTS, is_head,
            is_head ? (int)VOCAB_ROWS_MAX : (int)ROWS_MAX};
    for (int i = 0; i < p.n_weights; i++) p.weights[i] = make_matrix(n_out, n_in, n_out == QKV);
    return p;
}

static glm_cuda_rows rows_of(bool is_decode, int n) {
    return is_decode ? glm_cuda_decoded(n) : glm_cuda_prefilled(n);
}

/* On the default stream, which events are on. */
static void multiply(const bench &b, const glm_cuda_matrix &w, glm_cuda_rows rows, bool is_f32) {
    gpu_must(glm_cuda_linear(b.cublas, &w, b.x, rows, b.y, is_f32, NULL));
}

/* ---- right ----------------------------------------------------------------------------------- */

static void fill_with_ones(uint16_t *to, int64_t n) {
    const std::vector<uint16_t> ones((size_t)n, 0x3f80);
    CHECK_CUDA(cudaMemcpy(to, ones.data(), ones.size() * 2, cudaMemcpyHostToDevice));
}

/* 4096 outputs of n_in, as `out` and `down` of one of several ranks have them. */
static bool sums_all(const bench &b, int64_t n_in) {
    glm_cuda_matrix w = {gpu_take<uint16_t>(HIDDEN * n_in), NULL, HIDDEN, n_in};
    bool is_right = true;
    fill_with_ones(w.numbers, HIDDEN * n_in);
    fill_with_ones(b.x, COMPARED_MAX * n_in);
    for (const int n : {1, 5, 64, (int)COMPARED_MAX})
        for (const bool is_decode : {true, false}) {
            std::vector<float> y((size_t)n * HIDDEN);
            multiply(b, w, rows_of(is_decode, n), true);
            CHECK_CUDA(cudaMemcpy(y.data(), b.y, y.size() * sizeof(float), cudaMemcpyDeviceToHost));
            int64_t n_wrong = 0;
            for (const float v : y) n_wrong += v != (float)n_in;
            if (n_wrong == 0) continue;
            printf("# FAIL: %lld of %d rows' sums of %lld ones are others, by the kernel of %s\n",
                    (long long)n_wrong, n, (long long)n_in, is_decode ? "decode" : "prefill");
            is_right = false;
        }
    CHECK_CUDA(cudaFree(w.numbers));
    return is_right;
}

/* Rows that are in what was there before, too. */
static bool keeps_bits(
        const bench &b, const product &p, bool is_decode, int n, std::vector<char> *before) {
    const int64_t row_bytes = p.weights[0].n_out * (p.is_f32 ? 4 : 2);
    std::vector<char> now((size_t)(std::min(n, (int)COMPARED_MAX) * row_bytes));
    multiply(b, p.weights[0], rows_of(is_decode, n), p.is_f32);
    CHECK_CUDA(cudaMemcpy(now.data(), b.y, now.size(), cudaMemcpyDeviceToHost));
    const bool is_same =
            memcmp(now.data(), before->data(), std::min(now.size(), before->size())) == 0;
    if (!is_same)
        printf("# FAIL: %s, the kernel of %s: rows have other bits among %d\n", p.name,
                is_decode ? "decode" : "prefill", n);
    before->swap(now);
    return is_same;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Milliseconds of one of them. */
template <typename WORK> static gpu_times time_in_turn(WORK work) {
    enum { N_TURNS = 3 * N_WEIGHTS };
    const gpu_times t = gpu_time([&] {
        for (int i = 0; i < N_TURNS; i++) work(i);
    });
    return {t.best_ms / N_TURNS, t.median_ms / N_TURNS, t.mhz};
}

struct ceilings {
    double copy, product;
};

static void print(const char *of, const product &p, int n, gpu_times t, const ceilings &most) {
    const double numbers = (double)p.weights[0].n_out * (double)p.weights[0].n_in;
    char name[32];
    snprintf(name, sizeof name, "%s %s", p.name, of);
    if (n < 512)
        gpu_print(name, n, 0, t, 2.0 * numbers / 1e9, "GB/s", most.copy);
    else
        gpu_print(name, n, 0, t, 2.0 * numbers * n / 1e12, "TFLOP/s", most.product);
}

/* All products of a model of 40 layers with n rows, in milliseconds: ours, and by kernels for so many rows. */
static void measure(const bench &b, const std::vector<product> &products, bool is_decode, int n,
        const ceilings &most) {
    double ours = 0.0, own = 0.0;
    const char *const purpose = is_decode ? "decode" : "prefill";
    for (const product &p : products) {
        if (n > p.rows_max || (p.is_f32 && !is_decode)) continue;
        const int times = p.is_f32 ? 1 : (int)N_LAYERS;
        const gpu_times t = time_in_turn([&](int i) {
            multiply(b, p.weights[i % p.n_weights], rows_of(is_decode, n), p.is_f32);
        });
        const gpu_times u = time_in_turn([&](int i) {
            const glm_cuda_matrix &w = p.weights[i % p.n_weights];
            gpu_multiply(b.blas, w.numbers, b.x, (uint16_t *)b.y, n, (int)w.n_out, (int)w.n_in);
        });
        print(purpose, p, n, t, most);
        print("for_n", p, n, u, most);
        ours += times * t.best_ms;
        own += times * u.best_ms;
    }
    printf("# %s, %d rows: %.3f ms of products, by kernels for so many %.3f, times %.3f\n", purpose,
            n, ours, own, ours / own);
    fflush(stdout);
}

int main() {
    static const int decoded[] = {1, 4, 16, 64, 256}, prefilled[] = {16, 64, 512, 2048, 4096, 8192};
    gpu_print_machine("products of the 9B shape by the number of rows");
    bench b = {};
    b.blas = gpu_open_blas();
    if (!b.blas.multiply) return 77;
    gpu_must(glm_cuda_device_open(0, &b.device));
    gpu_must(glm_cublas_open(&b.device, &b.cublas));
    b.x = gpu_take<uint16_t>((int64_t)ROWS_MAX * FFN);
    b.y = gpu_take<char>((int64_t)ROWS_MAX * 2 * FFN * 2);
    bool is_right = true;
    for (const int64_t n_in : {4096, 2048, 1024, 512, 13696, 6848, 3424, 1712})
        is_right = sums_all(b, n_in) && is_right;
    gpu_fill_kernel<<<1024, 256>>>(b.x, (int64_t)ROWS_MAX * FFN);
    CHECK_CUDA(cudaGetLastError());
    const std::vector<product> products = {make_product("qkv", QKV, HIDDEN, false),
            make_product("out", HIDDEN, HIDDEN, false),
            make_product("gate_up", 2 * FFN, HIDDEN, false),
            make_product("down", HIDDEN, FFN, false), make_product("head", VOCAB, HIDDEN, true)};
    for (const product &p : products) {
        std::vector<char> before;
        for (const int n : decoded) is_right = keeps_bits(b, p, true, n, &before) && is_right;
        before.clear();
        for (const int n : prefilled)
            if (n <= p.rows_max) is_right = keeps_bits(b, p, false, n, &before) && is_right;
    }
    const int64_t n_refused = glm_cublas_refused(b.cublas);
    printf("# right: %s; kernels that are refused for a number of rows: %lld\n",
            is_right ? "yes" : "no", (long long)n_refused);
    const ceilings most = {gpu_copy_ceiling(), gpu_product_ceiling(b.blas)};
    for (const int n : decoded) measure(b, products, true, n, most);
    for (const int n : prefilled) measure(b, products, false, n, most);
    return is_right && n_refused == 0 ? 0 : 1;
}

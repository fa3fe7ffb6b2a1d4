/* What does it cost that a product's kernel does not depend on how many rows there are?
 *
 *   sh tests/gpu.sh bench_cuda_linear
 *
 * The 9B's four products of a layer and the vocabulary's, as runtime/linear_cuda.c has them: the kernel of decode steps, for 1
 * to 256 rows, and that of prefill, for 16 to 8448; beside cuBLAS's product of the same matrices, whose kernel is chosen for
 * just so many rows. Each over the weights of four layers in turn, so that no cache holds them. Shares are of weights
 * read beside the copy, and from 512 rows on of the best product.
 *
 * First that they are right. Ones by ones are n_in, exactly, in parts or not, whatever a rank's share of the layer is; and all
 * rows have the same bits whatever pieces they are multiplied in, which is what it is for: exit 1 where not. How many have the
 * bits of decode's kernel in prefill's, or in those for just so many rows, is said for what might be made of it. */
#include "runtime/ops_cuda.h"

extern "C" {
#include "runtime/linear_cuda.h"
}

#include "help_9b.cuh"
#include "help_gpu.cuh"

enum { VOCAB = 151552, N_WEIGHTS = 4, ROWS_MAX = 8448, DECODED_MAX = 256 };

struct product {
    const char *name;
    glm_cuda_matrix weights[N_WEIGHTS];
    int n_weights;
    bool is_f32;
};

struct bench {
    glm_cuda_device device;
    glm_cublas *cublas;
    gpu_blas blas;
    uint16_t *x;
    char *y, *pieces; /* the same rows, each at its place */
};

static glm_cuda_matrix make_matrix(int64_t n_out, int64_t n_in, bool has_bias) {
    return {gpu_take_filled(n_out * n_in), has_bias ? gpu_take_filled(n_out) : NULL, n_out, n_in};
}

static product make_product(const char *name, int64_t n_out, int64_t n_in, bool is_head) {
    product p = {name, {}, is_head ? 1 : (int)N_WEIGHTS, is_head};
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
    fill_with_ones(b.x, DECODED_MAX * n_in);
    for (const int n : {1, 5, 64, (int)DECODED_MAX})
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

/* A block a row: whether its words differ. */
static __global__ void differ_kernel(
        const uint32_t *a, const uint32_t *b, int64_t n_words, uint32_t *to) {
    const int64_t row = (int64_t)blockIdx.x * n_words;
    bool differs = false;
    for (int64_t i = threadIdx.x; i < n_words; i += blockDim.x) differs |= a[row + i] != b[row + i];
    if (__syncthreads_or(differs) && threadIdx.x == 0) to[blockIdx.x] = 1;
}

/* Of the first n rows of y, how many are others than those of `pieces`, and from which to which. */
struct others {
    int n, first, last;
};
static others count_others(const bench &b, int n, int64_t row_bytes) {
    static uint32_t *const marks = gpu_take<uint32_t>(ROWS_MAX);
    std::vector<uint32_t> found((size_t)n);
    others o = {};
    CHECK_CUDA(cudaMemset(marks, 0, (size_t)n * 4));
    differ_kernel<<<n, 256>>>(
            (const uint32_t *)b.y, (const uint32_t *)b.pieces, row_bytes / 4, marks);
    CHECK_CUDA(cudaGetLastError());
    CHECK_CUDA(cudaMemcpy(found.data(), marks, found.size() * 4, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        if (!found[(size_t)i]) continue;
        if (o.n++ == 0) o.first = i;
        o.last = i;
    }
    return o;
}

static int64_t row_bytes_of(const product &p) {
    return p.weights[0].n_out * (p.is_f32 ? 4 : 2);
}

/* Rows 0 .. n - 1, so many at a time. */
static void multiply_in_pieces(
        const bench &b, const product &p, bool is_decode, int n, int piece, char *to) {
    const glm_cuda_matrix &w = p.weights[0];
    for (int i = 0; i < n; i += piece)
        gpu_must(glm_cuda_linear(b.cublas, &w, b.x + i * w.n_in,
                rows_of(is_decode, std::min(piece, n - i)), to + i * row_bytes_of(p), p.is_f32,
                NULL));
}

static bool has_same_bits(const bench &b, const product &p, bool is_decode, int n, int piece) {
    CHECK_CUDA(cudaMemset(b.y, 0xff, (size_t)(n * row_bytes_of(p))));
    multiply_in_pieces(b, p, is_decode, n, piece, b.y);
    const others o = count_others(b, n, row_bytes_of(p));
    if (o.n > 0)
        printf("# FAIL: %s, the kernel of %s: %d of %d rows, %d to %d, have other bits in pieces of %d\n",
                p.name, is_decode ? "decode" : "prefill", o.n, n, o.first, o.last, piece);
    return o.n == 0;
}

/* All rows of all numbers of rows, odd ones among them, beside small pieces. */
static bool keeps_bits(const bench &b, const product &p, bool is_decode) {
    static const int decoded[] = {2, 3, 5, 16, 31, 33, 64, 65, 200, DECODED_MAX};
    static const int prefilled[] = {
            1, 16, 37, 129, 512, 1000, 1024, 2048, 4096, 4224, 5000, 8192, ROWS_MAX};
    const int n_all = is_decode ? (int)DECODED_MAX : (int)ROWS_MAX;
    bool is_same = true;
    multiply_in_pieces(b, p, is_decode, n_all, is_decode ? 1 : 128, b.pieces);
    if (is_decode)
        for (const int n : decoded) is_same = has_same_bits(b, p, true, n, n) && is_same;
    else
        for (const int n : prefilled) is_same = has_same_bits(b, p, false, n, n) && is_same;
    for (const int piece : {7, 1000})
        is_same = has_same_bits(b, p, is_decode, std::min(n_all, 5000), piece) && is_same;
    return is_same;
}

/* For information: rows of prefill's kernel, and of those for just so many, that have other bits than decode's kernel
 * gives them. */
static void tell_kernels_apart(const bench &b, product p) {
    p.weights[0].bias = NULL; /* the others add none */
    const glm_cuda_matrix &w = p.weights[0];
    multiply_in_pieces(b, p, true, DECODED_MAX, DECODED_MAX, b.pieces);
    multiply_in_pieces(b, p, false, DECODED_MAX, DECODED_MAX, b.y);
    printf("# %s: rows with other bits than by the kernel of decode: prefill %d of %d", p.name,
            count_others(b, DECODED_MAX, row_bytes_of(p)).n, (int)DECODED_MAX);
    for (const int n : {1, 4, 16, 64, (int)DECODED_MAX}) {
        gpu_multiply(b.blas, w.numbers, b.x, (uint16_t *)b.y, n, (int)w.n_out, (int)w.n_in);
        printf(", for_n %d of %d", count_others(b, n, row_bytes_of(p)).n, n);
    }
    printf("\n");
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
        if (p.is_f32 && !is_decode) continue;
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
    static const int decoded[] = {1, 4, 16, 32, 64, 256},
                     prefilled[] = {16, 64, 512, 2048, 4096, 8192};
    gpu_print_machine("products of the 9B shape by the number of rows");
    bench b = {};
    b.blas = gpu_open_blas();
    if (!b.blas.multiply) return 77;
    gpu_must(glm_cuda_device_open(0, &b.device));
    gpu_must(glm_cublas_open(&b.device, &b.cublas));
    b.x = gpu_take<uint16_t>((int64_t)ROWS_MAX * FFN);
    b.y = gpu_take<char>((int64_t)ROWS_MAX * 2 * FFN * 2);
    b.pieces = gpu_take<char>((int64_t)ROWS_MAX * 2 * FFN * 2);
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
        is_right = keeps_bits(b, p, true) && is_right;
        if (p.is_f32) continue;
        is_right = keeps_bits(b, p, false) && is_right;
        tell_kernels_apart(b, p);
    }
    const int64_t n_refused = glm_cublas_refused(b.cublas);
    printf("# right: %s; kernels that are refused for a number of rows: %lld\n",
            is_right ? "yes" : "no", (long long)n_refused);
    const ceilings most = {gpu_copy_ceiling(), gpu_product_ceiling(b.blas)};
    for (const int n : decoded) measure(b, products, true, n, most);
    for (const int n : prefilled) measure(b, products, false, n, most);
    return is_right && n_refused == 0 ? 0 : 1;
}

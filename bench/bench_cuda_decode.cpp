/* Where do the milliseconds of a decode step go? Each kernel of a layer of the 9B shape by itself, and the whole step.
 *
 *   sh tests/gpu.sh bench_cuda_decode
 *
 * Hidden 4096, 32 query heads over 4 KV heads of 128, 13696 in between, 151552 tokens, 40 layers; 1, 4 and 16 rows,
 * that is sequences, questions on one book: all pages but the last 4096 keys' are the same, and read in one pass;
 * and, aside, each by itself; 128K and 1M keys. Everything is called as runtime/decode_cuda.c calls it, products
 * included, and runs from a CUDA graph: a part as 40 launches one after the other, over the weights of four layers
 * in turn, so that no cache holds them; then a layer's launches, then a step of 40 layers with both ends. What the
 * step takes beyond its parts, or less, is printed.
 *
 * GB/s are of weights and of keys and values, what is read once counted once, beside the copy of the same run.
 * First what the link to the host carries: what streamed weights and KV that spills come to. */
#include "attention/attn_cuda.h"
#include "runtime/ops_cuda.h"

extern "C" {
#include "runtime/linear_cuda.h"
}

#include "help_9b.cuh"
#include "help_gpu.cuh"

enum {
    VOCAB = 151552,
    N_WEIGHTS = 4, /* layers that there are */
    ROWS_MAX = 16,
    PAGE = 128,
    KEYS_MAX = 1 << 20,
    SPLIT_PAGES = ATTN_SPLIT_TOKENS / PAGE
};

struct layer_weights {
    glm_cuda_matrix qkv, out, gate_up, down;
    uint16_t *norm;
};

struct decode_step {
    attn_shape shape;
    glm_cuda_device device;
    glm_cublas *cublas;
    layer_weights layers[N_WEIGHTS];
    glm_cuda_matrix head;
    uint16_t *hidden, *normed, *qkv, *q, *attended, *update, *gate_up, *activated;
    float *logits;
    std::vector<void *> book; /* pages of KEYS_MAX tokens, */
    std::vector<void *> ends; /* and of the last SPLIT of each sequence */
    std::vector<void **> seq_lists;
    void ***seq_pages; /* [ROWS_MAX]: those */
    attn_cuda_pass *passes;
    int32_t *order;
    int64_t *positions, *lengths;
    int32_t *ids, *drawn;
    glm_cuda_draw *draws;
    uint32_t *tickets;
    void *scratch;
    int64_t keys;
    int32_t n; /* rows */
};

static glm_cuda_matrix make_matrix(int64_t n_out, int64_t n_in, bool has_bias) {
    return {gpu_take_filled(n_out * n_in), has_bias ? gpu_take_filled(n_out) : NULL, n_out, n_in};
}

template <typename T> static T *to_device(const std::vector<T> &numbers) {
    T *at = gpu_take<T>((int64_t)numbers.size());
    CHECK_CUDA(cudaMemcpy(at, numbers.data(), numbers.size() * sizeof(T), cudaMemcpyHostToDevice));
    return at;
}

static void make_pages(decode_step *s) {
    const int64_t page_bytes = attn_cuda_page_bytes(&s->shape);
    const int64_t n_pages = KEYS_MAX / PAGE, n_own = ROWS_MAX * SPLIT_PAGES;
    char *kv = (char *)gpu_take_filled((n_pages + n_own) * page_bytes / 2);
    for (int64_t i = 0; i < n_pages; i++) s->book.push_back(kv + i * page_bytes);
    for (int64_t i = 0; i < n_own; i++) s->ends.push_back(kv + (n_pages + i) * page_bytes);
}

static void make_step(decode_step *s) {
    s->shape = {HEADS, KV_HEADS, DIM, 64, 1e8, RT_BF16};
    gpu_must(glm_cuda_device_open(0, &s->device));
    gpu_must(glm_cublas_open(&s->device, &s->cublas));
    for (layer_weights &l : s->layers)
        l = {make_matrix(QKV, HIDDEN, true), make_matrix(HIDDEN, HIDDEN, false),
                make_matrix(2 * FFN, HIDDEN, false), make_matrix(HIDDEN, FFN, false),
                gpu_take_filled(HIDDEN)};
    s->head = make_matrix(VOCAB, HIDDEN, false);
    s->hidden = gpu_take_filled(ROWS_MAX * HIDDEN);
    s->normed = gpu_take_filled(ROWS_MAX * HIDDEN);
    s->qkv = gpu_take_filled(ROWS_MAX * QKV);
    s->q = gpu_take_filled(ROWS_MAX * HIDDEN);
    s->attended = gpu_take_filled(ROWS_MAX * HIDDEN);
    s->update = gpu_take_filled(ROWS_MAX * HIDDEN);
    s->gate_up = gpu_take_filled((int64_t)ROWS_MAX * 2 * FFN);
    s->activated = gpu_take_filled((int64_t)ROWS_MAX * FFN);
    s->logits = gpu_take<float>((int64_t)ROWS_MAX * VOCAB);
    make_pages(s);
    s->ids = to_device(std::vector<int32_t>(ROWS_MAX, 7));
    s->drawn = gpu_take<int32_t>(ROWS_MAX);
    s->draws = to_device(
            std::vector<glm_cuda_draw>(ROWS_MAX, glm_cuda_draw{0.0f, 1.0f, 0.5f, 0, VOCAB}));
    const int64_t ticket_bytes = attn_cuda_decode_ticket_bytes(&s->shape, ROWS_MAX);
    s->tickets = (uint32_t *)gpu_take<char>(ticket_bytes);
    CHECK_CUDA(cudaMemset(s->tickets, 0, (size_t)ticket_bytes));
    s->scratch =
            gpu_take<char>(attn_cuda_decode_scratch_bytes(&s->shape, KEYS_MAX, ROWS_MAX, ROWS_MAX));
}

/* Whose pages are whose, and who reads which with whom. */
static void share_pages(decode_step *s) {
    const int32_t n_splits = (int32_t)(s->keys / ATTN_SPLIT_TOKENS);
    std::vector<attn_cuda_pass> passes = {{0, s->n, 0, n_splits - 1}};
    std::vector<int32_t> order;
    for (void **list : s->seq_lists) CHECK_CUDA(cudaFree(list));
    s->seq_lists.clear();
    for (int32_t i = 0; i < ROWS_MAX; i++) {
        std::vector<void *> list(s->book.begin(), s->book.begin() + s->keys / PAGE);
        std::copy_n(s->ends.begin() + i * SPLIT_PAGES, (int)SPLIT_PAGES, list.end() - SPLIT_PAGES);
        s->seq_lists.push_back(to_device(list));
        order.push_back(i);
        if (i < s->n) passes.push_back({i, 1, n_splits - 1, n_splits});
    }
    CHECK_CUDA(cudaFree(s->seq_pages));
    CHECK_CUDA(cudaFree(s->passes));
    CHECK_CUDA(cudaFree(s->order));
    s->seq_pages = to_device(s->seq_lists);
    s->passes = to_device(passes);
    s->order = to_device(order);
}

/* n sequences of so many keys. */
static void set_size(decode_step *s, int64_t keys, int32_t n) {
    s->keys = keys;
    s->n = n;
    share_pages(s);
    CHECK_CUDA(cudaFree(s->positions));
    CHECK_CUDA(cudaFree(s->lengths));
    s->positions = to_device(std::vector<int64_t>(ROWS_MAX, keys - 1));
    s->lengths = to_device(std::vector<int64_t>(ROWS_MAX, keys));
}

/* ---- the parts, as decode_cuda.c has them ---------------------------------------------------- */

static void norm(const decode_step &s, int i) {
    gpu_must(glm_cuda_add_norm(s.hidden, s.update, s.layers[i % N_WEIGHTS].norm, 1e-5f, s.n, HIDDEN,
            s.normed, s.device.compute));
}

static void multiply(const decode_step &s, const glm_cuda_matrix &w, const uint16_t *x, void *y,
        bool is_f32 = false) {
    gpu_must(glm_cuda_linear(s.cublas, &w, x, glm_cuda_decoded(s.n), y, is_f32, s.device.compute));
}

static void append(const decode_step &s, int) {
    const attn_cuda_append_args args = {
            s.qkv, s.n, 0, s.positions, NULL, (void *const *const *)s.seq_pages, s.q};
    gpu_must(attn_cuda_append(&s.shape, &args, s.device.compute));
}

/* Of n sequences a token each, together or not, or of one sequence n tokens. */
static void attend(const decode_step &s, int32_t n_seqs, int32_t n_queries, bool is_together) {
    attn_cuda_decode_args args = {};
    args.q = s.q;
    args.q_stride = HIDDEN;
    args.lengths = s.lengths;
    args.max_tokens = s.keys;
    args.n_seqs = n_seqs;
    args.n_queries = n_queries;
    args.pages = (void *const *const *)s.seq_pages;
    args.attended = s.attended;
    args.tickets = s.tickets;
    args.scratch = s.scratch;
    if (is_together) {
        args.passes = s.passes;
        args.order = s.order;
        args.n_passes = n_seqs + 1;
        args.n_together = n_seqs;
    }
#if HAS_SM90
    gpu_must(attn_cuda_decode_sm90(&s.shape, &args, s.device.compute));
#else
    gpu_must(attn_cuda_decode_sm80(&s.shape, &args, s.device.compute));
#endif
}

static void swiglu(const decode_step &s, int) {
    gpu_must(glm_cuda_swiglu(s.gate_up, s.n, FFN, s.activated, s.device.compute));
}

static void layer(const decode_step &s, int i) {
    const layer_weights &l = s.layers[i % N_WEIGHTS];
    norm(s, i);
    multiply(s, l.qkv, s.normed, s.qkv);
    append(s, i);
    attend(s, s.n, 1, true);
    multiply(s, l.out, s.attended, s.update);
    norm(s, i);
    multiply(s, l.gate_up, s.normed, s.gate_up);
    swiglu(s, i);
    multiply(s, l.down, s.activated, s.update);
}

static void sample(const decode_step &s, int) {
    const glm_cuda_sample_args args = {s.logits, VOCAB, s.n, s.draws, s.drawn};
    gpu_must(glm_cuda_sample(&args, s.device.compute));
}

static void step(const decode_step &s, int) {
    gpu_must(glm_cuda_embed(
            s.layers[0].gate_up.numbers, s.ids, s.n, HIDDEN, s.hidden, s.device.compute));
    for (int i = 0; i < N_LAYERS; i++) layer(s, i);
    norm(s, 0);
    multiply(s, s.head, s.normed, s.logits, true);
    sample(s, 0);
}

/* ---- timing ---------------------------------------------------------------------------------- */

/* work(0), work(1), ... as one graph: milliseconds of one of them. What work reads was filled, cleared and copied on the default
 * stream, for which a non-blocking one does not wait; nor need a copy from pageable memory be over when cudaMemcpy returns
 * (CUDA runtime API, "API synchronization behavior"). */
template <typename WORK> static gpu_times time_in_graph(const decode_step &s, int n, WORK work) {
    cudaGraph_t graph;
    cudaGraphExec_t instance;
    CHECK_CUDA(cudaDeviceSynchronize());
    work(0); /* what libraries set up comes before */
    CHECK_CUDA(cudaStreamSynchronize(s.device.compute));
    CHECK_CUDA(cudaStreamBeginCapture(s.device.compute, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < n; i++) work(i);
    CHECK_CUDA(cudaStreamEndCapture(s.device.compute, &graph));
    CHECK_CUDA(cudaGraphInstantiate(&instance, graph, 0));
    gpu_times t = gpu_time([&] { CHECK_CUDA(cudaGraphLaunch(instance, NULL)); });
    CHECK_CUDA(cudaGraphExecDestroy(instance));
    CHECK_CUDA(cudaGraphDestroy(graph));
    return {t.best_ms / n, t.median_ms / n};
}

/* A part; milliseconds that all of a step's come to are added to *sum. Fewer launches where each takes long. */
template <typename WORK>
static void part(const decode_step &s, const char *name, int n_of_step, double bytes,
        double ceiling, double *sum, WORK work) {
    const int n = (int)std::min((double)N_LAYERS, std::max(4.0, 40e9 / std::max(bytes, 1.0)));
    const gpu_times t = time_in_graph(s, n, work);
    gpu_print(name, s.keys, s.n, t, bytes / 1e9, "GB/s", bytes > 0.0 ? ceiling : 0.0);
    *sum += n_of_step * t.best_ms;
}

static double bytes_of(const glm_cuda_matrix &w) {
    return 2.0 * (double)w.n_out * (double)w.n_in;
}

/* All but attention; milliseconds of a step. */
static double measure_rows(const decode_step &s, double ceiling) {
    const layer_weights *l = s.layers;
    double sum = 0.0;
    part(s, "norm", 2 * N_LAYERS + 1, 0.0, ceiling, &sum, [&](int i) { norm(s, i); });
    part(s, "qkv", N_LAYERS, bytes_of(l->qkv), ceiling, &sum,
            [&](int i) { multiply(s, l[i % N_WEIGHTS].qkv, s.normed, s.qkv); });
    part(s, "append", N_LAYERS, 0.0, ceiling, &sum, [&](int i) { append(s, i); });
    part(s, "out", N_LAYERS, bytes_of(l->out), ceiling, &sum,
            [&](int i) { multiply(s, l[i % N_WEIGHTS].out, s.attended, s.update); });
    part(s, "gate_up", N_LAYERS, bytes_of(l->gate_up), ceiling, &sum,
            [&](int i) { multiply(s, l[i % N_WEIGHTS].gate_up, s.normed, s.gate_up); });
    part(s, "swiglu", N_LAYERS, 0.0, ceiling, &sum, [&](int i) { swiglu(s, i); });
    part(s, "down", N_LAYERS, bytes_of(l->down), ceiling, &sum,
            [&](int i) { multiply(s, l[i % N_WEIGHTS].down, s.activated, s.update); });
    part(s, "head", 1, bytes_of(s.head), ceiling, &sum,
            [&](int) { multiply(s, s.head, s.normed, s.logits, true); });
    part(s, "sample", 1, 0.0, ceiling, &sum, [&](int i) { sample(s, i); });
    return sum;
}

static void measure_step(const decode_step &s, double rows_ms, double ceiling) {
    const double key_bytes = 2.0 * 2.0 * KV_HEADS * DIM, all_bytes = key_bytes * (double)s.keys;
    const double kv_bytes = all_bytes + (s.n - 1) * key_bytes * ATTN_SPLIT_TOKENS;
    double ms = rows_ms, aside = 0.0, bytes = 0.0;
    part(s, "attention", N_LAYERS, kv_bytes, ceiling, &ms, [&](int) { attend(s, s.n, 1, true); });
    if (s.n > 1) {
        part(s, "attention, each by itself", 0, s.n * all_bytes, ceiling, &aside,
                [&](int) { attend(s, s.n, 1, false); });
        part(s, "attention of one sequence's tokens", 0, all_bytes, ceiling, &aside,
                [&](int) { attend(s, 1, s.n, false); });
    }
    const layer_weights &l = s.layers[0];
    const double layer_bytes =
            bytes_of(l.qkv) + bytes_of(l.out) + bytes_of(l.gate_up) + bytes_of(l.down) + kv_bytes;
    part(s, "layer", 0, layer_bytes, ceiling, &aside, [&](int i) { layer(s, i); });
    bytes = N_LAYERS * layer_bytes + bytes_of(s.head);
    const gpu_times t = time_in_graph(s, 1, [&](int i) { step(s, i); });
    gpu_print("step", s.keys, s.n, t, bytes / 1e9, "GB/s", ceiling);
    printf("# a step of %d at %lld keys: %.3f ms, its parts each by itself %.3f, its bytes at "
           "the copy's "
           "speed %.3f\n",
            s.n, (long long)s.keys, t.best_ms, ms, bytes / 1e6 / ceiling);
    fflush(stdout);
}

/* ---- the link to the host -------------------------------------------------------------------- */

static void measure_link(int64_t piece_bytes) {
    const int64_t bytes = (int64_t)512 << 20;
    char *device = gpu_take<char>(2 * bytes), *host = NULL;
    cudaStream_t in, out;
    CHECK_CUDA(cudaHostAlloc((void **)&host, (size_t)(2 * bytes), cudaHostAllocDefault));
    CHECK_CUDA(cudaStreamCreate(&in)); /* which the events of the default stream wait for */
    CHECK_CUDA(cudaStreamCreate(&out));
    const auto copy = [&](bool is_in, bool is_out) {
        for (int64_t at = 0; at < bytes; at += piece_bytes) {
            if (is_in)
                CHECK_CUDA(cudaMemcpyAsync(
                        device + at, host + at, (size_t)piece_bytes, cudaMemcpyHostToDevice, in));
            if (is_out)
                CHECK_CUDA(cudaMemcpyAsync(host + bytes + at, device + bytes + at,
                        (size_t)piece_bytes, cudaMemcpyDeviceToHost, out));
        }
    };
    const auto print = [&](const char *what, bool is_in, bool is_out) {
        gpu_print(what, piece_bytes, 0, gpu_time([&] { copy(is_in, is_out); }),
                (is_in + is_out) * (double)bytes / 1e9, "GB/s", 0.0);
    };
    print("from pinned host memory", true, false);
    print("to pinned host memory", false, true);
    print("both ways", true, true);
    CHECK_CUDA(cudaFreeHost(host));
    CHECK_CUDA(cudaFree(device));
}

int main() {
    gpu_print_machine("a decode step of the 9B shape, part by part");
    measure_link((int64_t)1 << 20);
    measure_link((int64_t)64 << 20);
    static decode_step s;
    make_step(&s);
    const double ceiling = gpu_copy_ceiling();
    for (const int32_t n : {1, 2, 4, 16}) {
        set_size(&s, KEYS_MAX / 8, n);
        const double rows_ms = measure_rows(s, ceiling);
        for (const int64_t keys : {(int64_t)KEYS_MAX / 8, (int64_t)KEYS_MAX}) {
            set_size(&s, keys, n);
            measure_step(s, rows_ms, ceiling);
        }
    }
    return 0;
}

/* How long does a complete layer of the 9B shape take at a million positions, and so all 40?
 *
 *   sh tests/gpu.sh bench_cuda_layer
 *
 * Hidden 4096, 32 query heads over 4 KV heads of 128, 13696 in between; chunks of 8448 tokens. For each of five
 * positions a chunk goes through a whole layer, its parts timed apart: norms, products, rotation and append,
 * attention over everything before, swiglu. Products are cuBLAS's, without the bias of q, k and v.
 *
 * Linear layers stand beside the best square product twice: as it is measured first, on a chip that is cool, which is what
 * the table's last column is of; and behind the same attention as they are (product_here), at the clock that this has left.
 *
 * The total is derived so: a part's time at each of the 125 chunks of 2^20 tokens is read from the straight lines
 * between the positions measured (attention grows with position, nothing else should), added up, and taken 40
 * times. Embedding, logits and sampling come once and are left out. Then, where 24 GiB are free, the whole
 * layer's attention of 2^20 query tokens is run in one launch and printed beside its part of the total. */
#include "attention/attn_cuda.h"
#include "runtime/ops_cuda.h"

#include "help_9b.cuh"
#include "help_gpu.cuh"

enum {
    CHUNK = 8448,
    TOKENS = 1 << 20,
    N_CHUNKS = (TOKENS + CHUNK - 1) / CHUNK,
    N_POSITIONS = 5,
    N_RUNS = 3,
    SQUARE_MAX = 16384
};

enum part { NORMS, LINEAR, APPEND, ATTENTION, SWIGLU, N_PARTS };
static const char *const part_names[N_PARTS] = {"norms", "linear", "append", "attention", "swiglu"};

struct chunk_layer {
    attn_shape shape;
    gpu_blas blas;
    uint16_t *w_qkv, *w_out, *w_gate_up, *w_down, *w_norm;
    uint16_t *hidden, *normed, *qkv, *q, *attended, *update, *gate_up, *ffn;
    uint16_t *square[3]; /* two factors of SQUARE_MAX by SQUARE_MAX, and their product */
    void **pages;        /* of TOKENS */
    std::vector<cudaEvent_t> events;
    std::vector<part> order; /* parts, in the order in which events end them */
};

static chunk_layer make_layer() {
    chunk_layer l = {};
    l.shape = {HEADS, KV_HEADS, DIM, 64, 1e8, RT_BF16};
    l.blas = gpu_open_blas();
    const int64_t n = CHUNK;
    l.w_qkv = gpu_take_filled((int64_t)QKV * HIDDEN);
    l.w_out = gpu_take_filled((int64_t)HIDDEN * HIDDEN);
    l.w_gate_up = gpu_take_filled((int64_t)2 * FFN * HIDDEN);
    l.w_down = gpu_take_filled((int64_t)HIDDEN * FFN);
    l.w_norm = gpu_take_filled(HIDDEN);
    l.hidden = gpu_take_filled(n * HIDDEN);
    l.normed = gpu_take<uint16_t>(n * HIDDEN);
    l.qkv = gpu_take<uint16_t>(n * QKV);
    l.q = gpu_take<uint16_t>(n * HIDDEN);
    l.attended = gpu_take<uint16_t>(n * HIDDEN);
    l.update = gpu_take_filled(n * HIDDEN);
    l.gate_up = gpu_take<uint16_t>(n * 2 * FFN);
    l.ffn = gpu_take<uint16_t>(n * FFN);
    for (uint16_t *&matrix : l.square) matrix = gpu_take_filled((int64_t)SQUARE_MAX * SQUARE_MAX);
    const int64_t page_bytes = attn_cuda_page_bytes(&l.shape), n_pages = TOKENS / 128 + CHUNK / 128;
    char *kv = (char *)gpu_take_filled(n_pages * page_bytes / 2);
    std::vector<void *> list;
    for (int64_t i = 0; i < n_pages; i++) list.push_back(kv + i * page_bytes);
    l.pages = gpu_take<void *>(n_pages);
    CHECK_CUDA(
            cudaMemcpy(l.pages, list.data(), list.size() * sizeof(void *), cudaMemcpyHostToDevice));
    for (int i = 0; i < 16; i++) {
        l.events.emplace_back();
        CHECK_CUDA(cudaEventCreate(&l.events.back()));
    }
    return l;
}

static void ends(chunk_layer *l, part which) {
    l->order.push_back(which);
    CHECK_CUDA(cudaEventRecord(l->events[l->order.size()]));
}

static rt_status attend(
        const chunk_layer &l, const uint16_t *q, uint16_t *out, int64_t n, int64_t pos) {
    attn_cuda_prefill_args args = {};
    args.q = q;
    args.q_stride = HIDDEN;
    args.n_tokens = n;
    args.pos = pos;
    args.pages = l.pages;
    args.n_keys = pos + n;
    args.attended = out;
    args.is_first = args.is_last = true;
#if HAS_SM90
    return attn_cuda_prefill_sm90(&l.shape, &args, NULL);
#else
    return attn_cuda_prefill_sm80(&l.shape, &args, NULL);
#endif
}

/* One chunk at pos through the layer; milliseconds of each part are added to ms. */
static void run(chunk_layer *l, int64_t pos, double *ms) {
    const int n = CHUNK;
    l->order.clear();
    CHECK_CUDA(cudaEventRecord(l->events[0]));
    gpu_must(glm_cuda_add_norm(l->hidden, l->update, l->w_norm, 1e-5f, n, HIDDEN, l->normed, NULL));
    ends(l, NORMS);
    gpu_multiply(l->blas, l->w_qkv, l->normed, l->qkv, n, QKV, HIDDEN);
    ends(l, LINEAR);
    const attn_cuda_append_args append = {l->qkv, n, pos, NULL, l->pages + pos / 128, NULL, l->q};
    gpu_must(attn_cuda_append(&l->shape, &append, NULL));
    ends(l, APPEND);
    gpu_must(attend(*l, l->q, l->attended, n, pos));
    ends(l, ATTENTION);
    gpu_multiply(l->blas, l->w_out, l->attended, l->update, n, HIDDEN, HIDDEN);
    ends(l, LINEAR);
    gpu_must(glm_cuda_add_norm(l->hidden, l->update, l->w_norm, 1e-5f, n, HIDDEN, l->normed, NULL));
    ends(l, NORMS);
    gpu_multiply(l->blas, l->w_gate_up, l->normed, l->gate_up, n, 2 * FFN, HIDDEN);
    ends(l, LINEAR);
    gpu_must(glm_cuda_swiglu(l->gate_up, n, FFN, l->ffn, NULL));
    ends(l, SWIGLU);
    gpu_multiply(l->blas, l->w_down, l->ffn, l->update, n, HIDDEN, FFN);
    ends(l, LINEAR);
    CHECK_CUDA(cudaEventSynchronize(l->events[l->order.size()]));
    for (size_t i = 0; i < l->order.size(); i++) {
        float part_ms = 0.0f;
        CHECK_CUDA(cudaEventElapsedTime(&part_ms, l->events[i], l->events[i + 1]));
        ms[l->order[i]] += (double)part_ms;
    }
}

/* Milliseconds of one of n_launches square products behind a chunk's attention at pos: the mean of as many runs as the
 * layer has. */
static double square_behind_attention(chunk_layer *l, int64_t pos, int n, int n_launches) {
    double sum = 0.0;
    for (int r = 0; r < N_RUNS; r++) {
        float ms = 0.0f;
        gpu_must(attend(*l, l->q, l->attended, CHUNK, pos));
        CHECK_CUDA(cudaEventRecord(l->events[0]));
        for (int i = 0; i < n_launches; i++)
            gpu_multiply(l->blas, l->square[0], l->square[1], l->square[2], n, n, n);
        CHECK_CUDA(cudaEventRecord(l->events[1]));
        CHECK_CUDA(cudaEventSynchronize(l->events[1]));
        CHECK_CUDA(cudaEventElapsedTime(&ms, l->events[0], l->events[1]));
        sum += (double)ms / n_launches;
    }
    return sum / N_RUNS;
}

/* TFLOP/s of the best square product where linear layers are: behind the attention at pos. Products of 8192 are launched
 * three at a time, which take as long as a layer's. */
static double ceiling_here(chunk_layer *l, int64_t pos, double cool_ceiling) {
    double ceiling = 0.0;
    for (const int n : {8192, (int)SQUARE_MAX}) {
        const double ms = square_behind_attention(l, pos, n, n < SQUARE_MAX ? 3 : 1),
                     tflop = 2.0 * n * n * n / 1e12;
        ceiling = std::max(ceiling, tflop * 1e3 / ms);
        gpu_print("product_here", pos + CHUNK, n, {ms, ms}, tflop, "TFLOP/s", cool_ceiling);
    }
    return ceiling;
}

/* On the straight lines between (pos[i], ms[i]). */
static double between(const int64_t *pos, const double *ms, int64_t at) {
    int i = 0;
    while (i + 2 < N_POSITIONS && at > pos[i + 1]) i++;
    return ms[i] + (ms[i + 1] - ms[i]) * (double)(at - pos[i]) / (double)(pos[i + 1] - pos[i]);
}

static void whole_attention(const chunk_layer &l, double derived_s) {
    size_t free_bytes = 0, all_bytes = 0;
    CHECK_CUDA(cudaMemGetInfo(&free_bytes, &all_bytes));
    const int64_t numbers = (int64_t)TOKENS * HIDDEN;
    if ((int64_t)free_bytes < 2 * numbers * 2 + ((int64_t)2 << 30)) {
        printf("# the whole layer's attention was not run: %.1f GiB are free\n",
                (double)free_bytes / 0x1p30);
        return;
    }
    uint16_t *q = gpu_take_filled(numbers), *out = gpu_take<uint16_t>(numbers);
    cudaEvent_t begin, end;
    float ms = 0.0f;
    CHECK_CUDA(cudaEventCreate(&begin));
    CHECK_CUDA(cudaEventCreate(&end));
    CHECK_CUDA(cudaEventRecord(begin));
    gpu_must(attend(l, q, out, TOKENS, 0));
    CHECK_CUDA(cudaEventRecord(end));
    CHECK_CUDA(cudaEventSynchronize(end));
    CHECK_CUDA(cudaEventElapsedTime(&ms, begin, end));
    const double tflop = 4.0 * DIM * HEADS * ((double)TOKENS * (TOKENS + 1.0) / 2.0) / 1e12;
    printf("# a whole layer's attention at once: %.3f s, %.1f TFLOP/s, once; by its chunks %.3f "
           "s\n",
            (double)ms / 1e3, tflop * 1e3 / (double)ms, derived_s);
}

int main() {
    gpu_print_machine("a layer of the 9B shape, chunks of 8448 tokens");
    chunk_layer l = make_layer();
    if (!l.blas.multiply) return 77;
    const double ceiling = gpu_product_ceiling(l.blas);
    const int64_t last = (int64_t)(N_CHUNKS - 1) * CHUNK;
    const int64_t pos[N_POSITIONS] = {
            0, last / 8 / CHUNK * CHUNK, last / 4 / CHUNK * CHUNK, last / 2 / CHUNK * CHUNK, last};
    double ms[N_PARTS][N_POSITIONS] = {};
    const double linear_tflop = 2.0 * CHUNK * HIDDEN * ((double)QKV + HIDDEN + 3.0 * FFN) / 1e12;
    for (int i = 0; i < N_POSITIONS; i++) {
        double warmup[N_PARTS] = {}, sum[N_PARTS] = {};
        run(&l, pos[i], warmup);
        for (int r = 0; r < N_RUNS; r++) run(&l, pos[i], sum);
        const double keys = (double)pos[i] + (CHUNK + 1) / 2.0;
        for (int part = 0; part < N_PARTS; part++) {
            ms[part][i] = sum[part] / N_RUNS;
            const double tflop = part == LINEAR      ? linear_tflop
                                 : part == ATTENTION ? 4.0 * DIM * HEADS * CHUNK * keys / 1e12
                                                     : 0.0;
            gpu_print(part_names[part], pos[i] + CHUNK, CHUNK, {ms[part][i], ms[part][i]}, tflop,
                    "TFLOP/s", ceiling);
        }
        const double linear = linear_tflop * 1e3 / ms[LINEAR][i],
                     here = ceiling_here(&l, pos[i], ceiling);
        printf("# linear,%lld: of the best product behind the same attention %.3f, of the cool chip's %.3f\n",
                (long long)(pos[i] + CHUNK), linear / here, linear / ceiling);
        fflush(stdout);
    }
    double total = 0.0, of_part[N_PARTS] = {};
    for (int part = 0; part < N_PARTS; part++) {
        for (int chunk = 0; chunk < N_CHUNKS; chunk++)
            of_part[part] += between(pos, ms[part], (int64_t)chunk * CHUNK) / 1e3;
        total += of_part[part];
    }
    for (int part = 0; part < N_PARTS; part++)
        printf("# %s: %.3f s a layer, %.1f %%\n", part_names[part], of_part[part],
                100.0 * of_part[part] / total);
    printf("# derived: 2^20 tokens through %d layers in %.1f s = %d x %.3f s (%d chunks, each read "
           "from the "
           "lines between %d measured positions; mean of %d runs after 1)\n",
            (int)N_LAYERS, N_LAYERS * total, (int)N_LAYERS, total, (int)N_CHUNKS, (int)N_POSITIONS,
            (int)N_RUNS);
    fflush(stdout);
    whole_attention(l, of_part[ATTENTION]);
    return 0;
}

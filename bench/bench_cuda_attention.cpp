/* How fast are the attention kernels on this GPU, beside what it multiplies and copies in the same run?
 *
 *   sh tests/gpu.sh bench_cuda_attention
 *   build-gpu/bench_cuda_attention [chunk|tiles|causal|dense|steady|prefill|decode|forks|apart [KEYS [QUERIES]]]     only those, to profile say
 *
 * The 1M model's shape, one layer: 32 query heads over 4 KV heads of 128 dims. CSV on stdout, line by line;
 * FLOPs are counted exactly, 4 x 128 for each (row, visible key), and decode by the bytes of K and V:
 *
 *   causal  `keys` query tokens, the whole prompt            share of the best square product
 *   chunk   8448 query tokens, the last at position keys
 *   tiles   the same number of rows and keys as 8 to 128 tiles an SM (of 132): what the change of a tile costs
 *   dense   8448 query tokens behind all of the keys
 *   steady  the same for seconds on end, by the Hopper kernel: a launch behind the other for a second, untimed, then for some
 *           0.7 s in four groups, whose best and median these are; what is flat over the keys is flat here, for all of these
 *           lines, unlike those of 10 ms behind a rest, run at the clock that the chip's power leaves
 *   decode  1, 4, 8, 16 query tokens over all keys           share of the copy; L2 is cold; by both kernels
 *   decode_fp8  the same over e4m3 pages, half the bytes: those numbers, sealed
 *   forks   2, 4, 8, 16, 32 questions on a book of as many keys, a token each, who read it in one pass but for its last
 *           4096 keys; bytes are the book's, once     share of the copy; L2 is cold; by both kernels
 *   apart   16 such questions, each of which reads it all
 *
 * In front of each other line of a Hopper prefill a second's rest, but where KEYS are named. Behind each its clock and its
 * share of what the tensor cores do at that clock: a GPU at its power limit, or hot from what ran before, has less of it. Behind
 * a line of decode its clock, which ranged over 15 % between runs of one program on an H200.
 *
 * The same shapes as bench_cuda_sdpa.py, beside which they are printed. Kernels are not checked here: the
 * tests do that. */
#include "attention/attn_cuda.h"

#include "help_gpu.cuh"

enum { HEADS = 32, KV_HEADS = 4, DIM = 128, CHUNK = 8448, QUERIES_MAX = 131072 };

/* What was asked for; by default everything. */
static struct {
    const char *name;
    int64_t keys, queries;
} only;

static bool is_asked(const char *name, int64_t keys, int64_t queries) {
    if (only.name && strcmp(only.name, name) != 0 &&
            (strcmp(only.name, "prefill") != 0 || strcmp(name, "decode") == 0 ||
                    strcmp(name, "forks") == 0 || strcmp(name, "apart") == 0))
        return false;
    return (!only.keys || only.keys == keys) && (!only.queries || only.queries == queries);
}

struct layer {
    attn_shape shape;
    int64_t keys_max;
    void **pages;
    void **sealed; /* e4m3 pages of what those hold; the last is as it is, open */
    uint16_t *q, *out;
};

/* A scale that no sealing makes (of a sign, or no power of two), or codes that are NaN, would be other work. */
static void **seal_pages(const attn_shape &shape, void **pages, int64_t n_pages) {
    const int64_t page_bytes = attn_cuda_fp8_page_bytes(&shape);
    char *codes = gpu_take<char>(n_pages * page_bytes);
    std::vector<void *> list;
    for (int64_t i = 0; i < n_pages; i++) list.push_back(codes + i * page_bytes);
    void **sealed = gpu_take<void *>(n_pages);
    CHECK_CUDA(cudaMemcpy(sealed, list.data(), list.size() * sizeof(void *), cudaMemcpyHostToDevice));
    const attn_cuda_seal_args args = {pages, sealed, n_pages};
    gpu_must(attn_cuda_seal_fp8(&shape, &args, NULL));
    CHECK_CUDA(cudaDeviceSynchronize());
    return sealed;
}

static layer make_layer() {
    layer l = {{HEADS, KV_HEADS, DIM, 64, 1e8, RT_BF16}, (int64_t)1 << 20, NULL, NULL, NULL, NULL};
    size_t free_bytes = 0, all_bytes = 0;
    CHECK_CUDA(cudaMemGetInfo(&free_bytes, &all_bytes));
    const int64_t page_bytes = attn_cuda_page_bytes(&l.shape);
    while (l.keys_max / 128 * page_bytes > (int64_t)free_bytes / 4) l.keys_max /= 2;
    char *kv = (char *)gpu_take_filled(l.keys_max / 128 * page_bytes / 2);
    std::vector<void *> list;
    for (int64_t i = 0; i < l.keys_max / 128; i++) list.push_back(kv + i * page_bytes);
    l.pages = gpu_take<void *>(l.keys_max / 128);
    CHECK_CUDA(
            cudaMemcpy(l.pages, list.data(), list.size() * sizeof(void *), cudaMemcpyHostToDevice));
    l.sealed = seal_pages(l.shape, l.pages, l.keys_max / 128);
    l.q = gpu_take_filled((int64_t)QUERIES_MAX * HEADS * DIM);
    l.out = gpu_take<uint16_t>((int64_t)QUERIES_MAX * HEADS * DIM);
    return l;
}

#if HAS_SM90
/* An SM's multiplications and additions of bf16 a cycle. */
#define SM90_FLOP_PER_CYCLE 4096.0

static int sm_count() {
    int n = 0;
    CHECK_CUDA(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, 0));
    return n;
}

static void print_clock(const char *name, int64_t keys, gpu_times t, double tflop) {
    if (t.mhz <= 0.0) return;
    printf("# %s,%lld: %.0f MHz, %.3f of the tensor cores (median)\n", name, (long long)keys, t.mhz,
            tflop * 1e12 / (SM90_FLOP_PER_CYCLE * sm_count() * t.mhz * 1e3 * t.median_ms));
    fflush(stdout);
}
#endif

static attn_cuda_prefill_args prefill_args(
        const layer &l, int64_t tokens, int64_t pos, int64_t keys) {
    attn_cuda_prefill_args args = {};
    args.q = l.q;
    args.q_stride = HEADS * DIM;
    args.n_tokens = tokens;
    args.pos = pos;
    args.pages = l.pages;
    args.n_keys = keys;
    args.attended = l.out;
    args.is_first = args.is_last = true;
    return args;
}

static double prefill_tflop(int64_t tokens, int64_t pos, int64_t keys) {
    const double visible = pos >= keys
                                   ? (double)tokens * (double)keys
                                   : (double)tokens * ((double)pos + (double)(tokens + 1) / 2.0);
    return 4.0 * DIM * HEADS * visible / 1e12;
}

/* Query tokens at pos and on over `keys` keys, by both kernels. Times of the one for Hopper, where there is one. */
static gpu_times prefill(const layer &l, const char *name, int64_t tokens, int64_t pos,
        int64_t keys, double ceiling) {
    gpu_times sm90 = {};
    if (!is_asked(name, keys, tokens)) return sm90;
    const attn_cuda_prefill_args args = prefill_args(l, tokens, pos, keys);
    const double tflop = prefill_tflop(tokens, pos, keys);
    char text[32];
#if HAS_SM90
    if (!only.keys && strcmp(name, "tiles") != 0) gpu_rest();
    snprintf(text, sizeof text, "%s_sm90", name);
    sm90 = gpu_time([&] { gpu_must(attn_cuda_prefill_sm90(&l.shape, &args, NULL)); });
    gpu_print(text, keys, tokens, sm90, tflop, "TFLOP/s", ceiling);
    print_clock(text, keys, sm90, tflop);
    if (tflop > 60.0 || strcmp(name, "tiles") == 0)
        return sm90; /* the other kernel at short and middle lengths only: time is dear */
#endif
    snprintf(text, sizeof text, "%s_sm80", name);
    gpu_print(text, keys, tokens,
            gpu_time([&] { gpu_must(attn_cuda_prefill_sm80(&l.shape, &args, NULL)); }), tflop,
            "TFLOP/s", ceiling);
    return sm90;
}

#if HAS_SM90
/* Equal work, cut into fewer and longer or more and shorter tiles. 4224 tokens of 32 heads are 8 tiles of 128 rows for
 * each of 132 SMs. */
static void tiles(const layer &l, double ceiling) {
    enum { FEWEST = 8, MOST = 128, TOKENS = 4224, KEYS = 32768, PAGE = 128 };
    double fewest = 0.0, most = 0.0, page = 0.0; /* cycles */
    for (int n = FEWEST; n <= MOST; n *= 2) {
        const int64_t tokens = TOKENS * n / FEWEST, keys = KEYS * FEWEST / n;
        const gpu_times t = prefill(l, "tiles", tokens, keys, keys, ceiling);
        const double cycles = t.median_ms * t.mhz * 1e3;
        if (n == FEWEST) fewest = cycles, page = cycles / (KEYS / PAGE * FEWEST);
        if (n == MOST) most = cycles;
    }
    if (fewest > 0.0 && most > 0.0)
        printf("# a page takes %.0f cycles of an SM, the change from a tile to the next %.0f\n",
                page, (most - fewest) / (MOST - FEWEST));
}
#endif

#if HAS_SM90
/* A chunk behind all of the keys, without a pause. */
static void steady(const layer &l, int64_t keys, double ceiling) {
    if (!is_asked("steady", keys, CHUNK)) return;
    const attn_cuda_prefill_args args = prefill_args(l, CHUNK, keys, keys);
    const double tflop = prefill_tflop(CHUNK, keys, keys);
    const gpu_times t =
            gpu_time_on_end([&] { gpu_must(attn_cuda_prefill_sm90(&l.shape, &args, NULL)); });
    gpu_print("steady_sm90", keys, CHUNK, t, tflop, "TFLOP/s", ceiling);
    print_clock("steady_sm90", keys, t, tflop);
}
#endif

typedef rt_status decode_kernel(const attn_shape *, const attn_cuda_decode_args *, rt_stream);

template <typename T> static T *to_device(const std::vector<T> &numbers) {
    T *at = gpu_take<T>((int64_t)numbers.size());
    CHECK_CUDA(cudaMemcpy(at, numbers.data(), numbers.size() * sizeof(T), cudaMemcpyHostToDevice));
    return at;
}

/* Memory of a call. */
struct decode_call {
    attn_cuda_decode_args args;
    std::vector<void *> taken;
    template <typename T> T *take(const std::vector<T> &numbers) {
        taken.push_back(to_device(numbers));
        return (T *)taken.back();
    }
    ~decode_call() {
        for (void *at : taken) CHECK_CUDA(cudaFree(at));
    }
};

/* n sequences of one book, whose last page each has for itself. is_fp8: the sealed pages, the last one open. */
static void set_sequences(
        const layer &l, int64_t keys, int n, int queries, bool is_fp8, decode_call *call) {
    const int64_t n_pages = keys / 128, page_bytes = attn_cuda_page_bytes(&l.shape);
    std::vector<void *> book((size_t)n_pages);
    std::vector<void *const *> lists, open;
    CHECK_CUDA(cudaMemcpy(book.data(), is_fp8 ? l.sealed : l.pages, book.size() * sizeof(void *),
            cudaMemcpyDeviceToHost));
    if (is_fp8)
        CHECK_CUDA(cudaMemcpy(&book.back(), l.pages + n_pages - 1, sizeof(void *), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        if (n > 1) {
            call->taken.push_back(gpu_take_filled(page_bytes / 2));
            book.back() = call->taken.back();
        }
        lists.push_back(call->take(book));
        open.push_back(lists.back() + (keys - queries) / 128);
    }
    attn_cuda_decode_args *args = &call->args;
    const int64_t ticket_bytes = attn_cuda_decode_ticket_bytes(&l.shape, n);
    *args = {};
    args->q = l.q;
    args->q_stride = HEADS * DIM;
    args->lengths = call->take(std::vector<int64_t>((size_t)n, keys));
    args->max_tokens = keys;
    args->n_seqs = n;
    args->n_queries = queries;
    args->pages = call->take(lists);
    args->open_pages = is_fp8 ? call->take(open) : NULL;
    args->attended = l.out;
    args->tickets = (uint32_t *)call->take(std::vector<char>((size_t)ticket_bytes, 0));
    args->scratch = gpu_take<char>(attn_cuda_decode_scratch_bytes(&l.shape, keys, n, queries));
    call->taken.push_back(args->scratch);
}

/* All splits but the last in one pass. */
static void set_passes(int64_t keys, int n, decode_call *call) {
    const int32_t n_splits = (int32_t)(keys / ATTN_SPLIT_TOKENS);
    std::vector<attn_cuda_pass> passes = {{0, n, 0, n_splits - 1}};
    std::vector<int32_t> order;
    for (int32_t i = 0; i < n; i++) {
        passes.push_back({i, 1, n_splits - 1, n_splits});
        order.push_back(i);
    }
    call->args.passes = call->take(passes);
    call->args.order = call->take(order);
    call->args.n_passes = (int32_t)passes.size();
    call->args.n_together = n;
}

/* As the program's: nobody has said that a kernel begins early on the default stream, too. */
static cudaStream_t stream_of_decode() {
    static cudaStream_t stream = NULL;
    if (!stream) CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

/* A token of each of n sequences, or `queries` of one. */
static void decode(const layer &l, const char *what, const char *name, decode_kernel *kernel,
        int64_t keys, int n, int queries, bool is_fp8, double ceiling) {
    if (!is_asked(what, keys, n * queries)) return;
    const cudaStream_t stream = stream_of_decode();
    decode_call call;
    set_sequences(l, keys, n, queries, is_fp8, &call);
    if (strcmp(what, "forks") == 0) set_passes(keys, n, &call);
    char text[32];
    snprintf(text, sizeof text, "%s%s_%s", what, is_fp8 ? "_fp8" : "", name);
    const gpu_times t =
            gpu_time([&] { gpu_must(kernel(&l.shape, &call.args, stream)); }, true, 5, stream);
    gpu_print(text, keys, n * queries, t,
            (double)keys * KV_HEADS * 2 * DIM * (is_fp8 ? 1 : 2) / 1e9, "GB/s", ceiling);
    /* What is not bound by memory is as fast as the clock, which what ran before has left. */
    if (t.mhz > 0.0) printf("# %s,%lld,%d: %.0f MHz\n", text, (long long)keys, n * queries, t.mhz);
}

static void decode_by_both(const layer &l, const char *what, int64_t keys, int n, int queries,
        bool is_fp8, double ceiling) {
#if HAS_SM90
    decode(l, what, "sm90", attn_cuda_decode_sm90, keys, n, queries, is_fp8, ceiling);
#endif
    decode(l, what, "sm80", attn_cuda_decode_sm80, keys, n, queries, is_fp8, ceiling);
}

int main(int argc, char **argv) {
    if (argc > 1) only.name = argv[1];
    if (argc > 2) only.keys = atoll(argv[2]);
    if (argc > 3) only.queries = atoll(argv[3]);
    gpu_print_machine("attention, one layer of 32 query heads over 4 KV heads");
    if (HAS_SM90 && !only.keys)
        printf("# a second's rest in front of each prefill by the Hopper kernel: what it does without is in the lines of steady_sm90\n");
    const layer l = make_layer();
    const double copy = gpu_copy_ceiling();
    const double product = gpu_product_ceiling(gpu_open_blas());
    /* What matters most first: a run may be cut short. */
    for (const int64_t keys : {16384, 65536, 131072, 1048576})
        if (keys <= l.keys_max) prefill(l, "chunk", CHUNK, keys - CHUNK, keys, product);
#if HAS_SM90
    tiles(l, product);
#endif
    for (int64_t keys = l.keys_max; keys >= 65536; keys /= 4) {
        for (const int n : {16, 2, 4, 8, 32})
            for (const bool is_fp8 : {false, true})
                decode_by_both(l, "forks", keys, n, 1, is_fp8, copy);
        if (keys < l.keys_max) decode_by_both(l, "apart", keys, 16, 1, false, copy);
    }
    for (int64_t keys = l.keys_max; keys >= 16384; keys /= 4)
        for (const int queries : {16, 1, 8, 4})
            for (const bool is_fp8 : {false, true})
                decode_by_both(l, "decode", keys, 1, queries, is_fp8, copy);
    for (int64_t keys = 8192; keys <= QUERIES_MAX; keys *= 2)
        prefill(l, "causal", keys, 0, keys, product);
    for (int64_t keys = 8192; keys <= l.keys_max; keys *= 2)
        prefill(l, "dense", CHUNK, keys, keys, product);
#if HAS_SM90
    for (int64_t keys = 65536; keys <= l.keys_max; keys *= 2) steady(l, keys, product);
#endif
    return 0;
}

/* How fast are the attention kernels on this GPU, beside what it multiplies and copies in the same run?
 *
 *   sh tests/gpu.sh bench_cuda_attention
 *   build-gpu/bench_cuda_attention [chunk|tiles|causal|dense|prefill|decode [KEYS [QUERIES]]]     only those, to profile say
 *
 * The 1M model's shape, one layer: 32 query heads over 4 KV heads of 128 dims. CSV on stdout, line by line;
 * FLOPs are counted exactly, 4 x 128 for each (row, visible key), and decode by the bytes of K and V:
 *
 *   causal  `keys` query tokens, the whole prompt            share of the best square product
 *   chunk   8448 query tokens, the last at position keys
 *   tiles   the same number of rows and keys as 8 to 128 tiles an SM (of 132): what the change of a tile costs
 *   dense   8448 query tokens behind all of the keys
 *   decode  1, 4, 8, 16 query tokens over all keys           share of the copy; L2 is cold; by both kernels
 *   decode_fp8  the same over e4m3 pages, half the bytes
 *
 * Behind each line of a Hopper prefill its clock and its share of what the tensor cores do at that clock: a GPU at its
 * power limit, or hot from what ran before, has less of it.
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
            (strcmp(only.name, "prefill") != 0 || strcmp(name, "decode") == 0))
        return false;
    return (!only.keys || only.keys == keys) && (!only.queries || only.queries == queries);
}

struct layer {
    attn_shape shape;
    int64_t keys_max;
    void **pages;
    uint16_t *q, *out;
};

static layer make_layer() {
    layer l = {{HEADS, KV_HEADS, DIM, 64, 1e8, RT_BF16}, (int64_t)1 << 20, NULL, NULL, NULL};
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

/* Query tokens at pos and on over `keys` keys, by both kernels. Times of the one for Hopper, where there is one. */
static gpu_times prefill(const layer &l, const char *name, int64_t tokens, int64_t pos, int64_t keys,
        double ceiling) {
    gpu_times sm90 = {};
    if (!is_asked(name, keys, tokens)) return sm90;
    attn_cuda_prefill_args args = {};
    args.q = l.q;
    args.q_stride = HEADS * DIM;
    args.n_tokens = tokens;
    args.pos = pos;
    args.pages = l.pages;
    args.n_keys = keys;
    args.attended = l.out;
    args.is_first = args.is_last = true;
    const double visible = pos >= keys
                                   ? (double)tokens * (double)keys
                                   : (double)tokens * ((double)pos + (double)(tokens + 1) / 2.0);
    const double tflop = 4.0 * DIM * HEADS * visible / 1e12;
    char text[32];
#if HAS_SM90
    snprintf(text, sizeof text, "%s_sm90", name);
    sm90 = gpu_time([&] { gpu_must(attn_cuda_prefill_sm90(&l.shape, &args, NULL)); });
    gpu_print(text, keys, tokens, sm90, tflop, "TFLOP/s", ceiling);
    print_clock(text, keys, sm90, tflop);
    if (tflop > 60.0 || strcmp(name, "tiles") == 0) return sm90; /* the other kernel at short and middle lengths only: time is dear */
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
        printf("# a page takes %.0f cycles of an SM, the change from a tile to the next %.0f\n", page,
                (most - fewest) / (MOST - FEWEST));
}
#endif

typedef rt_status decode_kernel(const attn_shape *, const attn_cuda_decode_args *, rt_stream);

/* is_fp8: the same memory, taken for codes; its last page for the query's own. */
static void decode(const layer &l, const char *name, decode_kernel *kernel, int64_t keys,
        int queries, bool is_fp8, double ceiling) {
    if (!is_asked("decode", keys, queries)) return;
    int64_t *lengths = gpu_take<int64_t>(1);
    void ***lists = gpu_take<void **>(1), ***open = gpu_take<void **>(1);
    void **const last = l.pages + (keys - queries) / 128;
    CHECK_CUDA(cudaMemcpy(lengths, &keys, sizeof keys, cudaMemcpyHostToDevice));
    CHECK_CUDA(cudaMemcpy(lists, &l.pages, sizeof l.pages, cudaMemcpyHostToDevice));
    CHECK_CUDA(cudaMemcpy(open, &last, sizeof last, cudaMemcpyHostToDevice));
    const int64_t scratch_bytes = attn_cuda_decode_scratch_bytes(&l.shape, keys, 1, queries);
    const int64_t ticket_bytes = attn_cuda_decode_ticket_bytes(&l.shape, 1);
    char *scratch = gpu_take<char>(scratch_bytes), *tickets = gpu_take<char>(ticket_bytes);
    CHECK_CUDA(cudaMemset(tickets, 0, (size_t)ticket_bytes));
    attn_cuda_decode_args args = {};
    args.q = l.q;
    args.q_stride = HEADS * DIM;
    args.lengths = lengths;
    args.max_tokens = keys;
    args.n_seqs = 1;
    args.n_queries = queries;
    args.pages = (void *const *const *)lists;
    args.attended = l.out;
    args.tickets = (uint32_t *)tickets;
    args.scratch = scratch;
    args.open_pages = is_fp8 ? (void *const *const *)open : NULL;
    char text[32];
    snprintf(text, sizeof text, "decode%s_%s", is_fp8 ? "_fp8" : "", name);
    gpu_print(text, keys, queries, gpu_time([&] { gpu_must(kernel(&l.shape, &args, NULL)); }, true),
            (double)keys * KV_HEADS * 2 * DIM * (is_fp8 ? 1 : 2) / 1e9, "GB/s", ceiling);
    CHECK_CUDA(cudaFree(tickets));
    CHECK_CUDA(cudaFree(scratch));
    CHECK_CUDA(cudaFree(open));
    CHECK_CUDA(cudaFree(lists));
    CHECK_CUDA(cudaFree(lengths));
}

int main(int argc, char **argv) {
    if (argc > 1) only.name = argv[1];
    if (argc > 2) only.keys = atoll(argv[2]);
    if (argc > 3) only.queries = atoll(argv[3]);
    gpu_print_machine("attention, one layer of 32 query heads over 4 KV heads");
    const layer l = make_layer();
    const double copy = gpu_copy_ceiling();
    const double product = gpu_product_ceiling(gpu_open_blas());
    /* What matters most first: a run may be cut short. */
    for (const int64_t keys : {16384, 65536, 131072, 1048576})
        if (keys <= l.keys_max) prefill(l, "chunk", CHUNK, keys - CHUNK, keys, product);
#if HAS_SM90
    tiles(l, product);
#endif
    for (int64_t keys = l.keys_max; keys >= 16384; keys /= 4)
        for (const int queries : {16, 1, 8, 4})
            for (const bool is_fp8 : {false, true}) {
#if HAS_SM90
                decode(l, "sm90", attn_cuda_decode_sm90, keys, queries, is_fp8, copy);
#endif
                decode(l, "sm80", attn_cuda_decode_sm80, keys, queries, is_fp8, copy);
            }
    for (int64_t keys = 8192; keys <= QUERIES_MAX; keys *= 2)
        prefill(l, "causal", keys, 0, keys, product);
    for (int64_t keys = 8192; keys <= l.keys_max; keys *= 2)
        prefill(l, "dense", CHUNK, keys, keys, product);
    return 0;
}

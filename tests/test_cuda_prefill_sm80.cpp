/* The prefill kernel for sm_80, run thread by thread on the CPU: what it writes is the
 * definition's, within a derived bound, and how calls are cut changes no bit. With open pages a query's own page is
 * that one, and every earlier one as `pages` has it.
 *
 * Method: tests/emu runs the kernel's own text. Pages lie in random order, their unused rows hold
 * NaN, every buffer is exactly as long as it must be. Tails 1..127 are the rows of one call. */
#include "help_cuda_machine.h"

#include "attention/attn_prefill_sm80.cu"

#define PREFILL attn_cuda_prefill_sm80
#include "help_cuda_offsets.h"
#include "help_cuda_prefill.h"

/* Tokens [pos, pos + n) that see their own page in `open` and every earlier one in `closed`; segments begin at 0 and at
 * the cuts. */
static void run_open(const cuda_layer &closed, const cuda_layer &open, const cuda_buffer<uint16_t> &q,
        int64_t pos, int64_t n, std::vector<int64_t> cuts, prefill_result *result) {
    const int n_heads = closed.shape.n_heads;
    cuda_buffer<float> max(n * n_heads), sum(n * n_heads), out(n * n_heads * 128);
    const cuda_buffer<void *> open_list(std::vector<void *>(
            open.pages.begin() + pos / 128, open.pages.begin() + (pos + n + 127) / 128));
    std::vector<void *> pages(closed.pages);
    pages.back() = NULL; /* the last query's own */
    cuts.insert(cuts.begin(), 0);
    cuts.push_back(pos + n);
    for (size_t s = 0; s + 1 < cuts.size(); s++) {
        const cuda_buffer<void *> list(std::vector<void *>(
                pages.begin() + cuts[s] / 128, pages.begin() + (cuts[s + 1] + 127) / 128));
        attn_cuda_prefill_args args = {};
        args.q = q.data;
        args.q_stride = n_heads * 128;
        args.n_tokens = n;
        args.pos = pos;
        args.pages = list.data;
        args.open_pages = open_list.data;
        args.first_pos = cuts[s];
        args.n_keys = cuts[s + 1] - cuts[s];
        args.max = max.data;
        args.sum = sum.data;
        args.out = out.data;
        args.attended = result->out.data;
        args.lse = result->lse.data;
        args.is_first = s == 0;
        args.is_last = s + 2 == cuts.size();
        CHECK(attn_cuda_prefill_sm80(&closed.shape, &args, NULL) == RT_OK);
        cuda_wait();
    }
}

static double try_open(int64_t pos, int64_t n, const std::vector<int64_t> &cuts) {
    const attn_shape shape = cuda_shape(2, 1);
    const cuda_layer closed(shape, pos + n, 21), open(shape, pos + n, 22);
    cuda_buffer<uint16_t> q(n * 2 * 128);
    cuda_fill_normal(q.data, q.n, 23);
    prefill_result whole(n * 2), cut(n * 2);
    run_open(closed, open, q, pos, n, {}, &whole);
    run_open(closed, open, q, pos, n, cuts, &cut);
    CHECK(memcmp(whole.out.data, cut.out.data, (size_t)n * 512) == 0);
    CHECK(memcmp(whole.lse.data, cut.lse.data, (size_t)n * 8) == 0);
    double worst = 0.0;
    for (int64_t t = 0; t < n; t++) {
        cuda_layer seen(shape, 0, 0);
        seen.n_tokens = pos + n;
        seen.k = closed.k;
        seen.v = closed.v;
        for (int64_t i = (pos + t) / 128 * 128 * 128; i < (pos + t + 1) * 128; i++) {
            seen.k[(size_t)i] = open.k[(size_t)i];
            seen.v[(size_t)i] = open.v[(size_t)i];
        }
        for (int h = 0; h < 2; h++) {
            const int64_t at = t * 2 + h;
            const cuda_row row = cuda_reference(seen, h, q.data + at * 128, pos + t + 1);
            worst = fmax(worst, cuda_error(row, whole.out.data + at * 128, &whole.lse[at]));
        }
    }
    return worst;
}

static void open_pages() {
    emu_seed(0);
    double worst = try_open(128, 200, {128, 256}); /* the second cut is inside the chunk */
    worst = fmax(worst, try_open(250, 140, {128}));  /* two tokens of a page, then a whole one and more */
    worst = fmax(worst, try_open(130, 1, {128}));
    worst = fmax(worst, try_open(3, 60, {}));
    printf("open pages: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

int main() {
    open_pages();
    if (prefill_behaves() != 0) return 1;
    if (CUDA_ON_GPU && cuda_is_fast()) return 0; /* there all of the 43 GB are written */
    return prefill_beyond_2_32(128);
}

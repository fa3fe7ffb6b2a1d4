/* What every prefill kernel must do; PREFILL names its launcher. */
#ifndef HELP_CUDA_PREFILL_H
#define HELP_CUDA_PREFILL_H

#include "help_cuda.h"

struct prefill_case {
    int n_heads, n_kv_heads;
    int64_t n_tokens, pos;
    std::vector<int64_t> cuts; /* segments begin at 0 and at these, multiples of 128 */
};

struct prefill_result {
    cuda_buffer<uint16_t> out;
    cuda_buffer<float> lse;
    explicit prefill_result(int64_t rows) : out(rows * 128), lse(rows) {}
};

/* Tokens [first, first + n) of the case as one call a segment. */
static inline void prefill_run(const prefill_case &c, const cuda_layer &layer,
        const cuda_buffer<uint16_t> &q, int64_t first, int64_t n, prefill_result *result) {
    const int64_t rows = n * c.n_heads;
    cuda_buffer<float> max(rows), sum(rows), out(rows * 128);
    std::vector<int64_t> cuts = {0};
    for (const int64_t cut : c.cuts) cuts.push_back(cut);
    cuts.push_back(c.pos + first + n);
    for (size_t s = 0; s + 1 < cuts.size(); s++) {
        attn_cuda_prefill_args args = {};
        args.q = q.data + first * c.n_heads * 128;
        args.q_stride = c.n_heads * 128;
        args.n_tokens = n;
        args.pos = c.pos + first;
        /* The page array from the segment's first page on, no longer than it must be. */
        const cuda_buffer<void *> pages(std::vector<void *>(layer.pages.begin() + cuts[s] / 128,
                layer.pages.begin() + (cuts[s + 1] + 127) / 128));
        args.pages = pages.data;
        args.first_pos = cuts[s];
        args.n_keys = cuts[s + 1] - cuts[s];
        args.max = max.data;
        args.sum = sum.data;
        args.out = out.data;
        args.attended = result->out.data + first * c.n_heads * 128;
        args.lse = result->lse.data + first * c.n_heads;
        args.is_first = s == 0;
        args.is_last = s + 2 == cuts.size();
        CHECK(PREFILL(&layer.shape, &args, NULL) == RT_OK);
        cuda_wait();
    }
}

static inline double prefill_error(const prefill_case &c, const cuda_layer &layer,
        const cuda_buffer<uint16_t> &q, const prefill_result &result) {
    double worst = 0.0;
    for (int64_t t = 0; t < c.n_tokens; t++)
        for (int h = 0; h < c.n_heads; h++) {
            const int64_t at = t * c.n_heads + h;
            const cuda_row row = cuda_reference(layer, h, q.data + at * 128, c.pos + t + 1);
            const double error = cuda_error(row, result.out.data + at * 128, &result.lse[at]);
            worst = fmax(worst, error);
        }
    return worst;
}

/* All of a case in one go, scores of a deviation of `sharp`: 0 to 1 of the bound, or more. */
static inline double prefill_try(const prefill_case &c, uint64_t seed, float sharp = 1.0f) {
    const attn_shape shape = cuda_shape(c.n_heads, c.n_kv_heads);
    const cuda_layer layer(shape, c.pos + c.n_tokens, seed);
    cuda_buffer<uint16_t> q(c.n_tokens * c.n_heads * 128);
    cuda_fill_normal(q.data, q.n, seed + 1, sharp);
    prefill_result result(c.n_tokens * c.n_heads);
    prefill_run(c, layer, q, 0, c.n_tokens, &result);
    return prefill_error(c, layer, q, result);
}

static inline void prefill_shapes() {
    const prefill_case cases[] = {{1, 1, 1, 0, {}}, {2, 1, 128, 0, {}}, {4, 2, 129, 0, {}},
            {2, 2, 65, 191, {128}}, {3, 1, 70, 300, {128, 256}}, {8, 1, 1, 500, {256}},
            {1, 1, 200, 127, {}}, {1, 1, 64, 64, {}}, {1, 1, 130, 1000, {384, 512, 1024}}};
    double worst = 0.0;
    for (const prefill_case &c : cases) {
        emu_seed(0);
        worst = fmax(worst, prefill_try(c, 7 + (uint64_t)c.pos));
        emu_seed(11 + (uint64_t)c.pos);
        worst = fmax(worst, prefill_try(c, 8 + (uint64_t)c.pos, 8.0f)); /* maxima rise by far */
    }
    worst = fmax(worst,
            prefill_try({2, 1, 40, 600, {256}}, 9, 50.0f)); /* by more than a weight has room for */
    printf("shapes: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

static inline void prefill_tails() {
    emu_seed(0);
    double worst = 0.0;
    for (int64_t n = 1; n < 128; n += cuda_is_fast() ? 18 : 1)
        worst = fmax(worst, prefill_try({1, 1, n, n % 3 ? 0 : 128 - n, {}}, (uint64_t)n));
    printf("tails: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

/* Segments, chunks of rows, a random schedule: the same bits. */
static inline void prefill_cuts() {
    const prefill_case whole = {2, 1, 150, 234, {}};
    prefill_case cut = whole;
    cut.cuts = {128, 256};
    const cuda_layer layer(cuda_shape(2, 1), 384, 3);
    cuda_buffer<uint16_t> q(150 * 2 * 128);
    cuda_fill_normal(q.data, q.n, 4, 8.0f); /* maxima rise, in whichever call they do */
    prefill_result one(300), two(300), three(300);
    emu_seed(0);
    prefill_run(whole, layer, q, 0, 150, &one);
    prefill_run(cut, layer, q, 0, 150, &two);
    emu_seed(5);
    prefill_run(whole, layer, q, 0, 22, &three);
    prefill_run(whole, layer, q, 22, 1, &three);
    prefill_run(whole, layer, q, 23, 127, &three);
    CHECK(memcmp(one.out.data, two.out.data, 300 * 256) == 0);
    CHECK(memcmp(one.lse.data, two.lse.data, 300 * 4) == 0);
    CHECK(memcmp(one.out.data, three.out.data, 300 * 256) == 0);
    CHECK(memcmp(one.lse.data, three.lse.data, 300 * 4) == 0);
}

/* A query that is NaN makes its row NaN, and no other. */
static inline void prefill_nan_shows() {
    const prefill_case c = {2, 1, 40, 300, {256}};
    const cuda_layer layer(cuda_shape(2, 1), 340, 5);
    cuda_buffer<uint16_t> q(40 * 2 * 128);
    cuda_fill_normal(q.data, q.n, 6);
    q[(7 * 2 + 1) * 128 + 9] = 0x7fc0;
    prefill_result result(80);
    emu_seed(0);
    prefill_run(c, layer, q, 0, 40, &result);
    for (int64_t i = 0; i < 80 * 128; i++)
        CHECK(!isnan(rt_bf16_to_float(result.out[i])) == (i / 128 != 15));
}

/* Many tiles a block, one behind another, or each in a block by itself, as in calls of few rows: the same bits. On a GPU
 * calls of 128 rows, whose tiles are fewer than SMs. */
static inline void prefill_beside_tiles() {
    const prefill_case c =
            cuda_is_large() ? prefill_case{32, 4, 1300, 0, {}} : prefill_case{3, 1, 258, 0, {}};
    const cuda_layer layer(cuda_shape(c.n_heads, c.n_kv_heads), c.n_tokens, 8);
    const int64_t rows = c.n_tokens * c.n_heads;
    cuda_buffer<uint16_t> q(rows * 128);
    cuda_fill_normal(q.data, q.n, 9);
    prefill_result behind(rows), alone(rows);
    emu_seed(0);
    prefill_run(c, layer, q, 0, c.n_tokens, &behind);
    emu_set_sm_count(1 << 30);
    for (int64_t first = 0; first < c.n_tokens; first += 128)
        prefill_run(
                c, layer, q, first, c.n_tokens - first < 128 ? c.n_tokens - first : 128, &alone);
    emu_set_sm_count(2);
    int64_t n_others = 0;
    for (int64_t i = 0; i < rows; i++)
        n_others += memcmp(&behind.out[i * 128], &alone.out[i * 128], 256) != 0 ||
                    memcmp(&behind.lse[i], &alone.lse[i], 4) != 0;
    printf("beside other tiles: %lld of %lld rows have other bits\n", (long long)n_others,
            (long long)rows);
    CHECK(n_others == 0);
}

/* Rows that see no key of the only segment: 0 and -inf; behind tiles of rows that do see some, in one block. */
static inline void prefill_of_nothing() {
    enum { HEADS = 3 };
    const cuda_layer layer(cuda_shape(HEADS, 1), 256, 5);
    cuda_buffer<uint16_t> q(130 * HEADS * 128), attended(130 * HEADS * 128);
    cuda_buffer<float> lse(130 * HEADS);
    cuda_fill_normal(q.data, q.n, 4);
    attn_cuda_prefill_args args = {};
    args.q = q.data;
    args.q_stride = HEADS * 128;
    args.n_tokens = 130;
    args.pos = 0;
    const cuda_buffer<void *> pages(layer.pages);
    args.pages = pages.data + 1;
    args.first_pos = 128;
    args.n_keys = 128;
    args.attended = attended.data;
    args.lse = lse.data;
    args.is_first = args.is_last = true;
    emu_seed(0);
    CHECK(PREFILL(&layer.shape, &args, NULL) == RT_OK);
    cuda_wait();
    for (int64_t i = 0; i < 128 * HEADS * 128; i++) CHECK(attended[i] == 0);
    for (int64_t t = 0; t < 128 * HEADS; t++) CHECK(lse[t] == -INFINITY);
    for (int64_t t = 128 * HEADS; t < 130 * HEADS; t++) CHECK(isfinite(lse[t]));
}

/* Values of 1: the weights' roundings average out of what is 1; one key: its value, exactly. */
static inline void prefill_of_ones() {
    cuda_layer layer(cuda_shape(1, 1), 1, 6);
    cuda_buffer<uint16_t> q(128), attended(128);
    cuda_fill_normal(q.data, q.n, 4, 100.0f);
    prefill_case c = {1, 1, 1, 0, {}};
    prefill_result result(1);
    emu_seed(0);
    prefill_run(c, layer, q, 0, 1, &result);
    for (int d = 0; d < 128; d++) CHECK(result.out[d] == rt_float_to_bf16(layer.value(0, 0)[d]));
}

/* Many times the same, at once over the whole machine or under random schedules: the same bits. */
static inline void prefill_repeats() {
    const prefill_case c = cuda_is_large() ? prefill_case{32, 4, 1100, 6000, {2048}}
                                           : prefill_case{3, 1, 130, 140, {128}};
    const cuda_layer layer(cuda_shape(c.n_heads, c.n_kv_heads), c.pos + c.n_tokens, 3);
    const int64_t rows = c.n_tokens * c.n_heads;
    cuda_buffer<uint16_t> q(rows * 128);
    cuda_fill_normal(q.data, q.n, 4);
    prefill_result first(rows), again(rows);
    emu_seed(0);
    prefill_run(c, layer, q, 0, c.n_tokens, &first);
    for (int i = 1; i < cuda_repeats(); i++) {
        emu_seed((uint64_t)i);
        prefill_run(c, layer, q, 0, c.n_tokens, &again);
        CHECK(memcmp(first.out.data, again.out.data, (size_t)rows * 256) == 0);
        CHECK(memcmp(first.lse.data, again.lse.data, (size_t)rows * 4) == 0);
    }
    printf("repeats: %d times the same bits\n", cuda_repeats());
}

/* A long walk (on a GPU over a million keys), all pages the same memory: the page's attention, and as
 * many times its sum. The additions of so many pages may add an error of 2^-23 for every 16 keys;
 * what they do is printed. */
static inline void prefill_of_many_pages() {
    const int64_t n_pages = CUDA_ON_GPU && !cuda_is_fast() ? 8192 : 6;
    const int64_t n = 70;
    const cuda_layer page(cuda_shape(1, 1), 128, 12);
    const cuda_buffer<void *> pages(std::vector<void *>((size_t)n_pages, page.pages[0]));
    cuda_buffer<uint16_t> q(n * 128), attended(n * 128);
    cuda_buffer<float> lse(n);
    cuda_fill_normal(q.data, q.n, 13);
    attn_cuda_prefill_args args = {};
    args.q = q.data;
    args.q_stride = 128;
    args.n_tokens = n;
    args.pos = args.n_keys = n_pages * 128;
    args.pages = pages.data;
    args.attended = attended.data;
    args.lse = lse.data;
    args.is_first = args.is_last = true;
    emu_seed(0);
    CHECK(PREFILL(&page.shape, &args, NULL) == RT_OK);
    cuda_wait();
    double worst = 0.0, drift = 0.0;
    for (int64_t t = 0; t < n; t++) {
        cuda_row row = cuda_reference(page, 0, q.data + t * 128, 128);
        for (int d = 0; d < 128; d++) {
            const double moved = fabs((double)rt_bf16_to_float(attended[t * 128 + d]) - row.out[d]);
            drift = fmax(drift, moved / (fabs(row.out[d]) + 1.0));
            row.bound[d] *=
                    1.0 +
                    0x1p-12 * (double)n_pages; /* of a bound of 2^-8: 8 errors of 2^-23 a page */
        }
        row.lse += log((double)n_pages);
        row.lse_bound += 0x1p-20 * (double)n_pages + 0x1p-20;
        worst = fmax(worst, cuda_error(row, attended.data + t * 128, &lse[t]));
    }
    printf("%lld equal pages: worst error %.3f of the bound, %.2g of the value\n",
            (long long)n_pages, worst, drift);
    CHECK(worst <= 1.0);
}

/* What no primitive shows, the numbers must: a mask off by one key either way, pages in a wrong
 * order. */
static inline int prefill_numbers_tell() {
    const prefill_case c = {1, 1, 40, 200, {}};
    cuda_layer layer(cuda_shape(1, 1), 260, 9);
    cuda_buffer<uint16_t> q(40 * 128);
    cuda_fill_normal(q.data, q.n, 10);
    emu_seed(0);
    for (int bug = 0; bug < 4; bug++) {
        prefill_result result(40);
        prefill_case wrong = c;
        if (bug == 1) wrong.pos++;
        if (bug == 2) wrong.pos--;
        if (bug == 3) std::swap(layer.pages[0], layer.pages[1]);
        prefill_run(wrong, layer, q, 0, 40, &result);
        const double error = prefill_error(c, layer, q, result);
        printf("wrong numbers %d: error %.3g of the bound\n", bug, error);
        CHECK(bug == 0 ? error <= 1.0 : error > 1.0);
    }
    return 0;
}

/* Tokens [pos, pos + n) that see their own page in `open` and every earlier one in `closed`; segments begin at 0 and at
 * the cuts. */
static inline void prefill_run_open(const cuda_layer &closed, const cuda_layer &open,
        const cuda_buffer<uint16_t> &q, int64_t pos, int64_t n, std::vector<int64_t> cuts,
        prefill_result *result) {
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
        CHECK(PREFILL(&closed.shape, &args, NULL) == RT_OK);
        cuda_wait();
    }
}

static inline double prefill_try_open(int64_t pos, int64_t n, const std::vector<int64_t> &cuts) {
    const attn_shape shape = cuda_shape(2, 1);
    const cuda_layer closed(shape, pos + n, 21), open(shape, pos + n, 22);
    cuda_buffer<uint16_t> q(n * 2 * 128);
    cuda_fill_normal(q.data, q.n, 23);
    prefill_result whole(n * 2), cut(n * 2);
    prefill_run_open(closed, open, q, pos, n, {}, &whole);
    prefill_run_open(closed, open, q, pos, n, cuts, &cut);
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

static inline void prefill_open_pages() {
    emu_seed(0);
    double worst = prefill_try_open(128, 200, {128, 256}); /* the second cut is inside the chunk */
    worst = fmax(worst, prefill_try_open(250, 140,
                                {128})); /* two tokens of a page, then a whole one and more */
    worst = fmax(worst, prefill_try_open(130, 1, {128}));
    worst = fmax(worst, prefill_try_open(3, 60, {}));
    printf("open pages: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

/* Segments that end inside a row's keys and behind them, rows past the last, two KV heads, two tiles of a head, rows
 * that see nothing, open pages. */
static inline int prefill_once() {
    emu_seed(0);
    double worst = prefill_try({3, 1, 70, 300, {128, 256}}, 1);
    worst = fmax(worst, prefill_try({2, 2, 130, 100, {}}, 2));
    worst = fmax(worst, prefill_try_open(250, 140, {128}));
    printf("once: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
    prefill_of_nothing();
    return 0;
}

static inline int prefill_behaves() {
    if (cuda_is_least()) return prefill_once();
    prefill_shapes();
    prefill_tails();
    prefill_cuts();
    prefill_nan_shows();
    prefill_beside_tiles();
    prefill_of_nothing();
    prefill_of_ones();
    prefill_of_many_pages();
    prefill_open_pages();
    prefill_repeats();
    CHECK(emu_bank_conflicts() == 0);
    return 0;
}

#endif

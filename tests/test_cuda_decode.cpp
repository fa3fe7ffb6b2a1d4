/* The decode kernel, run thread by thread on the CPU: what it writes is the definition's, within a
 * derived bound, and neither the batch nor the longest length changes a bit of a sequence.
 *
 * Method: tests/emu runs the kernel's own text, blocks in random order. Pages lie in random order,
 * their unused rows hold NaN. Lengths are all tails 1..127 and what crosses the splits of 4096. */
#include "help_cuda_machine.h"

#include "attention/attn_decode.cu"

#include "help_cuda_decode.h"

static void tails() {
    double worst = 0.0;
    for (int64_t n = 1; n < 128; n += cuda_is_fast() ? 18 : 1) {
        emu_seed(n % 2 ? 0 : (uint64_t)n);
        worst = fmax(worst, decode_try(8, 1, 1, {n % 3 ? n : n + 128}, (uint64_t)n));
    }
    printf("tails: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

static void groups_and_queries() {
    double worst = 0.0;
    emu_seed(3);
    worst = fmax(worst, decode_try(2, 2, 1, {77, 300}, 1));
    worst = fmax(worst, decode_try(16, 1, 1, {200}, 2));
    worst = fmax(worst, decode_try(3, 1, 2, {131}, 3));
    worst = fmax(worst, decode_try(16, 2, 4, {130, 5}, 4));
    worst = fmax(worst, decode_try(8, 1, 3, {3, 129}, 5));
    worst = fmax(worst, decode_try(8, 1, 5, {140}, 6));      /* 40 rows: two warps a class */
    worst = fmax(worst, decode_try(8, 2, 16, {17, 150}, 7)); /* 128: two blocks */
    worst = fmax(worst, decode_try(16, 1, 16, {90}, 8));
    printf("groups and queries: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

static void splits() {
    double worst = 0.0;
    emu_seed(4);
    worst = fmax(worst, decode_try(8, 1, 1, {4097, 4096}, 1));
    emu_seed(5);
    worst = fmax(worst, decode_try(8, 1, 2, {cuda_is_fast() ? 4100 : 8193},
                                2)); /* token 0 sees none of the last */
    printf("splits: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

/* Alone, in a batch, under a longer maximum: the same bits. */
static void batches() {
    const decode_batch b(8, 1, 1, {100, 4300, 65}, 7);
    decode_result together(24), alone(24);
    emu_seed(0);
    decode_run(b, 4300, 0, 3, &together);
    emu_seed(9);
    for (int i = 0; i < 3; i++) decode_run(b, 20000, i, 1, &alone);
    CHECK(memcmp(together.out.data, alone.out.data, 24 * 256) == 0);
    CHECK(memcmp(together.lse.data, alone.lse.data, 24 * 4) == 0);
}

/* 16 query tokens together, the last of 4103 keys, and each alone: the same bits. */
static void tokens() {
    const decode_batch b(8, 1, 16, {4103}, 11);
    decode_result together(128), alone(128);
    emu_seed(0);
    decode_run(b, 4103, 0, 1, &together);
    for (int j = 0; j < 16; j += 3) {
        const int64_t length = 4103 - 15 + j;
        const cuda_buffer<int64_t> lengths(std::vector<int64_t>{length});
        const cuda_buffer<void *> pages(b.layers[0]->pages);
        const cuda_buffer<void *const *> seq_pages(std::vector<void *const *>{pages.data});
        cuda_buffer<char> scratch(attn_cuda_decode_scratch_bytes(&b.shape, length, 1, 1));
        memset(scratch.data, 0, (size_t)attn_cuda_decode_ticket_bytes(&b.shape, 1));
        attn_cuda_decode_args args = {};
        args.q = b.q->data + j * 8 * 128;
        args.q_stride = 8 * 128;
        args.lengths = lengths.data;
        args.max_tokens = length;
        args.n_seqs = args.n_queries = 1;
        args.pages = seq_pages.data;
        args.attended = alone.out.data + j * 8 * 128;
        args.lse = alone.lse.data + j * 8;
        args.scratch = scratch.data;
        CHECK(attn_cuda_decode(&b.shape, &args, NULL) == RT_OK);
        cuda_wait();
        CHECK(memcmp(together.out.data + j * 1024, alone.out.data + j * 1024, 2048) == 0);
        CHECK(memcmp(&together.lse[j * 8], &alone.lse[j * 8], 32) == 0);
    }
}

/* 128K keys, all pages the same memory: a page's keys n times are the page's attention, and ln n
 * more in lse. Every block of the launch runs, and the last merges 32 splits. */
static void many_splits() {
    const int64_t n_pages = cuda_is_fast() ? 96 : 1024;
    const cuda_layer page(cuda_shape(8, 1), 128, 9);
    const cuda_buffer<void *> pages(std::vector<void *>((size_t)n_pages, page.pages[0]));
    const cuda_buffer<void *const *> seq_pages(std::vector<void *const *>{pages.data});
    const int64_t length = n_pages * 128;
    const cuda_buffer<int64_t> lengths(std::vector<int64_t>{length});
    cuda_buffer<uint16_t> q(8 * 128);
    cuda_fill_normal(q.data, q.n, 10);
    decode_result result(8);
    cuda_buffer<char> scratch(attn_cuda_decode_scratch_bytes(&page.shape, length, 1, 1));
    memset(scratch.data, 0, (size_t)attn_cuda_decode_ticket_bytes(&page.shape, 1));
    const attn_cuda_decode_args args = {q.data, 8 * 128, lengths.data, length, 1, 1, seq_pages.data,
            result.out.data, result.lse.data, scratch.data, NULL, 0, 0};
    emu_seed(1);
    CHECK(attn_cuda_decode(&page.shape, &args, NULL) == RT_OK);
    cuda_wait();
    for (int h = 0; h < 8; h++) {
        cuda_row row = cuda_reference(page, h, q.data + h * 128, 128);
        row.lse += log((double)n_pages);
        for (int d = 0; d < 128; d++) row.bound[d] += 0x1p-16 * fabs(row.out[d]); /* long sums */
        row.lse_bound += 0x1p-16;
        CHECK(cuda_error(row, result.out.data + h * 128, &result.lse[h]) <= 1.0);
    }
}

/* Many times the same, under random schedules or all over a GPU, the splits' merging block whichever
 * comes last: the same bits. */
static void repeats() {
    const decode_batch b(CUDA_ON_GPU ? 32 : 8, CUDA_ON_GPU ? 4 : 1, 2,
            CUDA_ON_GPU ? std::vector<int64_t>{70000, 4097} : std::vector<int64_t>{4200}, 8);
    decode_result first(b.rows()), again(b.rows());
    const int n = (int)b.layers.size();
    emu_seed(0);
    decode_run(b, 70000, 0, n, &first);
    for (int i = 1; i < CUDA_REPEATS; i++) {
        emu_seed((uint64_t)i);
        decode_run(b, 70000, 0, n, &again);
        CHECK(memcmp(first.out.data, again.out.data, (size_t)b.rows() * 256) == 0);
        CHECK(memcmp(first.lse.data, again.lse.data, (size_t)b.rows() * 4) == 0);
    }
}

int main() {
    many_splits();
    repeats();
    tails();
    groups_and_queries();
    splits();
    batches();
    tokens();
    CHECK(emu_bank_conflicts() == 0);
    return 0;
}

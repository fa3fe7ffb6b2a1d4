/* Pages to canonical rows and back: what comes back is what went out, where it belongs, and rows
 * past the last token stay as they are. e4m3 pages to canonical bytes, which are those of the CPU's pages, and back.
 *
 * Method: tests/emu, against the layout as attn_cuda.h documents it. */
#include "help_cuda_machine.h"

#include "attention/attn_page_copy.cu"

#include "help_cuda.h"

static void there_and_back(int n_kv_heads, int64_t n) {
    const cuda_layer layer(cuda_shape(n_kv_heads, n_kv_heads), n, 3 + (uint64_t)n);
    std::vector<std::unique_ptr<cuda_buffer<uint16_t>>> runs, copies;
    std::vector<void *> run_pointers, pages;
    for (int g = 0; g < n_kv_heads; g++) {
        runs.emplace_back(new cuda_buffer<uint16_t>(2 * n * 128));
        run_pointers.push_back(runs.back()->data);
    }
    const cuda_buffer<void *> from(layer.pages), run_list(run_pointers);
    attn_cuda_pack_args args = {from.data, n, run_list.data};
    CHECK(attn_cuda_page_unpack(&layer.shape, &args, NULL) == RT_OK);
    cuda_wait();
    for (int g = 0; g < n_kv_heads; g++)
        for (int64_t t = 0; t < n; t++)
            for (int d = 0; d < 128; d++) {
                const uint16_t *run = runs[(size_t)g]->data;
                CHECK(run[t * 128 + d] == rt_float_to_bf16(layer.key(g, t)[d]));
                CHECK(run[(n + t) * 128 + d] == rt_float_to_bf16(layer.value(g, t)[d]));
            }
    for (size_t p = 0; p < layer.pages.size(); p++) {
        copies.emplace_back(new cuda_buffer<uint16_t>(attn_cuda_page_bytes(&layer.shape) / 2));
        pages.push_back(copies.back()->data);
    }
    const cuda_buffer<void *> to(pages);
    args.pages = to.data;
    CHECK(attn_cuda_page_pack(&layer.shape, &args, NULL) == RT_OK);
    cuda_wait();
    for (size_t p = 0; p < pages.size(); p++) /* unused rows were 0xffff in both */
        CHECK(memcmp(pages[p], layer.pages[p], (size_t)attn_cuda_page_bytes(&layer.shape)) == 0);
}

/* Canonical bytes as attention.h documents them, of pages as attn_fp8.h does. */
static void e4m3_there_and_back(int n_kv_heads, int n_pages) {
    const attn_shape shape = cuda_shape(n_kv_heads, n_kv_heads);
    const int64_t page_bytes = (int64_t)n_kv_heads * ATTN_FP8_PLACE_BYTES;
    std::vector<std::unique_ptr<cuda_buffer<uint8_t>>> memory;
    std::vector<void *> pages, copies, runs;
    uint64_t random = 17;
    for (int i = 0; i < 2 * n_pages + n_kv_heads; i++) {
        const bool is_run = i >= 2 * n_pages;
        memory.emplace_back(new cuda_buffer<uint8_t>(
                is_run ? (int64_t)n_pages * ATTN_FP8_HEAD_BYTES : page_bytes));
        (is_run ? runs : i < n_pages ? pages : copies).push_back(memory.back()->data);
        for (int64_t at = 0; i < n_pages && at < page_bytes; at++)
            (*memory.back())[at] = (uint8_t)random_below(&random, 256);
    }
    const cuda_buffer<void *> from(pages), to(copies), run_list(runs);
    attn_cuda_pack_args args = {from.data, n_pages * 128, run_list.data};
    CHECK(attn_cuda_fp8_page_unpack(&shape, &args, NULL) == RT_OK);
    cuda_wait();
    for (int p = 0; p < n_pages; p++)
        for (int g = 0; g < n_kv_heads; g++) {
            const uint8_t *head = (const uint8_t *)pages[(size_t)p] + g * ATTN_FP8_PLACE_BYTES;
            const uint8_t *run = (const uint8_t *)runs[(size_t)g] + p * ATTN_FP8_HEAD_BYTES;
            for (int t = 0; t < 128; t++)
                for (int d = 0; d < 128; d++) {
                    CHECK(run[d * 128 + t] == head[t * 128 + ((d / 16) ^ (t % 8)) * 16 + d % 16]);
                    CHECK(run[16384 + t * 128 + d] ==
                            head[16384 + t / 16 * 2048 + d * 16 + t % 16]);
                }
            CHECK(memcmp(run + 32768, head + 32768, 16) == 0);
        }
    args.pages = to.data;
    CHECK(attn_cuda_fp8_page_pack(&shape, &args, NULL) == RT_OK);
    cuda_wait();
    for (int p = 0; p < n_pages; p++)
        for (int g = 0; g < n_kv_heads; g++)
            CHECK(memcmp((const uint8_t *)pages[(size_t)p] + g * ATTN_FP8_PLACE_BYTES,
                          (const uint8_t *)copies[(size_t)p] + g * ATTN_FP8_PLACE_BYTES,
                          ATTN_FP8_HEAD_BYTES) == 0);
}

int main() {
    emu_seed(0);
    there_and_back(1, 1);
    there_and_back(2, 128);
    there_and_back(3, 129);
    there_and_back(1, 300);
    e4m3_there_and_back(2, 3);
    return 0;
}

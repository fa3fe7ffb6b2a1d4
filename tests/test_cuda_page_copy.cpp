/* Pages to canonical rows and back: what comes back is what went out, where it belongs, and rows
 * past the last token stay as they are.
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

int main() {
    emu_seed(0);
    there_and_back(1, 1);
    there_and_back(2, 128);
    there_and_back(3, 129);
    there_and_back(1, 300);
    return 0;
}

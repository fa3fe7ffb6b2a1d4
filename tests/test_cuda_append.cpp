/* Rotation, and rows into pages: what the append kernel writes is the definition's, to a rounding
 * of bf16, at positions up to a million; nothing else is touched.
 *
 * Method: tests/emu. The definition is fp64 sin and cos of the fp32 angle. */
#include "help_cuda_machine.h"

#include "attention/attn_append.cu"

#include "help_cuda.h"

/* The definition, and the bound: one bf16 rounding of the result, and 2^-20 of |x0| + |x1| for
 * sine, cosine and the fp32 arithmetic. */
static void check_row(const attn_shape &shape, const uint16_t *x, const uint16_t *y, int64_t pos,
        bool is_rotated) {
    float theta[64];
    attn_rope_theta(&shape, theta);
    for (int d = 0; d < 128; d += 2) {
        const double x0 = rt_bf16_to_float(x[d]), x1 = rt_bf16_to_float(x[d + 1]);
        const bool is_turned = is_rotated && d < shape.rope_dim;
        const volatile float angle = (float)pos * theta[d / 2 % 64];
        const double c = is_turned ? cos((double)angle) : 1.0,
                     s = is_turned ? sin((double)angle) : 0.0;
        const double right[2] = {x0 * c - x1 * s, x1 * c + x0 * s};
        for (int i = 0; i < 2; i++) {
            const double error = fabs((double)rt_bf16_to_float(y[d + i]) - right[i]);
            CHECK(error <= 0x1p-8 * fabs(right[i]) + 0x1p-20 * (fabs(x0) + fabs(x1)));
        }
    }
}

static const uint16_t *row_in_page(
        const attn_shape &shape, void *page, int g, int operand, int slot, uint16_t *row) {
    (void)shape;
    for (int d = 0; d < 128; d++)
        row[d] = ((uint16_t *)page)[(g * 2 + operand) * 16384 + cuda_tile_index(slot, d)];
    return row;
}

static void append(int n_heads, int n_kv_heads, int64_t n, int64_t pos, bool is_each) {
    const attn_shape shape = cuda_shape(n_heads, n_kv_heads);
    const int all = n_heads + 2 * n_kv_heads;
    cuda_buffer<uint16_t> qkv(n * all * 128), q(n * n_heads * 128);
    cuda_fill_normal(qkv.data, qkv.n, (uint64_t)pos + 3);
    const int64_t first_page = pos / 128, n_pages = (pos + n - 1) / 128 - first_page + 1;
    std::vector<std::unique_ptr<cuda_buffer<uint16_t>>> memory;
    std::vector<void *> pages;
    for (int64_t i = 0; i < n_pages; i++) {
        memory.emplace_back(new cuda_buffer<uint16_t>(attn_cuda_page_bytes(&shape) / 2));
        pages.push_back(memory.back()->data);
    }
    std::vector<int64_t> positions;
    for (int64_t t = 0; t < n; t++) positions.push_back(pos + t);
    std::vector<void *> from_zero((size_t)first_page, (void *)NULL);
    from_zero.insert(from_zero.end(), pages.begin(), pages.end());
    const cuda_buffer<void *> page_list(pages), zero_list(from_zero);
    const cuda_buffer<int64_t> position_list(positions);
    const cuda_buffer<void *const *> seq_pages(
            std::vector<void *const *>((size_t)n, zero_list.data));
    attn_cuda_append_args args = {};
    args.qkv = qkv.data;
    args.n_tokens = n;
    args.pos = is_each ? 0 : pos;
    args.positions = is_each ? position_list.data : NULL;
    args.pages = is_each ? NULL : page_list.data;
    args.seq_pages = is_each ? seq_pages.data : NULL;
    args.q = q.data;
    CHECK(attn_cuda_append(&shape, &args, NULL) == RT_OK);
    cuda_wait();

    int64_t n_written = 0;
    for (int64_t t = 0; t < n; t++) {
        const uint16_t *x = qkv.data + t * all * 128;
        uint16_t row[128];
        void *page = pages[(size_t)((pos + t) / 128 - first_page)];
        for (int h = 0; h < n_heads; h++)
            check_row(shape, x + h * 128, q.data + (t * n_heads + h) * 128, pos + t, true);
        for (int g = 0; g < n_kv_heads; g++)
            for (int operand = 0; operand < 2; operand++)
                check_row(shape, x + (n_heads + operand * n_kv_heads + g) * 128,
                        row_in_page(shape, page, g, operand, (int)((pos + t) % 128), row), pos + t,
                        !operand);
    }
    for (const auto &page : memory)
        for (int64_t i = 0; i < page->n; i++) n_written += page->data[i] != 0xffff;
    CHECK(n_written == n * n_kv_heads * 2 * 128);
}

int main() {
    emu_seed(0);
    append(8, 1, 3, 0, false);
    append(3, 3, 5, 126, false);
    append(16, 2, 4, 1048573, false);
    append(2, 1, 130, 255, false);
    append(8, 2, 3, 1000, true);
    return 0;
}

/* Named barriers of a part of a block beside those of all of it order what is written and read, also where one part
 * meets more often than another.
 *
 * Method: what decode does at the end of a split (attn_decode.cu), without decode. Four classes of two warps meet at a
 * barrier of their own, class 0 once more; then for either warp of a class: all meet, it writes, all meet, all read
 * all. Every number that is read is checked. On a GPU this is also what racecheck is tried with: it has no race,
 * and the tool of CUDA 13.0 reports some where class 0 meets once more. */
#include "help_cuda_machine.h"

#include "help_cuda.h"

namespace {

enum {
    WARP = 32,
    CLASSES = 4,
    GROUPS = 2,
    THREADS = CLASSES * GROUPS * WARP,
    ROWS = 8,
    DIMS = 128,
    MEETINGS = 6
};

struct barriers_args {
    uint32_t *n_wrong; /* of each thread */
    int32_t n_more;    /* meetings of class 0 */
};

PTX_DEVICE uint32_t number(int group, int row, int dim) {
    return (uint32_t)(group << 16 | row << 8 | dim);
}

static __global__ void __launch_bounds__(THREADS) barriers_kernel(const barriers_args p) {
    const ptx_smem smem = ptx_smem_base();
    const int lane = ptx_thread() % WARP, of_class = ptx_thread() / WARP % CLASSES;
    const int group = ptx_thread() / (WARP * CLASSES), dim = ptx_thread() % DIMS;
    const int n_meetings = MEETINGS + (of_class == 0 ? p.n_more : 0);
    uint32_t n_wrong = 0;
    for (int i = 0; i < n_meetings; i++) ptx_bar_sync<GROUPS * WARP>(1 + of_class);
    for (int g = 0; g < GROUPS; g++) {
        ptx_syncthreads(); /* what was there before has been read */
        for (int i = lane; group == g && i < ROWS * DIMS; i += WARP) {
            const int row = of_class * ROWS + i / DIMS;
            ptx_sts32(smem + (ptx_smem)((row * DIMS + i % DIMS) * 4), number(g, row, i % DIMS));
        }
        ptx_syncthreads();
        for (int row = group; row < CLASSES * ROWS; row += GROUPS)
            n_wrong += ptx_lds32(smem + (ptx_smem)((row * DIMS + dim) * 4)) != number(g, row, dim);
    }
    p.n_wrong[ptx_block_x() * THREADS + ptx_thread()] = n_wrong;
}

} // namespace

int main() {
    enum { BLOCKS = 4 };
    cuda_buffer<uint32_t> n_wrong(BLOCKS * THREADS);
    for (int i = 0; i < (CUDA_ON_GPU ? 20 : 4); i++) {
        emu_seed((uint64_t)i);
        CHECK(!ptx_launch(barriers_kernel, {BLOCKS, 1, THREADS, CLASSES * ROWS * DIMS * 4}, NULL,
                barriers_args{n_wrong.data, i % 2}));
        cuda_wait();
        for (int64_t t = 0; t < n_wrong.n; t++) CHECK(n_wrong[t] == 0);
    }
    return 0;
}

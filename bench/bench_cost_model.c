/* What tensor parallelism should cost on 1, 2, 4 and 8 H200s. A MODEL: nothing here was measured, and no
 * line of this program runs on a GPU. GLM-4-9B-Chat-1M in bf16.
 *
 *   prefill  compute: (2 x parameters x T + 4 x layers x width x T^2 / 2) FLOP / n, at 600 TFLOP/s
 *            moving:  2 sums a layer of T x 4096 fp32, 2 (n - 1) / n of that in and out of each GPU
 *   decode   memory:  (17.73 GB of weights / n + 80 KiB x T of KV / min(n, 4)) at 4.3 TB/s
 *            waiting: 2 sums a layer of one row, at 25 us by NCCL, or 10 us by one kernel of peer stores
 *
 * Assumed: 300 GB/s a direction by NVLink; sums and matrix products do not overlap. Source of the
 * figures: published attention kernels and vLLM's tables of collectives (H100, B300). */
#include <math.h>
#include <stdio.h>

static const double parameters = 9.483857920e9;
static const double n_layers = 40.0;
static const double width = 4096.0; /* 32 query heads x 128; also the hidden state's */
static const double kv_bytes = 80.0 * 1024.0;
static const double weight_bytes = 17.73e9;

static const double flops = 600e12;
static const double link = 300e9;
static const double memory = 4.3e12;
static const double nccl_s = 25e-6;
static const double kernel_s = 10e-6;

static void print_row(double tokens, double n) {
    const double work = 2.0 * parameters * tokens + 2.0 * n_layers * width * tokens * tokens;
    const double compute_s = work / n / flops;
    const double moved = 2.0 * n_layers * tokens * width * 4.0 * 2.0 * (n - 1.0) / n;
    const double move_s = moved / link;
    const double read_s = (weight_bytes / n + kv_bytes * tokens / fmin(n, 4.0)) / memory;
    const double sums = n > 1.0 ? 2.0 * n_layers : 0.0;
    (void)printf("%8.0fK %4.0f %12.1f %12.1f %9.0f %% %12.2f %12.2f %12.2f\n", tokens / 1024.0, n,
            compute_s, move_s, 100.0 * move_s / (compute_s + move_s), read_s * 1e3,
            (read_s + sums * nccl_s) * 1e3, (read_s + sums * kernel_s) * 1e3);
}

int main(void) {
    (void)printf("# MODEL, not a measurement: GLM-4-9B-Chat-1M on H200s (assumptions: this file's "
                 "head)\n"
                 "%9s %4s %12s %12s %11s %12s %12s %12s\n",
            "context", "GPUs", "prefill s", "+ sums s", "sums share", "decode ms", "with NCCL",
            "one kernel");
    for (double tokens = 128.0 * 1024.0; tokens <= 1024.0 * 1024.0; tokens *= 8.0)
        for (double n = 1.0; n <= 8.0; n *= 2.0) print_row(tokens, n);
    return 0;
}

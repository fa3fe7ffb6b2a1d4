/* What the plan expects of a GPU, from what the driver says it is: nothing is run.
 *
 * Peak rates are products of counts and clocks; how much of them a prefill and a decode get is one measurement of
 * each, of the 9B's shape on an H100 (bench/results/2026-11-26_h100_*): 131008 tokens in 12.4 s, which is 0.62 of
 * 132 SMs x 4096 FLOP x 1.98 GHz with what chunks of 8448 save, and 90.6 tokens/s behind them, 0.77 of 3.35 TB/s.
 * Another chip is taken to get the same shares of its own. */
#include "engine_cuda.h"
#include "find_cuda.h"

enum { TILE_TOKENS = 128, CHUNK_PAGES_MAX = 80 };

static const double prefill_share = 0.62;
static const double decode_share = 0.77;
static const double link_share = 0.85;
static const double link_unknown_bytes_per_s = 20e9; /* PCIe 4.0, 16 lanes, as measured elsewhere */

/* FLOP an SM and clock of dense bf16 products with fp32 sums, as our kernels ask for them: wgmma on 9.0, else
 * mma.sync; the GeForce of white papers GA102 and Ada half of it. */
static double sm_flop(const glm_cuda_chip *chip) {
    if (chip->capability == 90) return 4096.0;
    if (chip->capability == 80 || chip->capability >= 100) return 2048.0;
    return chip->is_geforce ? 512.0 : 1024.0;
}

glm_speed glm_cuda_speed_of(const glm_cuda_chip *chip) {
    const double peak = chip->n_sms * chip->clock_hz * sm_flop(chip);
    const double link = chip->link_bytes_per_s * link_share;
    /* A driver that says nothing: half of an A100. */
    const double flops = peak > 0.0 ? peak * prefill_share : 150e12;
    return (glm_speed){.flops = flops,
            .attention_flops = flops,
            .usual_flops = flops,
            .n_blocks = chip->n_sms * (chip->capability == 90 ? 1 : 2),
            .bytes_per_s =
                    chip->memory_bytes_per_s > 0.0 ? chip->memory_bytes_per_s * decode_share : 1e12,
            .link_bytes_per_s = link > 0.0 ? link : link_unknown_bytes_per_s};
}

rt_status glm_cuda_speed(int32_t n_threads, glm_speed *out) {
    glm_cuda_chip chip;
    (void)n_threads;
    RT_TRY(glm_cuda_describe(0, &chip));
    *out = glm_cuda_speed_of(&chip);
    return RT_OK;
}

/* Attention deals tiles of 128 tokens of a head to the SMs, in rounds: the last one should be full, too. */
static double round_share(int64_t n_tiles, int64_t n_blocks) {
    return (double)n_tiles / (double)(rt_div_up(n_tiles, n_blocks) * n_blocks);
}

int64_t glm_cuda_chunk(const glm_config *part, const glm_speed *speed, int64_t below) {
    const int64_t most = below > CHUNK_PAGES_MAX * TILE_TOKENS
                                 ? CHUNK_PAGES_MAX
                                 : rt_max64(below / 2 / TILE_TOKENS, 1);
    const int64_t n_blocks = rt_max64(speed->n_blocks, 1);
    int64_t best = most;
    for (int64_t n = most; n > most / 2; n--)
        if (round_share(n * part->n_heads, n_blocks) > round_share(best * part->n_heads, n_blocks))
            best = n;
    return best * TILE_TOKENS;
}

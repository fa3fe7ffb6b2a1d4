/* Attention over 2^20 keys: rows equal the fp64 definition, sums of a million equal weights do not
 * drift, one key among a million is found, and element offsets beyond 2^32 are right.
 *
 * Method: 32 pages of known keys repeated 256 times in the page list: a million keys in a few MiB.
 * Queries lie 2^27 floats apart in a mapping that is never resident, so that the last one's offset
 * is past 2^32 elements.
 *
 * Bound: a weight 2^(s - m) carries 2^-24 times: head_dim + 2 roundings of a score of magnitude up to
 * |q||k| scale, 1.2 for the exponential; sums add one rounding a term along 128 keys, 32 pages and 256
 * splits, 416 in all; the quotient is a convex combination of V, so the error is at most
 * (2 x 416 + 4 + 2 (head_dim + 2) smax ln 2) 2^-24 max|v|, smax in base-2 units. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "help_attention.h"

enum { HEAD_DIM = 32, PERIOD = 4096, N_PAGES = 8192, N_QUERIES = 40 };

static const int64_t n_keys = (int64_t)N_PAGES * ATTN_PAGE_TOKENS;
static const int64_t q_stride = (int64_t)1 << 27;
static const attn_shape shape = {.n_heads = 1,
        .n_kv_heads = 1,
        .head_dim = HEAD_DIM,
        .rope_dim = 0,
        .rope_base = 1e8,
        .kv_dtype = RT_F32};

static float keys[PERIOD * HEAD_DIM];
static float values[PERIOD * HEAD_DIM];
static void *pages[N_PAGES];
static char *page_memory;
static int n_failed;

static float uniform(void) {
    static uint64_t state = 7;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(state >> 11) * 0x1p-52 - 1.0);
}

static void fill_pages(void) {
    const int64_t bytes = attn_page_bytes(&shape);
    for (int64_t i = 0; i < PERIOD * HEAD_DIM; i++) {
        keys[i] = uniform();
        values[i] = uniform();
    }
    page_memory = malloc((size_t)(bytes * (PERIOD / ATTN_PAGE_TOKENS)));
    if (!page_memory) exit(1);
    for (int64_t p = 0; p < PERIOD / ATTN_PAGE_TOKENS; p++) {
        const int64_t at = p * ATTN_PAGE_TOKENS * HEAD_DIM;
        attn_page_pack(
                &shape, page_memory + p * bytes, 0, 0, ATTN_PAGE_TOKENS, keys + at, values + at);
    }
    for (int64_t p = 0; p < N_PAGES; p++)
        pages[p] = page_memory + p % (PERIOD / ATTN_PAGE_TOKENS) * bytes;
}

/* The definition over n keys of the repeated list; returns the largest |score| in base-2 units. */
static double reference(const float *q, int64_t n, double out[HEAD_DIM]) {
    static double scores[PERIOD];
    double max = -INFINITY;
    double largest = 0.0;
    for (int64_t i = 0; i < PERIOD; i++) {
        scores[i] = 0.0;
        for (int d = 0; d < HEAD_DIM; d++)
            scores[i] += (double)q[d] * (double)keys[i * HEAD_DIM + d];
        scores[i] /= sqrt((double)HEAD_DIM);
        max = fmax(max, scores[i]);
        largest = fmax(largest, fabs(scores[i]) * 1.4426950408889634);
    }
    double sum = 0.0;
    memset(out, 0, HEAD_DIM * sizeof *out);
    for (int64_t i = 0; i < PERIOD; i++) {
        const double times = (double)(n / PERIOD + (i < n % PERIOD));
        const double weight = times * exp(scores[i] - max);
        sum += weight;
        for (int d = 0; d < HEAD_DIM; d++) out[d] += weight * (double)values[i * HEAD_DIM + d];
    }
    for (int d = 0; d < HEAD_DIM; d++) out[d] /= sum;
    return largest;
}

/* Query i of the huge mapping: zeros (equal weights), a strong match, or anything. */
static void make_query(float *q, int i) {
    for (int d = 0; d < HEAD_DIM; d++) {
        if (i == 0)
            q[d] = 0.0f;
        else if (i % 8 == 1)
            q[d] = 30.0f * keys[(i * 97 % PERIOD) * HEAD_DIM + d];
        else
            q[d] = 3.0f * uniform();
    }
}

static void check_isa(rt_isa isa, rt_pool *pool, float *q) {
    if (!ath_has(isa, &shape)) return;
    attn_cpu *cpu = NULL;
    if (attn_cpu_create(&shape, isa, pool, &cpu) != RT_OK) exit(1);
    float max[N_QUERIES];
    float sum[N_QUERIES];
    float out[N_QUERIES * HEAD_DIM];
    attn_state state = {.max = max, .sum = sum, .out = out};
    const attn_segment segment = {.pages = pages, .n_tokens = n_keys};
    attn_reset(cpu, &state, N_QUERIES);
    attn_prefill(cpu, q, q_stride, N_QUERIES, n_keys - N_QUERIES, &segment, &state);
    attn_finish(cpu, &state, N_QUERIES, NULL);
    double worst = 0.0;
    for (int i = 0; i < N_QUERIES; i++) {
        double want[HEAD_DIM];
        const double smax = reference(q + i * q_stride, n_keys - N_QUERIES + i + 1, want);
        const double bound = (2.0 * 416 + 4 + 2.0 * (HEAD_DIM + 2) * smax * 0.6931) * 0x1p-24;
        for (int d = 0; d < HEAD_DIM; d++) {
            const double error = fabs((double)out[i * HEAD_DIM + d] - want[d]);
            worst = fmax(worst, error / bound);
            if (error <= bound) continue;
            printf("FAIL %s query %d dim %d: %.9g, want %.9g, bound %.2g\n", rt_isa_name(isa), i, d,
                    (double)out[i * HEAD_DIM + d], want[d], bound);
            n_failed++;
        }
    }
    printf("%s: at most %.3f of the bound\n", rt_isa_name(isa), worst);
    attn_cpu_free(cpu);
}

int main(void) {
    const size_t bytes = (size_t)(N_QUERIES * q_stride * 4);
    float *q = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    rt_pool *pool = NULL;
    if (q == MAP_FAILED || rt_pool_create(2, &pool) != RT_OK) return 1;
    fill_pages();
    for (int i = 0; i < N_QUERIES; i++) make_query(q + i * q_stride, i);
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) check_isa(isa, pool, q);
    rt_pool_free(pool);
    free(page_memory);
    (void)munmap(q, bytes);
    return n_failed ? 1 : 0;
}

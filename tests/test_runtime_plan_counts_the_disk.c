/* The plan refuses what a disk cannot hold, and only that: a refusal needs more than it grants; what was granted to a
 * prefill is granted to its continuation, when most of it is stored and that much less is free. What needs no disk is given
 * spans as short as can be.
 *
 * Method: plans of the embedded model with memory for 20,000 of 200,000 tokens, over disks that are given. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "help_needle.h"
#include "runtime/base/size.h"
#include "runtime/plan.h"

enum { N_TOKENS = 200000, RAW_BYTES = 3 * 1024 };

static const glm_checkpoint *checkpoint;

static void require(bool holds, const char *what, const glm_plan *plan) {
    if (holds) return;
    printf("FAIL %s: %s, %" PRId64 " bytes must find room, the limit is %" PRId64
           ", at most %" PRId64 " tokens fit\n",
            what, plan->fits ? "fits" : "refused", plan->kv_must_bytes, plan->kv_disk_limit_bytes,
            plan->fitting_len);
    exit(1);
}

/* cap: --kv-disk-space, or 0. */
static glm_plan plan_of(bool keeps_all, int64_t cap, int64_t free_bytes, int64_t kept_bytes) {
    const glm_options options = {.max_len = N_TOKENS,
            .threads = 1,
            .persists = true,
            .keeps_all = keeps_all,
            .host_kv_bytes = 64 * RT_MIB,
            .memory_bytes = RT_GIB,
            .kv_disk_bytes = cap,
            .disk_free_bytes = free_bytes,
            .disk_kept_bytes = kept_bytes};
    glm_plan plan;
    help_require(glm_plan_make(checkpoint, &options, &plan), "plan");
    return plan;
}

static void check_cap(bool keeps_all, const char *what) {
    const int64_t needed = plan_of(keeps_all, 1, 1, 0).kv_must_bytes;
    for (int64_t percent = 40; percent <= 220; percent += 60) {
        const glm_plan plan = plan_of(keeps_all, needed / 100 * percent, 1, 0);
        require(plan.fits == (plan.kv_must_bytes <= plan.kv_disk_limit_bytes), what, &plan);
        require(plan.fits == (percent > 100) || percent == 100, what, &plan);
        require(plan.fits || plan.fitting_len < N_TOKENS, what, &plan);
    }
}

/* A drive with just enough room for the book, stored with a ratio, and then stopped. */
static void check_continuation(double ratio) {
    const int64_t drive =
            plan_of(true, 1, 1, 0).kv_must_bytes / 8 * 10 + RT_MIB; /* eight tenths may be taken */
    for (int percent = 0; percent <= 100; percent += 25) {
        const int64_t stored = (int64_t)((double)N_TOKENS * RAW_BYTES * percent / 100.0 / ratio);
        const glm_plan plan = plan_of(true, 0, drive - stored, stored);
        require(plan.fits, "a prefill goes on", &plan);
    }
}

/* Where memory holds all keys and values no span is longer than it must be: hidden states are all it would cost. */
static void check_span(int64_t chunk, int64_t span, int64_t want) {
    const glm_options options = {.device = "cpu",
            .max_len = N_TOKENS,
            .chunk = chunk,
            .span = span,
            .threads = 1,
            .memory_bytes = 4 * RT_GIB,
            .disk_free_bytes = RT_GIB};
    glm_plan plan;
    help_require(glm_plan_make(checkpoint, &options, &plan), "plan");
    require(plan.fits && !plan.kv_overflows && plan.span == want && plan.chunk <= want,
            "a span in memory", &plan);
}

int main(void) {
    glm_checkpoint *opened = NULL;
    help_require(glm_checkpoint_open(help_needle_model(), &opened), "the embedded model");
    checkpoint = opened;
    check_cap(true, "a book under a cap");
    check_cap(false, "what is kept by the way, under a cap");
    check_continuation(1.0);
    check_continuation(1.9);
    check_span(0, 0, 4096);
    check_span(8192, 0, 8192);
    check_span(0, 16384, 16384);

    const int64_t raw = (int64_t)N_TOKENS * RAW_BYTES;
    glm_plan plan = plan_of(false, 0, 1, 0);
    require(!plan.fits, "a full disk holds nothing", &plan);
    plan = plan_of(false, 0, RT_MIB, raw / 19 * 10);
    require(plan.fits, "a book that is there, on a disk that is full", &plan);
    plan = plan_of(false, 2 * raw, 1, 0);
    require(plan.fits && plan.kv_overflow_max >= raw, "half of the disk is the overflow's", &plan);
    glm_checkpoint_close(opened);
    return 0;
}

/* Whichever allocation of a load is refused, the load ends with RT_ENOMEM; nothing crashes, nothing
 * leaks, and the next load works.
 *
 * Method: three loads of each of three small checkpoints: its tensors, all read; its tokenizer; an
 * engine. Each once to count the allocations, libraries' included, then once for each of them
 * refused. A few may be done without: a libc or libcrypto that wanted to make a block smaller, or
 * looked in a cache. The leaks are found by the address sanitizer's build. */
#include "help_checkpoint.h"
#include "help_faults.h"
#include "runtime/base/size.h"
#include "runtime/runtime.h"

#include <inttypes.h>

#if defined(__SANITIZE_THREAD__)
enum { STEP = 37 }; /* TSan takes a hundred times as long, and has nothing to see here */
#else
enum { STEP = 1 };
#endif

static rt_status open_engine(const char *dir) {
    const glm_options options = {.model_dir = dir,
            .max_len = 16,
            .threads = 2,
            .linear = "own"}; /* oneDNN's C++ aborts */
    glm_engine *engine = NULL;
    RT_TRY(glm_engine_open(&options, &engine));
    glm_engine_close(engine);
    return RT_OK;
}

typedef rt_status load(const char *dir);

static rt_status load_without(load *work, const char *dir, int64_t fail_at) {
    faults_begin(fail_at, NULL);
    const rt_status status = work(dir);
    faults_end();
    return status;
}

static void try_load(const char *name, load *work, const char *dir) {
    int64_t n_without = 0;
    /* What libraries set up once is set up. */
    CHECK(work(dir) == RT_OK);
    CHECK(load_without(work, dir, FAULTS_NEVER) == RT_OK);
    const int64_t n = atomic_load(&faults.n_allocations);
    for (int64_t i = 0; i < n; i += STEP) {
        const rt_status status = load_without(work, dir, i);
        if (status == RT_OK) n_without++;
        if (status == RT_OK || (status == RT_ENOMEM && strstr(rt_error_text(), "memory"))) continue;
        (void)printf("FAIL %s, allocation %" PRId64 " of %" PRId64 ": %s: %s\n", name, i, n,
                rt_status_name(status), rt_error_text());
        exit(1);
    }
    CHECK(work(dir) == RT_OK);
    (void)printf("%s: %" PRId64 " of %" PRId64 " allocations refused, %" PRId64 " done without\n",
            name, rt_div_up(n, STEP), n, n_without);
    CHECK(n > 10 && n_without <= n / 10);
}

int main(void) {
    for (int kind = 0; kind < CKH_N_KINDS; kind++) {
        const char *dir = ckh_make((ckh_kind)kind);
        try_load("tensors", ckh_load_tensors, dir);
        if (kind == CKH_NATIVE) continue; /* too small for an engine */
        try_load("tokenizer", ckh_load_tokenizer, dir);
        try_load("engine", open_engine, dir);
    }
    return 0;
}

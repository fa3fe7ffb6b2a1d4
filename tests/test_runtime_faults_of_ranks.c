/* A rank that dies, freezes, exits, is slow, sends what is not due, or has a full or damaged disk, while it
 * loads, prefills, spills, decodes or shuts down: the others notice (in a campaign, which runs alone, the dead within
 * 5 s and the frozen within 10 s), end with exit code 6 and a message that names rank, host and step, and leave no process behind; or
 * the answer is right to the bit. It is never wrong, and nothing ever hangs. (Ranks that are not alike:
 * cli_ranks_that_differ.)
 *
 * Method: this program is the harness, rank 0 ("zero") and the other ranks ("rank FD"; "member" where TCP or
 * MPI is between them): help_faulty_ranks.h.
 * The fault is at the n-th operation of one rank, by wrapped function pointers. help_fault_runs.h starts the
 * processes and sees every one of them end.
 *
 *   (no argument)               a bounded sample: each kind at a few points
 *   KIND RANKS RANK AT          one run, a line about it
 *   count RANKS                 how many operations there are
 *   campaign N [SEED]           N runs over all kinds, ranks and points; a summary
 *   tcp ..., mpi ...            the same between ranks by TCP or MPI. There nobody is a frozen rank 0's
 *                               parent: the others say who froze and leave; what started it ends it (mpirun),
 *                               or lets it go on (the harness), and it ends by itself */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "help_dir.h"
#include "help_fault_runs.h"
#include "help_faulty_ranks.h"
#include "help_random.h"
#include "help_ranks.h"

/* Of a sample, which runs beside others on a machine that may be busy: it does not wait for what never comes. */
static double dead_s_max = 100.0;
static double frozen_s_max = 100.0;

static help_fault_setup setup = {.transport = PAR_BY_LOCAL};

/* ---- what must be ---------------------------------------------------------------------------- */

static bool must_be_right(help_fault_kind kind) {
    return kind == HELP_FAULT_NONE || kind == HELP_FAULT_SLOW || kind == HELP_FAULT_FULL;
}

/* The message names the rank at fault, its host, and a step. */
static bool names_rank(const help_fault_outcome *out, const help_fault *fault) {
    char who[32];
    (void)snprintf(who, sizeof who, "rank %d on ", fault->rank);
    return strstr(out->text, who) && strstr(out->text, "step ");
}

/* NULL: as it must be; otherwise what is not. */
static const char *judge(const help_fault_outcome *out, const help_fault *fault, int n_ranks) {
    const bool is_frozen = fault->kind == HELP_FAULT_STOP;
    const double limit = is_frozen ? frozen_s_max : dead_s_max;
    if (out->has_hung) return "hangs";
    const bool is_own_exit =
            fault->kind == HELP_FAULT_EXIT0 && fault->rank == 0 && out->has_happened;
    if (out->exit_code == 0 && !is_own_exit) return out->is_right ? NULL : "a wrong answer";
    /* A cache that has nowhere to overflow to is refused. */
    if (fault->kind == HELP_FAULT_FULL && setup.spills)
        return out->exit_code == 1 || out->exit_code == 3 ? NULL : "another exit code";
    if (must_be_right(fault->kind)) return "fails";
    /* A rank 0 that ended by itself says nothing; one that froze goes on, to say it. */
    if (fault->rank == 0 && !is_frozen && fault->kind != HELP_FAULT_CORRUPT &&
            fault->kind != HELP_FAULT_DUPLICATE) {
        if (out->detected_s > limit) return "noticed too late";
        return out->gone_s > limit + 2.0 ? "a process stays" : NULL;
    }
    /* mpirun's own, and it ends all once one has noticed. */
    const bool is_mpi = setup.transport == PAR_BY_MPI;
    if (is_mpi ? out->exit_code == 0 : out->exit_code != 6) return "another exit code";
    if (is_frozen && fault->rank == 0 && out->n_noticed < (is_mpi ? 1 : n_ranks - 1))
        return "a rank does not notice";
    if (out->detected_s > limit) return "noticed too late";
    if (out->gone_s > limit + 3.0) return "a process stays";
    const bool is_named = fault->kind == HELP_FAULT_CORRUPT || fault->kind == HELP_FAULT_DUPLICATE
                                  ? strstr(out->text, "rank ") != NULL
                                  : names_rank(out, fault);
    return is_named ? NULL : "the message does not name the rank";
}

static void print_run(
        const help_fault_outcome *out, const help_fault *fault, int n_ranks, const char *wrong) {
    printf("%s %s%s%-9s rank %d of %d at %4d (%s): exit %d, noticed in %.2f s by %d, gone in %.2f "
           "s%s%s\n",
            wrong ? "FAIL" : "ok  ",
            setup.transport == PAR_BY_MPI   ? "mpi, "
            : setup.transport == PAR_BY_TCP ? "tcp, "
                                            : "",
            setup.spills ? "spilling, " : "", help_fault_name(fault->kind), fault->rank, n_ranks,
            fault->at, out->has_happened ? out->step : "-", out->exit_code, out->detected_s,
            out->n_noticed, out->gone_s, wrong ? ": " : "", wrong ? wrong : "");
    if (wrong && out->text[0]) printf("     %s\n", out->text);
    (void)fflush(stdout);
}

static help_fault_outcome run_and_judge(int n_ranks, const help_fault *fault, bool *is_good) {
    help_fault_shell("rm -rf '%s/run'", setup.base);
    const help_fault_outcome out = help_fault_run(&setup, "run", n_ranks, fault);
    const char *wrong = judge(&out, fault, n_ranks);
    *is_good = wrong == NULL;
    print_run(&out, fault, n_ranks, wrong);
    return out;
}

/* ---- more than one run ----------------------------------------------------------------------- */

/* After a rank was killed while decoding, the same and another number of ranks go on from the spans that
 * were finished. */
static bool goes_on_after(int n_ranks, int at, int then_ranks) {
    const help_fault killed = {.kind = HELP_FAULT_KILL, .rank = n_ranks - 1, .at = at};
    const help_fault none = {.kind = HELP_FAULT_NONE};
    help_fault_shell("rm -rf '%s/again'", setup.base);
    const help_fault_outcome first = help_fault_run(&setup, "again", n_ranks, &killed);
    const help_fault_outcome second = help_fault_run(&setup, "again", then_ranks, &none);
    const bool is_good = first.exit_code == 6 && second.exit_code == 0 && second.reused >= 4096 &&
                         help_fault_is_right(&setup, "again", then_ranks, 2e-5);
    printf("%s killed in \"%s\" with %d ranks, then %d: exit %d, %d; %" PRId64 " tokens reused\n",
            is_good ? "ok  " : "FAIL", first.step, n_ranks, then_ranks, first.exit_code,
            second.exit_code, second.reused);
    return is_good;
}

/* A byte of one rank's kept segments changes: found out, and computed again by all. */
static bool damage_is_mended(int n_ranks, uint64_t seed) {
    const help_fault none = {.kind = HELP_FAULT_NONE};
    help_fault_shell("rm -rf '%s/damaged'", setup.base);
    const help_fault_outcome first = help_fault_run(&setup, "damaged", n_ranks, &none);
    const int rank = (int)(seed % (uint64_t)n_ranks);
    help_fault_shell(
            "f=$(ls -S '%s'/damaged/kv/r%d/vault/*/*/*.kvs | head -n 1); n=$(stat -c %%s \"$f\"); "
            "printf '\\377\\376\\375' | dd of=\"$f\" bs=1 seek=$((20480 + %d %% (n - 30000))) "
            "conv=notrunc 2>/dev/null",
            setup.base, rank, (int)(seed % 1000003));
    const help_fault_outcome second = help_fault_run(&setup, "damaged", n_ranks, &none);
    const bool is_good = first.exit_code == 0 && second.exit_code == 0 && second.is_right;
    printf("%s damaged file of rank %d of %d: exit %d, %d; %" PRId64 " tokens reused\n",
            is_good ? "ok  " : "FAIL", rank, n_ranks, first.exit_code, second.exit_code,
            second.reused);
    return is_good;
}

typedef struct tally {
    int n;
    int n_bad;
    int n_happened;
    double detected_s_max;
    double gone_s_max;
} tally;

/* Bytes on their way are changed in shared memory only (test_parallel_tcp_ranks has what is not due). */
static help_fault_kind kind_of_run(int i) {
    static const help_fault_kind kinds[] = {HELP_FAULT_KILL, HELP_FAULT_EXIT0, HELP_FAULT_EXIT1,
            HELP_FAULT_KILL, HELP_FAULT_CORRUPT, HELP_FAULT_DUPLICATE, HELP_FAULT_SLOW,
            HELP_FAULT_STOP, HELP_FAULT_FULL};
    const help_fault_kind kind = kinds[i % (int)(sizeof kinds / sizeof kinds[0])];
    const bool is_local = kind == HELP_FAULT_CORRUPT || kind == HELP_FAULT_DUPLICATE;
    return is_local && setup.transport != PAR_BY_LOCAL ? HELP_FAULT_STOP : kind;
}

static void campaign(int n_runs, uint64_t seed) {
    tally tallies[HELP_N_FAULTS] = {0};
    int n_operations[5] = {0};
    int n_bad = 0;
    dead_s_max = 5.0;
    frozen_s_max = 10.0;
    for (int n = 2; n <= 4; n += 2) n_operations[n] = help_fault_count(&setup, n);
    printf("operations: %d with 2 ranks, %d with 4\n", n_operations[2], n_operations[4]);
    for (int i = 0; i < n_runs; i++) {
        const int n_ranks = random_below(&seed, 2) ? 4 : 2;
        help_fault fault = {.kind = kind_of_run(i),
                .rank = (int)random_below(&seed, n_ranks),
                .at = 1 + (int)random_below(&seed, n_operations[n_ranks])};
        if (i == 7) /* rank 0 freezes at the last operation of all, when the others have nothing to do but leave */
            fault = (help_fault){HELP_FAULT_STOP, 0, n_operations[n_ranks]};
        bool is_good = true;
        setup.spills = i % 3 == 2;
        if (i % 20 == 18) {
            setup.spills = false;
            n_bad += !damage_is_mended(n_ranks, random_next(&seed) >> 16);
            continue;
        }
        const help_fault_outcome out = run_and_judge(n_ranks, &fault, &is_good);
        tally *t = &tallies[fault.kind];
        t->n++;
        t->n_bad += !is_good;
        t->n_happened += out.has_happened;
        if (out.detected_s > t->detected_s_max) t->detected_s_max = out.detected_s;
        if (out.gone_s > t->gone_s_max && fault.kind != HELP_FAULT_SLOW) t->gone_s_max = out.gone_s;
        n_bad += !is_good;
    }
    for (int kind = 1; kind < HELP_N_FAULTS; kind++)
        if (tallies[kind].n > 0)
            printf("%-9s runs %3d happened %3d bad %d noticed_s_max %.2f gone_s_max %.2f\n",
                    help_fault_name((help_fault_kind)kind), tallies[kind].n,
                    tallies[kind].n_happened, tallies[kind].n_bad, tallies[kind].detected_s_max,
                    tallies[kind].gone_s_max);
    printf("%d runs, %d bad\n", n_runs, n_bad);
    exit(n_bad ? 1 : 0);
}

/* Each kind once or twice, at points from loading to shutdown. */
static int sample(void) {
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    const int n = help_fault_count(&setup, 2);
    const help_fault faults[] = {{HELP_FAULT_FULL, 1, 0}, {HELP_FAULT_KILL, 1, n / 2},
            {HELP_FAULT_CORRUPT, 1, n * 5 / 9}, {HELP_FAULT_STOP, 1, n / 2},
            {HELP_FAULT_KILL, 1, 2}, {HELP_FAULT_KILL, 0, n - 20}, {HELP_FAULT_KILL, 1, n - 2},
            {HELP_FAULT_EXIT0, 1, n / 4}, {HELP_FAULT_EXIT1, 0, n / 2}, {HELP_FAULT_SLOW, 1, n / 3},
            {HELP_FAULT_CORRUPT, 0, n / 2}, {HELP_FAULT_DUPLICATE, 1, n / 2},
            {HELP_FAULT_DUPLICATE, 0, n / 5}, {HELP_FAULT_STOP, 0, n * 2 / 3}};
    const size_t n_faults = is_fast ? 3 : sizeof faults / sizeof faults[0];
    int n_bad = 0;
    for (size_t i = 0; i < n_faults; i++) {
        bool is_good = true;
        setup.spills = i % 3 == 1;
        (void)run_and_judge(2, &faults[i], &is_good);
        n_bad += !is_good;
    }
    setup.spills = false;
    if (is_fast) return n_bad ? 1 : 0;
    bool is_good = true;
    setup.transport = PAR_BY_TCP;
    (void)run_and_judge(2, &faults[1], &is_good);
    setup.transport = PAR_BY_LOCAL;
    n_bad += !is_good;
    (void)help_fault_count(&setup, 4);
    n_bad += !goes_on_after(2, n - 25, 2);
    n_bad += !goes_on_after(2, n - 25, 4);
    n_bad += !damage_is_mended(2, 12345);
    return n_bad ? 1 : 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "rank") == 0) return help_faulty_rank(argv[2]);
    if (argc == 2 && strcmp(argv[1], "zero") == 0) return help_faulty_zero();
    if (argc == 2 && strcmp(argv[1], "member") == 0) return help_faulty_member();
    if (argc > 1 && (strcmp(argv[1], "tcp") == 0 || strcmp(argv[1], "mpi") == 0)) {
        setup.transport = strcmp(argv[1], "tcp") == 0 ? PAR_BY_TCP : PAR_BY_MPI;
        argv[1] = argv[0];
        argv++;
        argc--;
    }
    const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 8,
            .n_kv_heads = 4,
            .head_dim = 32,
            .ffn = 128,
            .vocab = 304,
            .dtype = "float32"};
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return 1;
    setup.base = help_dir_in_memory();
    setup.model = help_random_model(&shape, 21);
    if (argc == 1) return sample();
    if (argc >= 3 && strcmp(argv[1], "campaign") == 0)
        campaign(atoi(argv[2]), argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    if (argc == 3 && strcmp(argv[1], "count") == 0) {
        printf("%d\n", help_fault_count(&setup, atoi(argv[2])));
        return 0;
    }
    help_fault fault;
    char text[128];
    if (argc != 5) return 2;
    (void)snprintf(text, sizeof text, "%s %s %s", argv[1], argv[3], argv[4]);
    if (!help_fault_parse(text, &fault)) return 2;
    bool is_good = true;
    (void)help_fault_count(&setup, atoi(argv[2]));
    (void)run_and_judge(atoi(argv[2]), &fault, &is_good);
    return is_good ? 0 : 1;
}

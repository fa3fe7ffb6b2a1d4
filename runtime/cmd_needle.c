/* glm1m needle: the main job. Haystack, grid, engine, table, pictures. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/size.h"
#include "cli_books.h"
#include "cli_input.h"
#include "cli_prefill.h"
#include "cli_signals.h"
#include "cmd_needle_settings.h"
#include "cmd_record.h"
#include "heatmap.h"
#include "hub.h"
#include "linear_choice.h"
#include "needle_compare.h"
#include "needle_model.h"
#include "needle_run.h"

/* A vocabulary this small holds bytes: such a model can continue a text but not be asked. */
enum { BYTE_VOCABULARY_MAX = 1024 };

typedef struct evaluation {
    glm_cli *cli;
    char *demo_dir; /* the embedded model's, when it is used */
    needle_choices chosen;
    glm_tokenizer *tokenizer;
    glm_haystack haystack;
    char haystack_source[256];
    glm_needle_source source;
    glm_engine *engine;
    glm_needle_results results;
} evaluation;

/* ---- the model ------------------------------------------------------------------------------- */

static rt_status demo_directory(char **dir) {
    char *cache = NULL;
    RT_TRY(glm_cache_directory(&cache));
    const rt_status status = rt_path_join(cache, "needle-model-v1", dir);
    free(cache);
    return status;
}

static rt_status write_demo(const char *dir) {
    const rt_status status = glm_needle_model_write(dir);
    if (status == RT_OK || status == RT_EINTERRUPTED) return status;
    return rt_fail(status,
            "%s\n(without -m the embedded demo model is written to %s: XDG_CACHE_HOME names another place, "
            "-m DIR another model)",
            rt_error_text(), dir);
}

/* A moment without a word, then a minute. Without a lock there may be two who write; each names its weights when they are
 * whole. */
static rt_status await_writer(const char *dir, int *fd) {
    bool is_held = false;
    *fd = rt_directory_lock(dir, 1.0, &is_held);
    if (is_held) {
        rt_log(RT_LOG_WARN, "needle",
                "another process writes the demo model, or holds %s/.lock: waiting for it for a minute at most",
                dir);
        *fd = rt_directory_lock(dir, 60.0, &is_held);
    }
    if (*fd >= 0) return RT_OK;
    return glm_cli_check_interrupted();
}

/* Its weights are written last and named whole, so where they are the directory is complete. Whoever comes meanwhile waits:
 * what is being read may not be replaced. */
static rt_status write_demo_once(const char *dir, bool *is_there) {
    char *weights = NULL;
    RT_TRY(rt_path_join(dir, "model.safetensors", &weights));
    rt_status status = RT_OK;
    int fd = -1;
    *is_there = rt_file_exists(weights);
    if (!*is_there) {
        if (rt_mkdirs(dir) == RT_OK) status = await_writer(dir, &fd);
        *is_there = rt_file_exists(weights);
        if (status == RT_OK && !*is_there) status = write_demo(dir);
        if (fd >= 0) (void)close(fd);
    }
    free(weights);
    return status;
}

/* Without -m: the embedded model. */
static rt_status choose_model(evaluation *e) {
    bool is_there = false;
    if (e->cli->engine.model_dir) return RT_OK;
    RT_TRY(demo_directory(&e->demo_dir));
    RT_TRY(write_demo_once(e->demo_dir, &is_there));
    e->cli->engine.model_dir = e->demo_dir;
    if (!e->cli->quiet)
        (void)fprintf(stderr,
                "no -m: using the embedded demo model, %s %s\n"
                "(1.6 million compiled weights that retrieve exactly; -m DIR runs a GLM-4 "
                "checkpoint)\n",
                is_there ? "in" : "written to", e->demo_dir);
    return RT_OK;
}

static rt_status load_tokenizer(evaluation *e) {
    RT_TRY(glm_cli_load_tokenizer(e->cli, &e->tokenizer));
    e->chosen.settings.is_completer = glm_tokenizer_size(e->tokenizer) <= BYTE_VOCABULARY_MAX;
    return RT_OK;
}

static rt_status load_haystack(evaluation *e) {
    const glm_cli *cli = e->cli;
    RT_TRY(glm_haystack_load(cli->haystacks, cli->n_haystacks, e->chosen.settings.seed,
            glm_needle_haystack_bytes(&e->chosen.settings), &e->haystack));
    (void)snprintf(e->haystack_source, sizeof e->haystack_source, "%s",
            e->haystack.is_built_in ? "built-in" : cli->haystacks[0]);
    return glm_needle_source_open(&e->chosen.settings, e->tokenizer, &e->haystack, &e->source);
}

/* Prompt and answer of a cell fit its length, so the longest length is all the engine needs. */
static rt_status open_engine(evaluation *e) {
    glm_options options = e->cli->engine;
    const int64_t longest = e->chosen.lengths[e->chosen.settings.n_lengths - 1];
    if (options.max_len > 0 && options.max_len < longest)
        return rt_fail(RT_EUSAGE,
                "--max-model-len %" PRId64 " is less than the longest of --lengths, %" PRId64,
                options.max_len, longest);
    options.max_len = longest;
    options.persists = options.needs_kept = e->cli->book != NULL;
    RT_TRY(glm_engine_open(&options, &e->engine));
    glm_cli_say_kv(e->cli, e->engine);
    return RT_OK;
}

/* ---- what is shown --------------------------------------------------------------------------- */

/* "found 41 of 50"; where parts count, the mean score as well. */
static void print_accuracy(const evaluation *e) {
    const glm_needle_tally tally = glm_needle_results_tally(&e->results);
    (void)printf("found %" PRId64 " of %" PRId64, tally.n_correct, tally.n);
    if (tally.n > 0 && fabs(tally.accuracy - (double)tally.n_correct / (double)tally.n) > 1e-9)
        (void)printf(", score %.1f %%, parts counted", 100.0 * tally.accuracy);
    double low = 0.0;
    double high = 0.0;
    glm_needle_interval(tally.accuracy, tally.n, &low, &high);
    if (tally.n > 0) (void)printf("; 95 %% interval %.0f to %.0f %%", 100.0 * low, 100.0 * high);
    (void)printf("\n");
    if (tally.n_others > 0)
        (void)printf("not counted: %" PRId64 " of other lengths, depths or rounds in %s\n",
                tally.n_others, e->cli->out);
}

static void print_table(const evaluation *e) {
    const glm_needle_settings *s = &e->chosen.settings;
    char text[RT_SIZE_TEXT];
    (void)printf("needle: %s, %s mode%s, %" PRId64 " round%s, model %s, kv %s\n", s->protocol,
            s->is_fast ? "fast" : "exact", s->is_plain ? ", no chat template" : "", s->rounds,
            s->rounds == 1 ? "" : "s", e->results.header.model, e->results.header.kv_dtype);
    (void)printf("%8s", "depth");
    for (int64_t l = 0; l < s->n_lengths; l++)
        (void)printf("  %7s", rt_format_tokens(s->lengths[l], text));
    (void)printf("\n");
    for (int64_t d = 0; d < s->n_depths; d++) {
        if (s->is_spread)
            (void)printf("%8s", "all over");
        else
            (void)printf("%6g %%", s->depths[d]);
        for (int64_t l = 0; l < s->n_lengths; l++) {
            const double score = glm_needle_results_score(&e->results, s->lengths[l], s->depths[d]);
            if (isnan(score))
                (void)printf("  %7s", "-");
            else
                (void)printf("  %5.0f %%", 100.0 * score);
        }
        (void)printf("\n");
    }
    print_accuracy(e);
}

static rt_status write_heatmaps(const evaluation *e, const char *dir, const glm_heatmap *map) {
    char *svg = NULL;
    char *png = NULL;
    rt_status status = rt_path_join(dir, "heatmap.svg", &svg);
    if (status == RT_OK) status = rt_path_join(dir, "heatmap.png", &png);
    if (status == RT_OK) status = glm_heatmap_write_svg(map, svg);
    if (status == RT_OK) status = glm_heatmap_write_png(map, png);
    free(svg);
    free(png);
    if (status == RT_OK && !e->cli->quiet)
        (void)fprintf(
                stderr, "wrote %s/results.json, results.csv, heatmap.svg, heatmap.png\n", dir);
    return status;
}

static rt_status draw(const evaluation *e, const char *dir) {
    const glm_needle_settings *s = &e->chosen.settings;
    double *scores = NULL;
    double *depths = NULL;
    RT_TRY(rt_calloc(
            s->n_lengths * s->n_depths + s->n_depths, sizeof(double), "a heat-map", &scores));
    depths = scores + s->n_lengths * s->n_depths;
    for (int64_t d = 0; d < s->n_depths; d++) {
        depths[d] = s->is_spread ? (double)NAN : s->depths[d];
        for (int64_t l = 0; l < s->n_lengths; l++)
            scores[d * s->n_lengths + l] =
                    glm_needle_results_score(&e->results, s->lengths[l], s->depths[d]);
    }
    char subtitle[512];
    (void)snprintf(subtitle, sizeof subtitle,
            "%s, %s mode%s, %" PRId64 " round%s, model %s, KV %s, seed %" PRIu64, s->protocol,
            s->is_fast ? "fast" : "exact", s->is_plain ? ", no chat template" : "", s->rounds,
            s->rounds == 1 ? "" : "s", e->results.header.model, e->results.header.kv_dtype,
            s->seed);
    const glm_heatmap map = {.title = "Needle in a haystack",
            .subtitle = subtitle,
            .n_lengths = s->n_lengths,
            .lengths = s->lengths,
            .n_depths = s->n_depths,
            .depths = depths,
            .scores = scores};
    const rt_status status = write_heatmaps(e, dir, &map);
    free(scores);
    return status;
}

static rt_status show(const evaluation *e) {
    if (e->cli->json) {
        char *text = NULL;
        RT_TRY(glm_needle_results_json(&e->results, &text));
        (void)printf("%s\n", text);
        free(text);
    } else {
        print_table(e);
    }
    if (e->cli->out) return draw(e, e->cli->out);
    if (!e->cli->quiet && !e->cli->json)
        (void)fprintf(stderr, "--out DIR keeps the results, with a heat-map\n");
    return RT_OK;
}

/* ---- the run --------------------------------------------------------------------------------- */

static void fill_header(evaluation *e) {
    const char *dir = e->cli->engine.model_dir;
    e->results.header = (glm_needle_header){.settings = &e->chosen.settings,
            .model = e->demo_dir ? "embedded demo model" : dir,
            .fingerprint = glm_engine_fingerprint(e->engine),
            .kv_dtype = rt_dtype_name(glm_engine_plan(e->engine)->kv_dtype),
            .linear = glm_linear_by_name(glm_engine_plan(e->engine)->linear_by),
            .haystack_sha256 = e->haystack.sha256,
            .haystack_source = e->haystack_source};
}

/* Before the hours, not after the first cell. */
static rt_status make_out(const glm_cli *cli) {
    const char *dir = cli->out;
    if (!dir && cli->save_prompts)
        return rt_fail(RT_EUSAGE, "--save-prompts: to where? give --out DIR as well");
    if (!dir) return RT_OK;
    RT_TRY(rt_mkdirs(dir));
    return access(dir, W_OK | X_OK) == 0
                   ? RT_OK
                   : rt_fail_errno(RT_EIO, "--out: cannot write into %s", dir);
}

static rt_status evaluate(evaluation *e) {
    if (e->cli->book) RT_TRY(kv_book_check_name(e->cli->book));
    RT_TRY(glm_cli_book_spare(e->cli, GLM_NEEDLE_SOURCE));
    RT_TRY(make_out(e->cli));
    RT_TRY(choose_model(e));
    RT_TRY(needle_choose(e->cli, &e->chosen));
    RT_TRY(load_tokenizer(e));
    RT_TRY(load_haystack(e));
    RT_TRY(open_engine(e));
    fill_header(e);
    if (e->cli->out) RT_TRY(glm_needle_results_load(&e->results, e->cli->out));
    const int64_t n_before = e->results.n;
    if (n_before > 0 && !e->cli->quiet)
        (void)fprintf(stderr, "continuing: %" PRId64 " cells are done already\n", n_before);
    char program[RECORD_PROGRAM];
    const glm_needle_grid grid = {.cli = e->cli,
            .engine = e->engine,
            .tokenizer = e->tokenizer,
            .source = &e->source,
            .results = &e->results,
            .program = record_program(e->engine, program),
            .out_dir = e->cli->out};
    return glm_needle_run(&grid);
}

static void close_evaluation(evaluation *e) {
    glm_needle_results_free(&e->results);
    glm_engine_close(e->engine);
    glm_needle_source_free(&e->source);
    glm_haystack_free(&e->haystack);
    glm_tokenizer_free(e->tokenizer);
    needle_choices_free(&e->chosen);
    free(e->demo_dir);
}

/* A share up to 1, per cent above. */
static bool is_below(const evaluation *e) {
    const double wanted = e->cli->min_accuracy;
    if (wanted < 0.0) return false;
    const double share = wanted > 1.0 ? wanted / 100.0 : wanted;
    return glm_needle_results_tally(&e->results).accuracy < share;
}

static int finish(evaluation *e, rt_status status) {
    if (status == RT_EINTERRUPTED && e->results.n > 0 && !e->cli->json) print_table(e);
    if (status == RT_EINTERRUPTED && e->cli->out && !e->cli->quiet)
        (void)fprintf(stderr, "the same command continues after the %" PRId64 " cells done\n",
                e->results.n);
    if (status == RT_OK) status = show(e);
    if (status != RT_OK) return glm_cli_fail(status);
    if (!is_below(e)) return GLM_EXIT_OK;
    if (!e->cli->quiet)
        (void)fprintf(stderr, "glm1m: the accuracy %.3f is below --min-accuracy %g\n",
                glm_needle_results_tally(&e->results).accuracy, e->cli->min_accuracy);
    return GLM_EXIT_BELOW_MINIMUM;
}

static int run_compare(const glm_cli *cli) {
    if (cli->n_compared != 2)
        return glm_cli_fail(rt_fail(RT_EUSAGE,
                "--compare: %d given; two are wanted, each a directory of --out", cli->n_compared));
    const rt_status status = glm_needle_compare(cli->compared[0], cli->compared[1], cli->json);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

static int run(glm_cli *cli) {
    if (cli->n_compared > 0) return run_compare(cli);
    evaluation e = {.cli = cli};
    /* The error text must outlive what the clean-up calls. */
    const rt_status status = evaluate(&e);
    const int exit_code = finish(&e, status);
    close_evaluation(&e);
    return exit_code;
}

const glm_command glm_cmd_needle = {
        .name = "needle",
        .usage = "needle [-m DIR] [--protocol NAME] [--lengths LIST] [--depths LIST] [--book NAME] "
                 "[--out DIR]",
        .summary = "hide needles in a haystack and ask for them",
        .details =
                "Hides a fact at several depths of texts of several lengths and asks the model for "
                "it. Without -m it runs the embedded demo model, whose compiled weights retrieve "
                "exactly: a test of this program, on any machine.\n"
                "\n"
                "Protocols: lwm (default; \"The special magic CITY number is\"), gkamradt (\"the "
                "best thing to do in San Francisco\"; both facts of the needle must be named), and "
                "RULER's ruler:single_1 to single_3, multikey_1 to multikey_3, multivalue, "
                "multiquery, vt (variable tracking), cwe (common words), fwe (frequent words), qa_1 "
                "and qa_2 (questions of SQuAD and HotpotQA, whose file --haystack names; round i "
                "asks question i, and any of its answers is right). multivalue to fwe ask for "
                "several answers, each of which counts for its share; from vt on there are no "
                "--depths. RULER's own names, as niah_single_1, are taken, too. "
                "The model's own tokenizer counts and cuts. A needle stands behind the full stop next "
                "before its depth, Chinese ones too, and in a text without them at the depth itself. The "
                "haystack is the files of "
                "--haystack, in a directory *.txt, *.md, *.jsonl (each line's \"text\" or \"context\") and "
                "documents such as PDFs, otherwise prose made from the seed. Needles of your own: "
                "--needle, --question and --answer. As FILE of --haystack or as question - is standard input.\n"
                "\n"
                "--mode exact builds and prefills each prompt as the protocol does. --mode fast "
                "hides one needle per round and shares the prefilled beginning between cells; "
                "results say so. --answer-prefix auto starts the answer with the needle's own "
                "sentence for a model of bytes, with RULER's prefix for RULER, else with nothing.\n"
                "\n"
                "--book NAME keeps what is prefilled on disk, in --kv-disk-dir, and finds there "
                "what an earlier cell or run began a prompt with; NAME holds the longest prompt. "
                "In exact mode too: the prefill time of a cell is then that of the rest, and "
                "reused_tokens of its record says so. Prompts of one length and round share what "
                "stands before their needles, so depths near 100 gain the most.\n"
                "\n"
                "--out DIR keeps results.json, results.csv, heatmap.svg and heatmap.png; the same "
                "command continues an interrupted run and never repeats a finished cell. Several runs may "
                "write into one DIR at once, as the jobs of an array do, also with the same command line: "
                "they share the cells, and each ends when all of its own are there. Where the file system "
                "knows no locks a cell may be computed twice; none is lost. "
                "--min-accuracy F (a share up to 1, or per cent) makes the exit code 7 below it. "
                "--save-prompts writes each prompt, special tokens spelled out, to DIR/prompts; "
                "prompt_sha256 of a record tells whether two runs had the same, program which build computed "
                "it, on what, among how many ranks. The 95 % interval "
                "behind the table is Wilson's, for prompts that were drawn like these. --compare A B "
                "prints two such directories side by side, with a sign test over their cells.\n"
                "\n"
                "Defaults: --lengths 1k,4k,16k --depths 0,25,50,75,100 --rounds 1 --seed 1234.\n"
                "\n"
                "Examples:\n"
                "  glm1m needle\n"
                "  glm1m needle -m glm-4-9b-chat-1m --lengths 64k,256k,1M --haystack books/ --out "
                "run1\n"
                "  glm1m needle --protocol ruler:multikey_1 --lengths 16k --mode fast\n"
                "  glm1m needle --needle 'Ada hid the key in the oven.' --question 'Where is the "
                "key?' --answer oven\n"
                "  glm1m needle -m DIR --protocol ruler:qa_1 --haystack dev-v2.0.json --rounds 50\n"
                "  glm1m needle --compare run1 run2\n",
        .flags = "@engine book protocol needle question answer lengths depths rounds haystack "
                 "template answer-prefix mode min-accuracy seed out save-prompts compare json",
        .run = run,
};

/* Finds the subcommand and runs it. Only this file and cli.c print errors. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/machine.h"
#include "cli.h"
#include "cli_progress.h"
#include "cli_signals.h"

static const glm_command *const commands[] = {
        &glm_cmd_needle,
        &glm_cmd_ask,
        &glm_cmd_chat,
        &glm_cmd_complete,
        &glm_cmd_prefill,
        &glm_cmd_book,
        &glm_cmd_tokenize,
        &glm_cmd_detokenize,
        &glm_cmd_perplexity,
        &glm_cmd_logits,
        &glm_cmd_plan,
        &glm_cmd_make_model,
        &glm_cmd_doctor,
        &glm_cmd_serve,
        &glm_cmd_version,
        &glm_cmd_completion,
        NULL,
};

/* Output that could not be written is a failure: a full disk must not look like success. */
static int flush_output(int exit_code) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return exit_code;
    if (exit_code != GLM_EXIT_OK) return exit_code;
    return glm_cli_fail(rt_fail_errno(RT_EIO, "cannot write to standard output"));
}

/* What GLM_LOG says; what is wrong with it matters to none that writes no log. */
static rt_status obey_environment(const glm_command *command) {
    const rt_status status = rt_log_init();
    if (command->works_anywhere) return RT_OK;
    if (status == RT_OK) rt_log_tell_unknown();
    return status;
}

static int run_command(const glm_command *command, int argc, char **argv) {
    glm_cli cli;
    rt_status status = obey_environment(command);
    if (status != RT_OK) return glm_cli_fail(status);

    status = glm_cli_parse(commands, command, argc, argv, &cli);
    if (status == RT_OK && !command->works_anywhere) status = glm_launcher_set_ranks(&cli.engine);
    int exit_code = GLM_EXIT_OK;
    if (status != RT_OK) {
        exit_code = glm_cli_fail(status);
    } else {
        glm_text_progress text_progress = {.cli = &cli};
        cli.text_progress = &text_progress;
        glm_cli_catch_signals();
        exit_code = command->run(&cli);
        rt_log(RT_LOG_INFO, "main", "peak_rss_bytes=%lld", (long long)rt_machine_peak_rss());
    }
    glm_cli_free(&cli);
    return flush_output(exit_code);
}

static int help(int argc, char **argv) {
    if (argc < 3) {
        glm_cli_help_all(commands);
        return flush_output(GLM_EXIT_OK);
    }
    const glm_command *command = glm_cli_find_command(commands, argv[2]);
    if (!command) return glm_cli_fail(glm_cli_unknown_command(commands, argv[2]));
    glm_cli_help(command);
    return flush_output(GLM_EXIT_OK);
}

/* Whoever closed a standard stream gets errors from it, not what is opened next under its number. */
static void occupy_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* Where ulimit -v counts addresses, no thread is to reserve 64 MiB of them for small allocations of its own. */
static void spare_addresses(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        (void)mallopt(M_ARENA_MAX, 1);
}

int main(int argc, char **argv) {
    int rank_exit_code = 0;
    occupy_standard_streams();
    spare_addresses();
    if (glm_rank_is_asked(argc, argv, &rank_exit_code)) return rank_exit_code;
    const char *name = argc > 1 ? argv[1] : "";
    const glm_command *command =
            glm_cli_find_command(commands, strcmp(name, "--version") == 0 ? "version" : name);
    if (command && glm_cli_asks_help(commands, command, argc, argv)) {
        if (!glm_launcher_is_other_rank()) glm_cli_help(command);
        return flush_output(GLM_EXIT_OK);
    }
    if (glm_launcher_has_served(argc, argv, &rank_exit_code)) return rank_exit_code;
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc, argv);
    if (argc < 2) return glm_cli_fail(rt_fail(RT_EUSAGE, "which command? glm1m --help lists them"));
    if (!command) return glm_cli_fail(glm_cli_unknown_command(commands, name));
    const int exit_code = run_command(command, argc, argv);
    glm_launcher_dismiss(argc, argv);
    return exit_code;
}

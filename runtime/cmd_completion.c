/* glm1m completion: what a shell needs to complete a command line, made from the tables that --help is made from. */
#include <stdio.h>
#include <string.h>

#include "cli_flags.h"

/* ---- words ----------------------------------------------------------------------------------- */

/* "a|b" as "a b". */
static void print_choices(const char *choices) {
    for (; *choices; choices++) (void)putchar(*choices == '|' ? ' ' : *choices);
}

static void print_command_names(const glm_command *const *commands) {
    for (; *commands; commands++) (void)printf("%s ", (*commands)->name);
    (void)printf("help");
}

static void print_flags(const glm_command *command) {
    for (int i = 0; i < cli_n_flags; i++)
        if (cli_takes(command, &cli_flags[i])) (void)printf("--%s ", cli_flags[i].name);
    (void)printf("--help");
}

/* ---- bash, and zsh, which has bash's way too ----------------------------------------------------- */

/* "-n|--max-tokens", of every flag whose value is (or is not) one of some words. */
static void print_values(void) {
    for (int i = 0; i < cli_n_flags; i++) {
        const cli_flag *flag = &cli_flags[i];
        if (flag->kind == CLI_SWITCH) continue;
        (void)printf("    %s%s%s--%s) ", flag->shorthand ? "-" : "",
                flag->shorthand ? flag->shorthand : "", flag->shorthand ? "|" : "", flag->name);
        if (flag->choices) {
            (void)printf("words='");
            print_choices(flag->choices);
            (void)printf("' ;;\n");
        } else {
            (void)printf("return ;;\n"); /* a file's name, or what nobody knows */
        }
    }
}

/* bash breaks --device=c into three words; zsh, and a bash that is told to, does not. */
static void print_bash(const glm_command *const *commands) {
    (void)printf(
            "_glm1m() {\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= begun=\n"
            "    COMPREPLY=()\n"
            "    if [[ $cur == --*=* ]]; then prev=${cur%%%%=*} begun=$prev= cur=${cur#*=}; fi\n"
            "    [[ $cur != = ]] || cur=\n"
            "    [[ $prev != = ]] || prev=${COMP_WORDS[COMP_CWORD-2]}\n"
            "    if ((COMP_CWORD == 1)); then\n"
            "        words='");
    print_command_names(commands);
    (void)printf(" --help --version'\n"
                 "    else case $prev in\n");
    print_values();
    (void)printf("    *) case ${COMP_WORDS[1]} in\n"
                 "        help) words='");
    print_command_names(commands);
    (void)printf("' ;;\n");
    for (; *commands; commands++) {
        (void)printf("        %s) ", (*commands)->name);
        if ((*commands)->operand_words) {
            (void)printf("((COMP_CWORD > 2)) || words='");
            print_choices((*commands)->operand_words);
            (void)printf("'; ");
        }
        (void)printf("[[ $cur != -* ]] || words='");
        print_flags(*commands);
        (void)printf("' ;;\n");
    }
    (void)printf("        esac ;;\n"
                 "    esac; fi\n"
                 "    COMPREPLY=($(compgen -P \"$begun\" -W \"$words\" -- \"$cur\"))\n"
                 "}\n"
                 "complete -o default -F _glm1m glm1m\n");
}

static void print_zsh(const glm_command *const *commands) {
    (void)printf("autoload -Uz compinit bashcompinit && compinit && bashcompinit\n");
    print_bash(commands);
}

/* ---- fish ------------------------------------------------------------------------------------ */

/* In single quotes. */
static void print_quoted(const char *text) {
    (void)putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') (void)putchar('\\');
        (void)putchar(*text);
    }
    (void)putchar('\'');
}

static void print_fish_flag(const glm_command *command, const cli_flag *flag) {
    const bool has_letter = flag->shorthand && strlen(flag->shorthand) == 1;
    (void)printf("complete -c glm1m -n '__fish_seen_subcommand_from %s' -l %s", command->name,
            flag->name);
    if (has_letter) (void)printf(" -s %s", flag->shorthand);
    if (flag->kind != CLI_SWITCH) (void)printf(flag->choices ? " -x" : " -r");
    if (flag->choices) {
        (void)printf(" -a '");
        print_choices(flag->choices);
        (void)putchar('\'');
    }
    (void)printf(" -d ");
    print_quoted(flag->help);
    (void)putchar('\n');
}

static void print_fish(const glm_command *const *commands) {
    for (; *commands; commands++) {
        const glm_command *command = *commands;
        (void)printf("complete -c glm1m -n __fish_use_subcommand -f -a %s -d ", command->name);
        print_quoted(command->summary);
        (void)putchar('\n');
        if (command->operand_words) {
            (void)printf(
                    "complete -c glm1m -n '__fish_seen_subcommand_from %s' -a '", command->name);
            print_choices(command->operand_words);
            (void)printf("'\n");
        }
        for (int i = 0; i < cli_n_flags; i++)
            if (cli_takes(command, &cli_flags[i])) print_fish_flag(command, &cli_flags[i]);
    }
}

/* ---- the command ----------------------------------------------------------------------------- */

static int run_completion(glm_cli *cli) {
    const char *shell = cli->operands[0];
    if (strcmp(shell, "bash") == 0)
        print_bash(cli->commands);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(cli->commands);
    else if (strcmp(shell, "fish") == 0)
        print_fish(cli->commands);
    else
        return glm_cli_fail(
                rt_fail(RT_EUSAGE, "completion: \"%s\" is none of bash, zsh and fish", shell));
    return GLM_EXIT_OK;
}

const glm_command glm_cmd_completion = {
        .name = "completion",
        .usage = "completion bash|zsh|fish",
        .summary = "what makes the shell complete commands, flags and their values",
        .details = "Prints a script for the shell to read at its start:\n"
                   "\n"
                   "  bash: in ~/.bashrc                  source <(glm1m completion bash)\n"
                   "  zsh:  in ~/.zshrc                   source <(glm1m completion zsh)\n"
                   "  fish: in ~/.config/fish/config.fish  glm1m completion fish | source\n",
        .flags = "",
        .operand_words = "bash|zsh|fish",
        .operands_min = 1,
        .operands_max = 1,
        .works_anywhere = true,
        .run = run_completion,
};

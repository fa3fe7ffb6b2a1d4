#!/bin/sh
# --help is enough to use a command: usage, flags, the environment, exit codes; on stdout, exit 0.
#
# Method: take the commands from glm1m --help and ask each of them.
. tests/help_cli.sh

# Which one it is: of a checkout the commit, of sources without git none; doctor says it, too.
expect 0 --version
head -n 1 "$work/out" | grep -Eqx 'glm1m [0-9]+\.[0-9]+\.[0-9]+' || fail "--version is not a version"
says out 'compiler      '
cp "$work/out" "$work/version"
commit=$(git describe --always --abbrev=12 --exclude='*' 2>/dev/null)
if [ -n "$commit" ] && [ "$(git rev-parse --show-toplevel)" = "$(pwd -P)" ]; then
    grep -Eqx 'commit        [0-9a-f]{12,}(-dirty)?' "$work/out" || fail 'a checkout, and --version names no commit'
fi
expect 0 version --json
said() { sed -n "s/.*\"$1\": *\"\(.*\)\".*/\1/p" "$work/out"; }
compiler=$(said compiler) commit=$(said commit)
[ "$commit" = "$(sed -n 's/^commit  *//p' "$work/version")" ] || fail 'another commit than --version says'
expect 0 doctor --json
[ "$(said compiler) $(said commit)" = "$compiler $commit" ] || fail 'doctor says something else'
# Sources without git, and in a repository of something else.
mkdir -p "$work/src/runtime"
for step in none other; do
    [ $step = none ] || git init -q "$work"
    GIT_CEILING_DIRECTORIES=$(dirname "$work") cmake -DSOURCE="$work/src" -DOUT="$work/commit.c" -P runtime/commit.cmake || fail cmake
    grep -q 'version_commit\[\] = "";' "$work/commit.c" || fail "a commit, of $step"
done

expect 0 --help
cp "$work/out" "$work/overview"
commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' "$work/overview")
for command in complete logits plan doctor; do
    printf '%s\n' "$commands" | grep -qx "$command" || fail "--help does not list $command"
done

for command in $commands; do
    expect 0 "$command" --help
    says_nothing err
    says out "Usage: glm1m $command"
    says out 'Flags:'
    says out '--quiet'
    says out 'GLM_MAX_TOKENS'
    says out 'Exit: 0 ok'
    awk 'length($0) > 110 { exit 1 }' "$work/out" || fail "a line is too long to read"
    cp "$work/out" "$work/asked"
    expect 0 help "$command"
    cmp -s "$work/out" "$work/asked" || fail "help $command differs from $command --help"
done

# What a launcher left half set, ranks that never come, and a GLM_LOG that cannot be do not stand in the way of help.
anywhere() {
    expect 0 "$@"
    says_nothing err
    [ -s "$work/out" ] || fail 'nothing is said'
}
for broken in WORLD_SIZE=2 'RANK=9 WORLD_SIZE=2' 'RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=9' GLM_LOG=loud; do
    (
        # shellcheck disable=SC2086,SC2163 # words
        export RANK=0 $broken
        for command in $commands; do anywhere "$command" --help; done
        anywhere help perplexity
        anywhere --version
        anywhere version --json
        anywhere completion bash
    ) || exit 1
done

# The shell completes commands, the flags that --help lists, words, and the values of a choice.
# completes WORDS...: what the last of the words may become, a line each
expect 0 completion bash
cp "$work/out" "$work/completion"
completes() {
    bash -c '. "$0" && COMP_WORDS=(glm1m "$@") COMP_CWORD=$# && { _glm1m; printf "%s\n" "${COMPREPLY[@]}"; }' \
        "$work/completion" "$@" >"$work/out"
}
completes_to() {
    [ "$(tr '\n' ' ' <"$work/out")" = "$1 " ] || fail "completed to $(tr '\n' ' ' <"$work/out"), wanted $1"
}
completes ne && completes_to needle
completes book '' && completes_to 'ls show verify rm gc'
completes book rm '' && completes_to ''
completes ask --kv-cache-dtype '' && completes_to 'bf16 f32 fp8 int8 int4'
completes ask --device = c && completes_to 'cpu cuda'
completes ask --device = && completes_to 'auto cpu cuda'
completes ask --device=c && completes_to '--device=cpu --device=cuda'
completes ask x.pdf --kv-io= && completes_to '--kv-io=auto --kv-io=uring --kv-io=pread'
completes ask -m '' && completes_to ''
completes ask x.pdf --que && completes_to '--question --questions'
completes doctor --que && completes_to ''
for command in $commands; do
    expect 0 "$command" --help
    sed -n '/^Flags:/,$ s/^  \(-[a-z]*, \|    \)\(--[a-z-]*\).*/\2/p' "$work/out" | sort >"$work/listed"
    completes "$command" --
    sort "$work/out" | cmp -s - "$work/listed" || fail "$command: not the flags that --help lists"
done
expect 0 completion fish
says out "__fish_seen_subcommand_from ask' -l kv-cache-dtype -x -a 'bf16 f32 fp8 int8 int4'"
expect 2 completion tcsh

# --help wins over everything else on the line.
expect 0 complete -m nowhere -p text --help
expect 2 help nosuch

#!/bin/sh
# --help is enough to use a command: usage, flags, the environment, exit codes; on stdout, exit 0.
#
# Method: take the commands from glm1m --help and ask each of them.
. tests/help_cli.sh

expect 0 --version
grep -Eqx 'glm1m [0-9]+\.[0-9]+\.[0-9]+' "$work/out" || fail "--version is not a version"

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

# --help wins over everything else on the line.
expect 0 complete -m nowhere -p text --help
expect 2 help nosuch

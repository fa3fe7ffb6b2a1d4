#!/bin/sh
# Every flag has a twin GLM_<FLAG>; the command line wins; a variable that is no flag is a warning.
#
# Method: give the same wrong values both ways and see which of them is complained about.
. tests/help_cli.sh

export GLM_THREADS=many
expect 2 plan -m .
says err 'GLM_THREADS: "many"'
expect 2 plan -m . --threads 0
says err '--threads 0'
# A command that does not take the flag does not mind the variable.
expect 0 --version
unset GLM_THREADS

export GLM_MODEL="$work/nowhere"
expect 2 plan
says err 'nowhere: there is no such directory'
expect 2 plan -m "$work/elsewhere"
says err 'elsewhere: there is no such directory'
unset GLM_MODEL

GLM_JSON=perhaps expect 2 doctor
says err 'GLM_JSON: "perhaps" is neither 0 nor 1'
GLM_JSON=1 expect 0 doctor
says out '{'

GLM_MAX_TOKNS=5 expect 0 doctor
says err 'GLM_MAX_TOKNS is set, but there is no such flag'
GLM_TEST_ANYTHING=1 GLM_LOG=error GLM_SYNC=1 expect 0 doctor
says_nothing err
GLM_LOG=loud expect 2 doctor
says err 'GLM_LOG=loud'

# A module that there is not would pick no line at all; it is told beside those that there are, which are those of the sources.
GLM_LOG=debug,kvstor expect 0 doctor
says err 'GLM_LOG names "kvstor", and no module is called so; there are '
told=$(sed -n 's/.*; there are //p' "$work/err" | sed 's/, /\n/g')
logged=$(find . -path './build*' -prune -o -name '*.c' -exec cat {} + | tr -s ' \n' ' ' |
    grep -oE 'rt_log(_enabled)?\( ?RT_LOG_(INFO|DEBUG), "[a-z_]*"' | sed 's/.*"\(.*\)"/\1/' | sort -u)
[ -n "$told" ] && [ "$told" = "$logged" ] || fail "modules told: $told; in the sources: $logged"
GLM_LOG=info,engine,kvstore expect 0 tokenize --help
says_nothing err

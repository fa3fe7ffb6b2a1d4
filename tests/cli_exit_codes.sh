#!/bin/sh
# The exit code says what kind of failure it was; scripts rely on it.
#
# Method: cause each kind.
. tests/help_cli.sh
make_needle_model

expect 0 complete -m "$work/model" -p x -n 1
expect 2 complete -m "$work/model" -p x -f y
says err 'one of -p TEXT, -f FILE and --tokens-file FILE'
expect 1 complete -m "$work/model" -f "$work/nowhere"
says err "$work/nowhere"
expect 2 complete -m "$work/nowhere" -p x
expect 3 complete -m "$work/model" -p 'far too long' -c 8
says err '--max-model-len is 8'
expect 3 plan -m "$work/model" -c 1k --host-kv-space 1k

mkdir "$work/broken"
printf '{"model_type": ' >"$work/broken/config.json"
expect 4 plan -m "$work/broken"
says err 'config.json'
mkdir "$work/empty"
expect 4 plan -m "$work/empty"
says err "$work/empty is no checkpoint: there is no config.json in it"

# Streams that are closed: an error where they are needed, and nothing else comes through them.
timeout -s KILL 100 "$GLM1M" chat -m "$work/model" <&- >"$work/out" 2>"$work/err" # (it would wait for itself)
rc=$?
[ "$rc" -eq 1 ] || fail "exit $rc of chat without standard input, wanted 1"
says err 'cannot read standard input'
"$GLM1M" complete -m "$work/model" -p abc -n 1 >&- 2>"$work/err" && fail 'a closed output looked like success'
"$GLM1M" plan -m "$work/model" <&- >"$work/out" 2>&- || fail 'plan wants streams that it does not use'
says out 'the most that'

# Output that cannot be written is not a success.
"$GLM1M" --help >/dev/full 2>"$work/err" && fail "a full disk looked like success"
says err 'cannot write'
"$GLM1M" complete -m "$work/model" -p x -n 4 >/dev/full 2>"$work/err" &&
    fail "a full disk looked like success"
says err 'cannot write'
exit 0

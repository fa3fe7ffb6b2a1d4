#!/bin/sh
# min_p of a request does what vLLM says of it: of the tokens those are left out that have less than this share of the
# likeliest one's probability. So does --min-p, and generation_config.json's for whoever asks for nothing.
#
# Method: a small random model, whose logprobs come back beside what was drawn; for the command, 1 against greedy.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 1k
client min_p.py "$server_pid"
stop_server

# drawn ARGS...: what complete draws, hot
drawn() {
    expect 0 complete -m "$work/model" -p hello -n 40 --quiet --temperature 3 --seed 5 "$@"
    cat "$work/out"
}
expect 0 complete -m "$work/model" -p hello -n 40 --quiet --temperature 0
greedy=$(cat "$work/out")
[ "$(drawn)" != "$greedy" ] || fail 'what is drawn is what is likeliest'
[ "$(drawn --min-p 1)" = "$greedy" ] || fail '--min-p 1 is not the likeliest alone'
expect 2 complete -m "$work/model" -p hello --min-p 1.5
says err '--min-p 1.5: must be between 0 and 1'

printf '{"do_sample": true, "temperature": 3, "min_p": 1}' >"$work/model/generation_config.json"
[ "$(drawn)" = "$greedy" ] || fail "generation_config.json's min_p does nothing"
[ "$(drawn --min-p 0)" != "$greedy" ] || fail '--min-p 0 does not turn it off'
expect 0 doctor -m "$work/model"
join_rows
says out 'temperature 3, top-p 1, top-k 0, min-p 1'

#!/bin/sh
# What a checkpoint asks for and is not done is said once, by doctor and by whatever opens the model.
#
# Method: the embedded model with a generation_config.json that asks for a repetition penalty, then with one that asks
# for what changes nothing.
. tests/help_cli.sh
make_needle_model

printf '{"do_sample": false, "repetition_penalty": 1.1, "num_beams": 1}' >"$work/model/generation_config.json"
wish='generation_config.json asks for repetition_penalty 1.1, which is not done'
expect 0 complete -m "$work/model" -p 'Who is there?' -n 1
says err "$wish"
[ "$(grep -c 'repetition_penalty' "$work/err")" -eq 1 ] || fail 'it is said more than once'
expect 0 doctor -m "$work/model"
join_rows
says out "$wish"

printf '{"do_sample": false, "repetition_penalty": 1.0, "min_p": 0}' >"$work/model/generation_config.json"
expect 0 complete -m "$work/model" -p 'Who is there?' -n 1
! grep -q 'not done' "$work/err" || fail 'what changes nothing is said'
